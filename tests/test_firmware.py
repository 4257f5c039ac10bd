"""What an exported folder of C offers a firmware: calls, names, sections, state that survives."""

import ctypes
import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Result
from firmware import CLASSES, SHAPE, STRICT, Made, Wish, archive, made, run
from stack_usage import Calls
from test_new_class_c import placed
from test_on_device import needs
from trials.flash import Flash
from trials.power import Chances, lose_power

from dfedge.bundle import Bundle
from dfedge.continual.placing import LOST
from dfedge.device.answers import nearest
from dfedge.device.runners import open_runner
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.ecosystems import figures
from dfedge.exporters.options import ExportOptions, check_firmware
from dfedge.exporters.write import export
from dfedge.learn.run import Run
from dfedge.native import build, store
from dfedge.native.known import PARTS
from dfedge.native.library import load
from dfedge.native.naming import c_string, check_prefix, renamed
from dfedge.native.program import NativeProgram

pytestmark = needs(build.COMPILERS[0], "ar")
CC = "gcc"
BAD_LABEL, CLOSED_CALL, MORE, BUSY = 7, 9, 11, 12
"""Of ``dfe_status``."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("net"), Wish())


@pytest.fixture(scope="module")
def kernels(net: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(net.kernels(), tmp_path_factory.mktemp("kernels"))


def samples(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 128, (count, *SHAPE)).astype(np.int8)


# -- compilers -------------------------------------------------------------------------------------

CPP = """#include "net.h"
#include "net_known.h"
#include "net_store.h"
#include "dfedge/answer.h"
#include "dfedge/log_mel.h"
#include "dfedge/window.h"

int main() {
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static const uint8_t image[sizeof x] = {1, 2, 3};
    net_answer answer;
    dfe_store store = dfe_store();
    const dfe_record own = NET_RECORD;
    net_reset();
    net_input(image, x);
    int failed = net_predict(x, &answer) || net_learn(x, 3, &answer) || dfe_care_begin(net_care());
    return failed || net_save(&store) != DFE_STORE_CLOSED || own.steps || !net_labels[0][0];
}
"""


@needs("g++")
def test_cpp_program_includes_every_header_and_links_them(
    net: Made, kernels: Path, tmp_path: Path
) -> None:
    (tmp_path / "main.cpp").write_text(CPP)
    run(CC, "-std=c99", "-O1", *STRICT, f"-I{net.sources}", "-c", *net.own(), cwd=tmp_path)
    run("g++", "-std=c++11", *STRICT, f"-I{net.sources}", "-o", tmp_path / "app",
        tmp_path / "main.cpp", *tmp_path.glob("*.o"), kernels)  # fmt: skip
    run(tmp_path / "app")


@needs("arm-none-eabi-gcc", "arm-none-eabi-size")
@pytest.mark.parametrize(
    ("cpu", "floats"), [("cortex-m4", "hard"), ("cortex-m55", "hard"), ("cortex-m0plus", "soft")]
)
def test_kernels_compile_without_a_warning_and_keep_the_bounds_that_are_printed(
    cpu: str, floats: str, net: Made, tmp_path: Path
) -> None:
    run("arm-none-eabi-gcc", f"-mcpu={cpu}", f"-mfloat-abi={floats}", "-mthumb", "-std=c99", "-O2",
        "-ffreestanding", "-Wshadow", *STRICT, "-fcallgraph-info=su", f"-I{net.sources}", "-c",
        *net.own(), *net.kernels(), cwd=tmp_path)  # fmt: skip
    calls = Calls(sorted(tmp_path.glob("*.ci")))
    entries = ("net_predict", "net_learn", "net_load", "net_save", "dfe_learn", "dfe_care_end",
               "net_add_class")  # fmt: skip
    stack = max(calls.deepest(entry) for entry in entries)
    objects = [tmp_path / f"{path.stem}.o" for path in net.kernels()]
    code = int(run("arm-none-eabi-size", "-t", *objects).splitlines()[-1].split()[0])
    print(f"stack {stack}, code {code}")
    assert 0.8 * figures.STACK_BYTES < stack <= figures.STACK_BYTES
    assert 0.8 * figures.CODE_BYTES < code <= figures.CODE_BYTES
    readme = (net.folder / "README.md").read_text()
    assert f"{figures.STACK_BYTES:,}" in readme
    assert f"{net.program.table.state_bytes:,}" in readme


@pytest.mark.parametrize(("target", "outputs"), [("mps2-an386", 16), ("host", 64)])
def test_tiles_are_the_targets_without_a_word_to_the_compiler(
    target: str, outputs: int, tmp_path: Path
) -> None:
    folder = made(tmp_path / "net", Wish(target=target)).folder
    (tmp_path / "main.c").write_text(
        f'#include "dfedge/level.h"\nint main(void) {{ return DFE_OUTPUTS != {outputs}; }}\n'
    )
    run(CC, f"-I{folder}", "-o", tmp_path / "app", tmp_path / "main.c")
    run(tmp_path / "app")


@needs("objdump")
@pytest.mark.parametrize("binary", [True, False])
def test_arena_state_and_constants_lie_where_macros_say(binary: bool, tmp_path: Path) -> None:
    net = made(tmp_path / "net", Wish(binary=binary))
    where = {"ARENA": ".fast", "STATE": ".kept", "CONST": ".flash"}
    defined = [f'-DNET_{n}_SECTION=__attribute__((section("{s}")))' for n, s in where.items()]
    files = [net.sources / "net.c", *net.sources.glob("net_data.S")]
    run(CC, "-std=c99", *STRICT, *defined, f"-I{net.sources}", "-c", *files, cwd=tmp_path)
    sizes: dict[str, int] = {}
    for line in run("objdump", "-h", *tmp_path.glob("*.o")).splitlines():
        row = line.split()
        if len(row) == 7:
            sizes[row[1]] = max(sizes.get(row[1], 0), int(row[2], 16))
    table = net.program.table
    assert sizes[".kept"] == table.state_bytes
    assert sizes[".flash"] >= table.words.nbytes + table.state_bytes
    assert sizes[".fast"] == net.program.arena_bytes(1, 1)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    ["", "Net", "2net", "my-net", "n" * 33, "math", "dfe_net", "dfedge", "a_store", "x_known"],
)
def test_prefix_that_is_no_name_or_taken_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match=f"^--prefix {prefix}: "):
        check_prefix(prefix)


def test_other_names_than_the_nets_own_stay() -> None:
    text = '#include "net.h"\n#define NET_H\nnet_step(subnet_x, dfe_net_y, "net_store.h");'
    found = '#include "eye.h"\n#define EYE_H\neye_step(subnet_x, dfe_net_y, "eye_store.h");'
    assert renamed(text, "eye") == found


NAMES = ('say "hi"', "back\\slash", "net_h NET_H net.h", "größe ??/", "a\tb", '"};int x;', "7")


def test_labels_are_the_classes_names_whatever_stands_in_them(tmp_path: Path) -> None:
    folder = made(tmp_path / "c", Wish(prefix="eye", classes=NAMES)).folder
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "eye.h"\nint main(void) {\n'
        '    for (int i = 0; i < EYE_CLASSES; i++) printf("%s|", eye_labels[i]);\n}\n'
    )
    labels = [line for line in (folder / "eye.c").read_text().splitlines() if '    "' in line]
    begin = ['#include "eye.h"', "const char *const eye_labels[EYE_CLASSES] = {"]
    body = "\n".join([*begin, *labels, "};"])
    (tmp_path / "labels.c").write_text(body)
    run(CC, "-std=c99", *STRICT, f"-I{folder}", "-o", tmp_path / "app",
        tmp_path / "main.c", tmp_path / "labels.c")  # fmt: skip
    assert run(tmp_path / "app") == "|".join((*NAMES, "", "", "", ""))
    assert (c_string('"'), c_string("\udce9")) == ('"\\042"', '"\\355\\263\\251"')


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_row_and_lead_are_those_of_python(classes: int) -> None:
    rng, lead = np.random.default_rng(classes), ctypes.c_int64()
    ends = np.array([-(2**31), 2**31 - 1])
    for case in range(200):
        scores = rng.integers(-3, 3, classes) if case % 2 else rng.choice(ends, classes)
        row = load().dfe_nearest((ctypes.c_int32 * classes)(*scores), classes, ctypes.byref(lead))
        host = nearest(scores.astype(np.int32), CLASSES)
        assert (row, lead.value) == (host.label, host.margin)


TWO = """#include <stdio.h>
#include "eye.h"
#include "ear.h"

static int8_t x[SAMPLES][EYE_HEIGHT * EYE_WIDTH];

#define TURN(name, i)                                                                        \\
    do {                                                                                     \\
        name##_answer a;                                                                     \\
        int status = (i) % 2 ? name##_learn(x[i], (i) % 10, &a) : name##_predict(x[i], &a);  \\
        printf("%d %d %d %lld %d\\n", status, (int)a.row, (int)a.score, (long long)a.margin,  \\
               a.unsure);                                                                    \\
    } while (0)

int main(void) {
    if (fread(x, 1, sizeof x, stdin) != sizeof x) return 1;
    eye_reset();
    ear_reset();
    for (int i = 0; i < SAMPLES; i++) {
        TURN(eye, i);
        TURN(ear, i);
    }
    const uint8_t *states[] = {eye_state(), ear_state()};
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < EYE_STATE_BYTES; i++) printf("%02x", states[n][i]);
    return 0;
}
"""
LISTS = """cmake_minimum_required(VERSION 3.16)
project(two C)
add_subdirectory(eye)
add_subdirectory(ear)
add_executable(app main.c)
target_compile_definitions(app PRIVATE SAMPLES=30)
target_link_libraries(app eye ear)
"""


@needs("cmake")
def test_two_nets_share_the_kernels_in_one_program_and_give_the_hosts_bits(tmp_path: Path) -> None:
    names = ("eye", "ear")
    temperatures = (0, 3_000)
    nets = [made(tmp_path / name, Wish(n, name, target="host", temperature=temperatures[n]))
            for n, name in enumerate(names)]  # fmt: skip
    shutil.rmtree(tmp_path / "ear" / "dfedge")
    (tmp_path / "main.c").write_text(TWO)
    (tmp_path / "CMakeLists.txt").write_text(LISTS)
    x = samples(30)
    (tmp_path / "x").write_bytes(x.tobytes())
    run("cmake", "-S", tmp_path, "-B", tmp_path / "b", "-DCMAKE_BUILD_TYPE=Debug")
    run("cmake", "--build", tmp_path / "b")
    lines = run("sh", "-c", f"{tmp_path}/b/app < {tmp_path}/x").splitlines()
    for number, net in enumerate(nets):
        told = [tuple(map(int, line.split())) for line in lines[number:-1:2]]
        hot = temperatures[number]
        assert told == [answer_of(net.program, x[i : i + 1], i, hot) for i in range(30)]
        assert {unsure for *_, unsure in told} == ({0, 1} if hot else {0})
    assert lines[-1] == "".join(net.program.state.tobytes().hex() for net in nets)


def answer_of(
    program: NativeProgram, x: np.ndarray, turn: int, temperature: int
) -> tuple[int, ...]:
    y = np.array([turn % 10], np.int32)
    scores = program.train(x, y)[0] if turn % 2 else program.infer(x)
    host = nearest(scores[0], CLASSES, temperature)
    return 0, host.label, host.score, host.margin, int(bool(host.unsure))


# -- state that survives ---------------------------------------------------------------------------


class Counts(ctypes.Structure):
    _fields_ = [("steps", ctypes.c_uint64), ("samples", ctypes.c_uint64),
                ("doublings", ctypes.c_int32), ("caution", ctypes.c_int32)]  # fmt: skip


class Chip:
    """A firmware with one net, whose flash is in Python."""

    def __init__(self, net: Made, kernels: Path, folder: Path) -> None:
        folder.mkdir()
        library = folder / "firmware.so"
        run(CC, "-std=c99", "-O1", "-shared", "-fPIC", f"-I{net.sources}", "-o", library,
            *net.own(), "-Wl,--whole-archive", kernels, "-Wl,--no-whole-archive")  # fmt: skip
        self.library = ctypes.CDLL(str(library))
        self.library.net_state.restype = ctypes.c_void_p
        self.library.net_learned.restype = ctypes.POINTER(Counts)
        self.bytes = net.program.table.state_bytes
        self.first = net.program.state.tobytes()
        self.slot = store.slot_bytes(self.bytes, 8, 4096)
        self.insert(Flash(2 * self.slot, 4096, 8))

    def insert(self, flash: Flash) -> None:
        """Other flash; its memory comes with it."""
        self.flash = flash
        self.found = store.NetStore(flash, self.slot, 8).found
        self.found.medium.room, self.found.medium.room_bytes = None, 0

    def call(self, name: str) -> int:
        return int(getattr(self.library, f"net_{name}")(ctypes.byref(self.found)))

    def state(self) -> bytes:
        return ctypes.string_at(self.library.net_state(), self.bytes)

    def learn(self, count: int) -> None:
        answer = (ctypes.c_int32 * 16)()
        for i, x in enumerate(samples(count)):
            assert self.library.net_learn(x.ctypes.data_as(ctypes.c_void_p), i % 10, answer) == 0

    def counts(self) -> tuple[int, ...]:
        found = self.library.net_learned().contents
        return found.steps, found.samples, found.doublings, found.caution


@pytest.fixture
def chip(net: Made, kernels: Path, tmp_path: Path) -> Chip:
    return Chip(net, kernels, tmp_path / "chip")


def test_what_was_learned_and_counted_comes_back_after_a_reset(chip: Chip) -> None:
    assert chip.call("save") == store.CLOSED
    assert chip.call("load") == store.EMPTY
    chip.learn(3)
    chip.library.net_learned().contents.caution = 2
    learned = chip.state()
    assert learned != chip.first
    assert chip.call("save") == store.STORED
    chip.library.net_reset()
    assert (chip.state(), chip.counts()) == (chip.first, (0, 0, 0, 0))
    assert chip.call("load") == store.STORED
    assert (chip.state(), chip.counts()) == (learned, (3, 3, 0, 2))
    chip.learn(1)
    assert chip.call("save") == store.STORED
    assert chip.counts()[:2] == (4, 4)
    assert chip.call("forget") == store.STORED
    assert (chip.state(), chip.counts()) == (chip.first, (0, 0, 0, 0))
    assert chip.call("load") == store.EMPTY


def test_numbers_as_text_give_the_bytes_of_numbers_that_an_assembler_includes(
    net: Made, kernels: Path, tmp_path: Path
) -> None:
    text = made(tmp_path / "text", Wish(binary=False))
    assert not [*text.sources.glob("*.S"), *text.sources.glob("*.bin")]
    assert len(sorted(net.sources.glob("*.S"))) == 2
    states = []
    for name, one in (("one", net), ("other", text)):
        chip = Chip(one, kernels, tmp_path / name)
        library, scores = chip.library, (ctypes.c_int32 * 16)()
        library.net_care.restype = ctypes.c_void_p
        library.net_reset()
        assert chip.state() == chip.first
        care = ctypes.c_void_p(library.net_care())
        assert library.dfe_care_begin(care) == 0
        for i, x in enumerate(samples(20)):  # among which known samples are replayed
            at = x.ctypes.data_as(ctypes.c_void_p)
            assert library.dfe_learn(care, at, i % 10, scores) == 0
        assert library.net_care_end() == 0
        states.append(chip.state())
    assert states[0] == states[1] != net.program.state.tobytes()


@needs("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc")
@pytest.mark.parametrize(
    "assembler",
    [
        ("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb"),
        ("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32"),
    ],
)
def test_every_processors_assembler_takes_the_numbers_and_no_stack_with_code(
    assembler: tuple[str, ...], net: Made, tmp_path: Path
) -> None:
    run(*assembler, "-Werror", f"-I{net.sources}", "-c", *net.sources.glob("*.S"), cwd=tmp_path)
    held = net.sources / "net.dfe", net.sources / "net_known.bin"
    for path, numbers in zip(("net_data.o", "net_known_data.o"), held, strict=True):
        assert (tmp_path / path).read_bytes().find(numbers.read_bytes()[-64:]) > 0


def test_assembly_is_another_text_where_the_numbers_alone_are_others(
    net: Made, tmp_path: Path
) -> None:
    """PlatformIO and ccache compare texts: an object of the old numbers would stay."""
    other = made(tmp_path / "other", Wish(seed=1))
    for name in ("net_data.S", "net_known_data.S"):
        texts = [(one.sources / name).read_text() for one in (net, other)]
        assert texts[0] != texts[1]
        assert re.sub("CRC-32 [0-9a-f]+", "", texts[0]) == re.sub("CRC-32 [0-9a-f]+", "", texts[1])


def test_a_program_that_learns_without_care_holds_no_known_samples(
    net: Made, kernels: Path, tmp_path: Path
) -> None:
    (tmp_path / "main.c").write_text(
        '#include "net.h"\nint main(void) { net_reset(); return net_busy(); }\n'
    )
    run(CC, f"-I{net.sources}", "-c", *net.own(), cwd=tmp_path)
    run("ar", "rcs", tmp_path / "libnet.a", *tmp_path.glob("net*.o"))
    run(CC, f"-I{net.sources}", "-o", tmp_path / "app", tmp_path / "main.c", tmp_path / "libnet.a",
        kernels)  # fmt: skip
    image, samples_held = (tmp_path / "app").read_bytes(), (net.sources / "net_known.bin")
    assert samples_held.read_bytes()[:64] not in image
    assert net.program.state.tobytes() in image


@pytest.mark.parametrize("word", ["-U__ELF__", "-U__BYTE_ORDER__"])
def test_numbers_that_would_not_lie_right_do_not_compile(
    word: str, net: Made, tmp_path: Path
) -> None:
    command = [CC, word, f"-I{net.sources}", "-c", "-o", tmp_path / "o", net.sources / "net_data.S"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "run: dfedge export --weights text" in done.stderr


def test_a_save_during_which_the_power_goes_leaves_itself_or_the_one_before(chip: Chip) -> None:
    assert chip.call("load") == store.EMPTY
    chip.learn(1)
    assert chip.call("save") == store.STORED
    before, cells, operations = chip.state(), bytes(chip.flash.cells), chip.flash.operations
    found = []
    for cut in (*range(0, operations, 40), *range(operations - 6, operations + 2)):
        chip.insert(Flash(2 * chip.slot, 4096, 8, bytearray(cells), cut=cut))
        assert chip.call("load") == store.STORED
        chip.learn(2)
        learned, told = chip.state(), chip.call("save")
        chip.insert(Flash(2 * chip.slot, 4096, 8, chip.flash.cells))
        assert chip.call("load") == store.STORED
        assert chip.state() in ((learned,) if told == store.STORED else (before, learned))
        found.append(told)
    assert {store.STORED, store.FAILED} == set(found)


@pytest.mark.parametrize("careless", [False, True])
def test_power_lost_in_a_save_and_flipped_bits_lose_nothing_but_to_a_careless_firmware(
    careless: bool, net: Made, kernels: Path, tmp_path: Path
) -> None:
    tried = Chances(stride=40, saves=3, careless=careless)
    found = lose_power(net.sources, tmp_path, tried, kernels)
    assert found["cuts"] > 200
    assert (found["lost"] > 0) == careless
    assert (found["refused"], found["violations"], found["wrong"]) == (0, 0, 0)
    if not careless:
        assert found["newest"] + found["older"] == found["repaired"] == 100
        assert min(found["newest"], found["older"]) > 20


def lineages(tmp_path: Path, kernels: Path) -> Iterator[Chip]:
    """A net, its update, and a net of another lineage."""
    for number, (seed, lineage) in enumerate(((0, "ab"), (1, "ab"), (1, "cd"))):
        folder = tmp_path / f"net{number}"
        wish = Wish(seed, lineage=lineage * 32)
        yield Chip(made(folder, wish), kernels, tmp_path / f"chip{number}")


def test_state_of_another_net_is_refused_and_not_written_over(
    kernels: Path, tmp_path: Path
) -> None:
    old, update, other = lineages(tmp_path, kernels)
    assert old.call("load") == store.EMPTY
    old.learn(2)
    assert old.call("save") == store.STORED
    cells = bytes(old.flash.cells)
    for chip in (update, other):
        chip.insert(Flash(2 * old.slot, 4096, 8, bytearray(cells)))
        assert chip.call("load") == store.FOREIGN
        assert chip.state() == chip.first
        chip.learn(1)
        assert chip.call("save") == store.CLOSED
        assert chip.flash.cells == cells
    assert other.call("rebase") == store.FOREIGN
    assert other.call("forget") == store.STORED
    assert other.call("save") == store.STORED
    assert update.call("rebase") == store.STORED
    carried = update.state()
    assert carried not in (update.first, old.state())
    assert update.counts()[:2] == (2, 2)
    assert update.call("save") == store.STORED
    assert update.call("load") == store.STORED
    assert update.state() == carried


def test_a_value_that_learning_cannot_reach_is_refused(chip: Chip) -> None:
    assert chip.call("load") == store.EMPTY
    assert chip.call("save") == store.STORED
    kept = store.NetStore(chip.flash, chip.slot, 8)
    assert kept.open() == store.STORED
    assert kept.save(kept.found.record, bytes([0x80]) * chip.bytes) == store.STORED
    assert chip.call("load") == store.DAMAGED
    assert chip.state() == chip.first


# -- slices ----------------------------------------------------------------------------------------


def test_learning_in_slices_gives_the_same_and_keeps_all_else_out_until_it_is_done(
    chip: Chip,
) -> None:
    answer, other = (ctypes.c_int32 * 16)(), (ctypes.c_int32 * 16)()
    x = samples(1).ctypes.data_as(ctypes.c_void_p)
    assert chip.call("load") == store.EMPTY
    assert chip.library.net_learn(x, 0, other) == 0
    learned = chip.state()
    assert chip.call("load") == store.EMPTY
    assert chip.library.net_go() == CLOSED_CALL
    assert chip.library.net_begin_learn(x, -1, answer) == BAD_LABEL
    assert chip.library.net_begin_learn(x, 0, answer) == 0
    slices = 0
    while (status := chip.library.net_go()) == MORE:
        slices += 1
        assert chip.library.net_busy()
        assert chip.library.net_predict(x, other) == BUSY
        assert chip.library.net_begin_predict(x, other) == BUSY
        assert chip.call("save") == store.BUSY
    assert (status, chip.library.net_busy()) == (0, 0)
    assert slices > 20
    assert (chip.state(), bytes(answer), chip.counts()[:2]) == (learned, bytes(other), (1, 1))
    assert chip.call("save") == store.STORED


def test_learning_that_is_given_up_leaves_the_state_that_was_saved(chip: Chip) -> None:
    answer = (ctypes.c_int32 * 16)()
    assert chip.call("load") == store.EMPTY
    chip.learn(2)
    assert chip.call("save") == store.STORED
    learned = chip.state()
    x = samples(1).ctypes.data_as(ctypes.c_void_p)
    assert chip.library.net_begin_learn(x, 5, answer) == 0
    while chip.state() == learned:
        assert chip.library.net_go() == MORE
    assert chip.call("load") == store.STORED
    assert (chip.state(), chip.counts()[:2]) == (learned, (2, 2))
    assert chip.library.net_predict(x, answer) == 0


# -- a new class -----------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True])
def test_a_new_class_gets_a_row_as_python_places_it_and_is_kept(
    learned: bool, kernels: Path, tmp_path: Path
) -> None:
    """Among anchors that move too, where nothing was learned before."""
    net = made(tmp_path / "net", Wish(classes=CLASSES[:9]))
    chip, x, row = Chip(net, kernels, tmp_path / "chip"), samples(3), ctypes.c_int32(-1)
    replay, judge = ((net.known[f"{part}.x"], net.known[f"{part}.y"]) for part in PARTS)
    count, classes = len(x) + len(replay[1]), net.program.plan.classes
    room_bytes = count * (16 + 8 * classes + net.seen) + classes * (8 + 2 * net.seen) + net.seen
    room_bytes += len(judge[1]) * (16 + net.seen)
    words = -(-room_bytes // 8)
    room = (ctypes.c_int64 * words)()

    def add() -> int:
        first = x.ctypes.data_as(ctypes.c_void_p)
        size = ctypes.c_size_t(words)
        return int(chip.library.net_add_class(first, len(x), room, size, ctypes.byref(row)))

    assert chip.call("load") == store.EMPTY
    first = None if learned else net.program.state.copy()
    if learned:
        chip.learn(2)
        net.program.state[:] = np.frombuffer(chip.state(), np.uint8)
    assert add() == 0
    assert row.value == 9
    assert chip.state() == placed(net.program, 9, x, replay, judge, LOST, 9, first)
    assert add() == 7  # no row is left
    assert chip.call("save") == store.STORED
    added = chip.state()
    assert chip.call("load") == store.STORED
    assert chip.state() == added


# -- exports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (ExportOptions(("c",), prefix="Eye"), "--prefix Eye: allowed: a small letter"),
        (ExportOptions(("c",), ecosystem="mbed"), "unknown ecosystem 'mbed'; known: arduino, "),
        (ExportOptions(("onnx",), ecosystem="make"), "--prefix, --for and --weights are of C"),
        (ExportOptions(("onnx",), prefix="eye"), "--prefix, --for and --weights are of C"),
        (ExportOptions(("onnx",), weights="text"), "--prefix, --for and --weights are of C"),
        (ExportOptions(("c",), weights="hex"), "unknown form of --weights 'hex'; known: binary, "),
        (
            ExportOptions(("c",), ecosystem="arduino", weights="binary"),
            "--weights binary: --for arduino does not tell the assembler where",
        ),
    ],
)
def test_words_for_c_sources_are_refused_where_none_are_written(
    options: ExportOptions, found: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_firmware(options)
    assert str(refused.value).startswith(found)


@pytest.fixture(scope="module")
def eye(mcu_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(
        ("c",), "mps2-an386", batch=1, trial=False, prefix="eye", ecosystem="arduino"
    )
    return export(mcu_run, options, tmp_path_factory.mktemp("eye") / "bundle")


def test_a_bundle_of_another_prefix_and_layout_is_verified_and_runs(eye: Bundle) -> None:
    assert eye.manifest.formats["c"].files["infer_b1"] == "c/src/eye.c"
    x = samples(3)
    scores = [open_runner(eye, runtime).infer(x[:1]) for runtime in ("c", "native")]
    assert np.array_equal(*scores)


@pytest.mark.parametrize(
    "name", ["src/eye_store.c", "src/eye.dfe", "src/dfedge/config.h", "src/more.c", "src/more.S"]
)
def test_foreign_code_in_such_a_bundle_is_never_compiled(
    name: str, eye: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(eye.folder, folder)
    path = folder / "c" / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"/* mine */\n")
    with pytest.raises(DfedgeError, match=rf"{name}: not what this dfedge would write"):
        open_runner(dataclasses.replace(eye, folder=folder), "c")


def test_export_says_what_the_options_take(dfedge: object) -> None:
    shown: Result = dfedge("export", "--help")  # type: ignore[operator]
    for name in ("--prefix", "--for", "esp-idf", "--weights", "assembler"):
        assert name in shown.out
