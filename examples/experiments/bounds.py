"""Instructions of the bodies of all loops, for the bounds that an export prints.

    python examples/experiments/bounds.py
    python examples/experiments/bounds.py place gather    # of these alone; the others stay
    python examples/experiments/bounds.py conv multiply depthwise panel

Random shapes of every kernel, and random nets, run on an emulated Cortex-M4 and M55 (an M0+'s code
on the M4) under QEMU's -icount shift=0, in the worst case: see bounds.c.  A linear programme finds
the least constants whose bounds lie below none of what was measured.  Writes
dfedge/native/instructions/instructions.toml (GCC 12 -O2; three minutes).
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import linprog

from dfedge.native.instructions import backward, bound, forward, trunk
from dfedge.native.instructions.kernels import SETS, Geometry, Kernels
from dfedge.native.table import ProgramTable

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent.parent / "tests"))
import worst_case  # noqa: E402
from worst_case import Case as Net  # noqa: E402

TOML = Path(bound.__file__).with_name(bound.TABLE)
MAP, WEIGHTS = 9_000, 24_000
LEAST = 1e-4
WORST = 0.3
"""Weight of the loosest bound, beside that of their mean."""
MOST = 600
"""Nets."""
Case = list[int]
Counted = Callable[[Kernels, Case], Counter[str]]


def geometry(r: random.Random, deep: int = 80) -> Case:
    """A convolution as `Geometry` has it."""
    while True:
        kernel = r.choice(
            [(1, 1), (3, 3), (3, 3), (5, 5), (3, 1), (r.randint(1, 5), r.randint(1, 5))]
        )
        alone = r.random() < 0.25
        inputs = r.choice([1, 2, 3, 4, 8, 16, 24, 32, 64, r.randint(1, deep)])
        outputs = inputs if alone else r.choice([1, 4, 8, 16, 24, 32, 64, r.randint(1, deep)])
        side = r.choice([1, 1, 2, 4, 8, 12, 16, r.randint(1, 20)])
        height, width = side, r.choice([side, side, 1, r.randint(1, 20)])
        if r.random() < 0.25:
            height, width = r.randint(1, 64), 1
        pads = [size // 2 for size in kernel for _ in (0, 1)]
        if r.random() < 0.3:
            pads = [r.randint(0, kernel[i // 2] - 1) for i in range(4)]
        stride = r.choice([1, 1, 1, 2])
        c = [height, width, inputs, outputs, *kernel, stride, stride, *pads, int(alone)]
        g = Geometry(*c)
        weights = kernel[0] * kernel[1] * inputs * (1 if alone else outputs)
        if (
            height + pads[0] + pads[1] >= kernel[0] and width + pads[2] + pads[3] >= kernel[1]
            and weights <= WEIGHTS and height * width * inputs <= MAP
            and g.positions * outputs <= MAP
            and kernel[0] * kernel[1] * inputs <= 1024
        ):  # fmt: skip
            return c


def forwards(r: random.Random) -> Case:
    """[geometry, groups, scaled, skip]."""
    c = geometry(r)
    scaled, groups, skip = r.random() < 0.3, 1, -1
    if scaled and not c[12] and r.random() < 0.4:
        groups = r.choice([n for n in range(1, 9) if c[2] % n == 0 and c[3] % n == 0])
    if c[12]:
        groups = c[3]
    if not scaled and not c[12] and r.random() < 0.4:
        skip = r.choice([0, r.randint(1, 24)])
    if skip > 0 and c[0] * c[1] * skip > MAP:
        skip = 0
    g = Geometry(*c)
    if skip > 0 and (g.out_height > c[0] or g.out_width > c[1]):
        skip = -1
    return [*c, groups, int(scaled), skip]


def count_forward(k: Kernels, v: Case) -> Counter[str]:
    """Of `forwards`."""
    skip = v[15] if v[15] >= 0 else None
    return forward.convolution(k, Geometry(*v[:13]), v[13], bool(v[14]), skip)


def passed_down(r: random.Random) -> Case:
    """[geometry, pool, joined]."""
    while True:
        c = geometry(r, 40)
        pool, joined, g = int(r.random() < 0.5), -1, Geometry(*c)
        if r.random() < 0.4:
            joined = r.choice([0, 1])
        same = (g.out_height, g.out_width, c[3]) == (c[0], c[1], c[2])
        joined = joined if same and not c[12] else -1
        if c[0] * c[1] * c[2] << 2 * pool <= 3 * MAP:
            return [*c, pool, joined]


def count_below(k: Kernels, v: Case) -> Counter[str]:
    """Of `passed_down`."""
    c, pool = Geometry(*v[:13]), v[13]
    joined = None
    if v[14] >= 0:
        one = Geometry(*v[:4], 1, 1, c.stride, c.stride, 0, 0, 0, 0)
        joined = backward.carried(k, one, True, False) if v[14] else Counter()
    own = (c.height << pool, c.width << pool, c.in_channels)
    return backward.below(k, backward.carried(k, c, True, False), own, 4**pool, joined)


def smalls(r: random.Random) -> Case:
    """[height, width, channels, cells, features, classes]."""
    height, width = r.choice([1, 2, 4, 7, 8, 16]), r.choice([1, 2, 4, 7, 8, 16])
    channels = r.choice([1, 3, 8, 16, 20, 32])
    features = r.choice([1, 8, 16, 20, 64, 100, 144, 256, r.randint(1, 300)])
    return [
        height,
        width,
        channels,
        r.randint(1, min(4, height, width)),
        features,
        r.randint(3, 40),
    ]


def cases() -> tuple[dict[str, list[Case]], list[Net]]:
    """All shapes, and nets with how many samples they know."""
    r = random.Random(1)
    shapes = {
        "FORWARD": [forwards(r) for _ in range(600)],
        "UPDATE": [[*geometry(r, 40), r.randint(0, 2)] for _ in range(240)],
        "INSIDE": [[*geometry(r, 40), r.randint(0, 2), r.randint(0, 1)] for _ in range(200)],
        "DOWN": [passed_down(r) for _ in range(160)],
        "SMALL": [smalls(r) for _ in range(80)],
    }
    nets = worst_case.nets(range(2_400), MOST)
    return shapes, nets


def written(folder: Path, shapes: dict[str, list[Case]], nets: list[Net], part: range) -> None:
    """``cases.h``; the shapes are of the first program."""
    lines = []
    for name, rows in shapes.items():
        rows = [] if part.start else rows
        lines.append(f"enum {{ {name}S = {len(rows)} }};")
        body = ", ".join("{{" + ", ".join(map(str, row)) + "}}" for row in rows or [[0]])
        lines.append(f"static const numbers {name}[] = {{{body}}};")
    worst_case.write(folder / "cases.h", nets, part, lines)


def measured(k: Kernels, shapes: dict, nets: list, folder: Path) -> dict[tuple[str, int], float]:
    """Of all programs."""
    found = {}
    for part in worst_case.programs(nets):
        written(folder, shapes, nets, part)
        found |= worst_case.ran(k, HERE / "bounds.c", folder)
    print(k.name, len(found), "measured")
    return found


def fitted(rows: list[tuple[Counter[str], float]], known: dict[str, float]) -> dict[str, float]:
    """The least constants whose bounds hold for all rows."""
    names = sorted({name for counts, _ in rows for name, n in counts.items() if n} - set(known))
    a = np.array([[counts[name] for name in names] for counts, _ in rows], float)
    rest = np.array([value - sum(known[n] * c for n, c in counts.items() if n in known)
                     for counts, value in rows])  # fmt: skip
    sizes = np.array([value for _, value in rows])
    each = a / sizes[:, None]  # columns: constants, then the worst of all ratios
    worst = np.c_[each, -np.ones(len(rows))]
    limits = [(0, None)] * len(names) + [(0, None)]
    solved = linprog(
        np.append(each.mean(0), WORST), np.r_[np.c_[-each, np.zeros(len(rows))], worst],
        np.r_[-rest / sizes, rest / sizes - 1], bounds=limits,
    )  # fmt: skip
    assert solved.status == 0, solved.message
    over = [(sum(dict(zip(names, solved.x[:-1], strict=True)).get(n, known.get(n, 0)) * c
                 for n, c in counts.items()) / value) for counts, value in rows]  # fmt: skip
    worst = [round(float(v), 2) for v in sorted(over)[-4:]]
    print(f"    {len(rows):4} rows, {len(names):3} constants: {np.mean(over):.2f} of the measured, "
          f"at most {worst}")  # fmt: skip
    return {name: round(float(v) + LEAST, 3) for name, v in zip(names, solved.x[:-1], strict=True)}


def constants(
    k: Kernels, shapes: dict, nets: list, of: dict, known: dict[str, float]
) -> dict[str, float]:
    """One set's; what is known stays."""
    all_calls = [worst_case.counts(k, net) for net in nets]

    def fit(kind: str, counted: Callable[[int], Counter[str]]) -> None:
        rows = [(counted(i), value) for (name, i), value in of.items() if name == kind]
        assert rows, kind
        if known:
            rows = [(counts, value) for counts, value in rows if set(+counts) - set(known)]
        print(f"  {kind}: {len(rows)}")
        if not rows:
            return
        known.update(fitted(rows, known))

    if known:
        if shapes["FORWARD"]:
            fit("forward", lambda i: count_forward(k, shapes["FORWARD"][i]))
        fit("trunk", lambda i: trunk.trunk(k, nets[i].table))
        fit("add", lambda i: all_calls[i]["add"])
        return known
    fit("forward", lambda i: count_forward(k, shapes["FORWARD"][i]))
    fit(
        "update",
        lambda i: backward.update(
            k, Geometry(*shapes["UPDATE"][i][:13]), bool(shapes["UPDATE"][i][13])
        ),
    )
    inside = shapes["INSIDE"]
    fit(
        "inside",
        lambda i: backward.inside(
            k, Geometry(*inside[i][:13]), bool(inside[i][13]), bool(inside[i][14])
        ),
    )
    fit("below", lambda i: count_below(k, shapes["DOWN"][i]))
    small = shapes["SMALL"]
    fit("cells", lambda i: backward.cells_of(tuple(small[i][:3]), small[i][3]))
    fit("pool", lambda i: backward.pooled(tuple(small[i][:3])))
    fit("judge", lambda i: backward.judged(small[i][5], small[i][4]))
    fit("contrast", lambda i: backward.contrasted(small[i][5], small[i][4]))
    fit("answer", lambda i: Counter({"answer": small[i][5]}))
    fit("settle", lambda i: backward.settled(small[i][4]))
    fit("check", lambda i: trunk.checked(nets[i].table))
    fit("begin", lambda i: begun(nets[i].table))
    fit("trunk", lambda i: trunk.trunk(k, nets[i].table))
    fit("infer", lambda i: all_calls[i]["infer"])
    fit("features", lambda i: all_calls[i]["features"])
    fit("step", lambda i: all_calls[i]["step"])
    fit("load", lambda i: all_calls[i]["load"])
    fit("save", lambda i: all_calls[i]["save"])
    fit("add", lambda i: all_calls[i]["add"])
    return known


def begun(table: ProgramTable) -> Counter[str]:
    """``dfe_check_call``."""
    return Counter(
        {
            "begin": 1,
            "begin.layer": len(table.layers),
            "begin.conv": len(table.convs),
            "begin.value": trunk.values(table.program),
        }
    )


def main() -> None:
    """Measure, fit, write."""
    shapes, nets = cases()
    kept: dict[str, dict[str, float]] = {k.name: {} for k in SETS}
    if sys.argv[1:]:
        again = "conv" in sys.argv
        shapes = {
            name: rows if again and name == "FORWARD" else [] for name, rows in shapes.items()
        }
        for k in SETS:
            kept[k.name] = {name: value for name, value in bound.constants()[k.name].items()
                            if name.partition(".")[0] not in sys.argv[1:]}  # fmt: skip
    text = "# Made by examples/experiments/bounds.py: instructions of each body, at most.\n"
    with tempfile.TemporaryDirectory() as scratch:
        for k in SETS:
            of = measured(k, shapes, nets, Path(scratch))
            found = constants(k, shapes, nets, of, kept[k.name])
            rows = "".join(f'"{name}" = {value}\n' for name, value in sorted(found.items()))
            text += f"\n[{k.name}]\n{rows}"
    TOML.write_text(text)


if __name__ == "__main__":
    main()
