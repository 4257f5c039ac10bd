"""Bounds on the instructions of a call: never exceeded on emulated boards, and not silly."""

import re
from pathlib import Path

import pytest
import worst_case
from firmware import Wish, made
from test_on_device import needs

from dfedge.native import build, places
from dfedge.native.instructions import backward, bound, kernels
from dfedge.native.instructions.kernels import SETS, Kernels

NETS, CASES = range(20_000, 20_400), 60
"""Seeds that examples/experiments/bounds.py has not seen."""
SLACK = 3.0
SHORT = 10_000
"""Instructions of a slice that is no matter: its bound may be five times as much."""
CALLS = Path(__file__).parent / "on_device" / "calls.c"
on_boards = needs(build.COMPILERS[0], "arm-none-eabi-gcc", "qemu-system-arm")


@pytest.fixture(scope="module")
def cases() -> list[worst_case.Case]:
    found = worst_case.nets(NETS, CASES)
    convs = [conv for case in found for conv in case.table.convs]
    assert {conv["depthwise"] for conv in convs} == {0, 1}
    assert any(conv["kernel_height"] > 1 for conv in convs)
    assert any(conv["height"] == conv["width"] == conv["kernel_height"] == 1 for conv in convs)
    assert any(layer["joined"] for case in found for layer in case.table.layers)
    assert {case.table.program["feedback"] for case in found} == {0, 1, 2, 3}
    assert any(op["rows"] for case in found for op in case.table.frozen.operations)
    return found


@pytest.mark.slow
@on_boards
@pytest.mark.parametrize("k", SETS, ids=lambda k: k.name)
def test_no_call_of_a_random_net_takes_more_instructions_than_its_bound(
    k: Kernels, cases: list[worst_case.Case], tmp_path: Path
) -> None:
    slack: dict[str, list[float]] = {}
    for part in worst_case.programs(cases):
        worst_case.write(tmp_path / "cases.h", cases, part)
        for (call, i), instructions in worst_case.ran(k, CALLS, tmp_path).items():
            counts = worst_case.counts(k, cases[i])
            most = {name: bound.instructions(k, of) for name, of in counts.items()}
            most |= worst_case.longest(k, cases[i])
            if call not in most:
                continue
            assert most[call] >= instructions, (call, i)
            if not (call.startswith("go_") and instructions < SHORT):
                slack.setdefault(call, []).append(most[call] / instructions)
    print(k.name, {call: (f"{min(s):.2f} to {max(s):.2f}", len(s)) for call, s in slack.items()})
    assert set(slack) == {"infer", "features", "step", "load", "save", "add", "go_infer", "go_step"}
    assert all(max(each) < SLACK for each in slack.values())


MAIN = """#include "board.h"
#include "net_known.h"
#include "net_store.h"
#include "print.h"

#define main unused
#include "examples/learn/main.c"
#undef main

#define COUNTED(name, call)                                             \\
    do {                                                                \\
        uint32_t begun = board_ticks();                                 \\
        int status = call;                                              \\
        uint32_t took = (board_ticks() - begun) & 0xFFFFFF;             \\
        if (status) return status;                                      \\
        print_number(name, took);                                       \\
    } while (0)

int main(void) {
    static int8_t x[2 * NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static int64_t words[NET_CLASS_ROOM(2)];
    static net_answer answer;
    int32_t row;
    for (uint32_t i = 0; i < sizeof x; i++) x[i] = (int8_t)(1 + i * 7 % 127);
    if (start()) return 1;
    if (net_save(&store)) return 2;
    COUNTED("save", net_save(&store));
    COUNTED("load", net_load(&store));
    COUNTED("predict", net_predict(x, &answer));
    COUNTED("learn", net_learn(x, (answer.row + 1) % NET_NAMED, &answer));
    COUNTED("begin_predict", net_begin_predict(x, &answer));
    uint32_t longest = 0;
    for (int status = DFE_MORE; status == DFE_MORE;) {
        uint32_t begun = board_ticks();
        status = net_go();
        uint32_t took = (board_ticks() - begun) & 0xFFFFFF;
        longest = took > longest ? took : longest;
    }
    print_number("go", longest);
    COUNTED("add_class", net_add_class(x, 2, words, NET_CLASS_ROOM(2), &row));
    return 0;
}
"""


@pytest.mark.slow
@on_boards
@pytest.mark.parametrize("k", SETS, ids=lambda k: k.name)
def test_calls_of_an_exported_folder_stay_below_what_its_readme_prints(
    k: Kernels, tmp_path: Path
) -> None:
    net = made(tmp_path / "net", Wish(classes=tuple("abcdefghi")))
    (tmp_path / "main.c").write_text(MAIN)
    app = worst_case.compiled(
        k, tmp_path / "app", f"-I{net.sources}", tmp_path / "main.c", *net.own(), *net.kernels()
    )
    readme = (net.folder / "README.md").read_text()
    column = [one.name for one in SETS].index(k.name)
    tick = worst_case.TICK[worst_case.BOARDS[k.name]]
    for call, ticks in worst_case.lines(k, app):
        row = re.search(rf"\| `net_{call}`[^|]*\|(.*)\|\n", readme)
        assert row, call
        printed = int(row[1].split("|")[column].replace(",", ""))
        print(k.name, call, int(ticks) * tick, printed)
        assert 0 < int(ticks) * tick <= printed


def test_tiles_and_rounds_that_are_counted_are_those_of_the_kernels() -> None:
    text = "".join(path.read_text() for path in sorted(build.SOURCES.glob("*.[ch]")))

    def number(name: str) -> set[int]:
        return {int(found) for found in re.findall(rf"\b{name} = (\d+)\b", text)}

    assert kernels.PIXELS in number("DFE_PIXELS")
    assert kernels.OUTPUTS in number("DFE_OUTPUTS")
    assert kernels.CHANNELS in number("DFE_CHANNELS")
    assert kernels.POSITIONS in number("DFE_POSITIONS")
    assert number("SUMS") == {kernels.SUMS}
    assert number("DFE_PANEL_LEAST") == {kernels.LEAST}
    assert (number("DFE_PANEL_SMALL"), number("DFE_PANEL_MEDIUM")) == ({128}, {256})
    assert kernels.ROOMS == (128, 256)
    assert number("DFE_PANEL_LARGE") == {k.room for k in SETS}
    assert number("DFE_FEATURES_AT_ONCE") == {backward.AT_ONCE}
    assert number("ROUNDS") == {bound.ROUNDS}
    assert number("FURTHEST") == {bound.FURTHEST}
    assert bound.HALVINGS in number("HALVINGS")
    assert (number("DFE_HEADER"), number("DFE_ROOM")) == ({bound.HEADER}, {bound.ROOM})
    assert places.MAX_CHAIN == 8
