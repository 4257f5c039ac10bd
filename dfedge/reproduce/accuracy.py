"""Tables a and f: accuracy of the rules on the data sets, in float and under fake quantisation."""

from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort
from dfedge.reproduce.table import Context, PaperTable, Row, TableCell, grid, percent

RULES = ["ff", "df", "df-o", "df-r", "bp"]
SETS = {
    "mnist": ("mnist", Effort(0, 2, 1), Effort(0, 30, 5)),
    "fashion-mnist": ("mnist", Effort(0, 2, 1), Effort(0, 30, 5)),
    "cifar10": ("ten-slim", Effort(20_000, 2, 1), Effort(0, 150, 15)),
    "cifar100": ("ten-slim", Effort(20_000, 2, 1), Effort(0, 150, 15)),
    "svhn": ("ten-slim", Effort(20_000, 2, 1), Effort(0, 60, 6)),
    "imagenette-32": ("ten-slim", Effort(0, 4, 1), Effort(0, 150, 15)),
}
"""Data set -> (net on the CPU, effort there, effort on a GPU, where the net is ``ten``)."""


def cell(rule: str, data: str, gpu: bool, *, qat: bool = True, bits: int = 8) -> Cell:
    """One cell of table a."""
    net, short, full = SETS[data]
    if gpu and net == "ten-slim":
        net = "ten"
    settings = {"validation": 2000, "weight_bits": bits}
    return Cell(TrainOptions(data, None, net, rule, qat, 0, settings), short, full)


def _job(rule: str, data: str) -> TableCell:
    def run(context: Context) -> Row:
        here = cell(rule, data, context.device != "cpu", qat=data.endswith("mnist"))
        return here.train(f"a {rule} {data}", context)[1]

    return TableCell(f"{rule} {data}", run)


def _render(rows: dict[str, Row]) -> str:
    return grid("%", RULES, list(SETS), lambda r, c: percent(rows.get(f"{r} {c}"), "accuracy"))


TABLE_A = PaperTable(
    "a",
    "accuracy on the test split, float, one-pass form",
    [_job(rule, data) for data in SETS for rule in RULES],
    _render,
)


def _bits_job(rule: str, bits: int) -> TableCell:
    def run(context: Context) -> Row:
        key = f"a {rule} mnist" if bits == 8 else f"f {rule} mnist {bits}"
        return cell(rule, "mnist", context.device != "cpu", bits=bits).train(key, context)[1]

    return TableCell(f"{rule} {bits}", run)


def _render_bits(rows: dict[str, Row]) -> str:
    columns = {"float": (8, "accuracy"), "8-bit weights": (8, "qat"), "4-bit weights": (4, "qat")}
    return grid(
        "MNIST, %",
        RULES,
        list(columns),
        lambda r, c: percent(rows.get(f"{r} {columns[c][0]}"), columns[c][1]),
    )


TABLE_F = PaperTable(
    "f",
    "float against quantisation-aware training: int8 activations, 8- or 4-bit weights",
    [_bits_job(rule, bits) for bits in (8, 4) for rule in RULES],
    _render_bits,
)
