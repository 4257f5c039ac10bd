"""Table c: what crosses a boundary, true weights or random ones.

Accuracy, memory, and the time of a step with the layers spread over two workers.
"""

from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort
from dfedge.reproduce.depth import measured_memory
from dfedge.reproduce.table import Context, PaperTable, Row, TableCell, grid, percent
from dfedge.reproduce.workers import spread_step

RULES = ["df", "df-o", "df-o-alternating", "df-r", "df-r-concordant"]
FORMS = {"one-pass": Effort(20_000, 2), "label-plane": Effort(4_000, 2)}
TESTED = {"one-pass": 0, "label-plane": 1_000}
"""Test images; the label-plane form computes each of them once for every one of 100 labels."""


def _job(rule: str, form: str) -> TableCell:
    def run(context: Context) -> Row:
        net = "ten-slim" if context.device == "cpu" else "ten"
        held_out = 1000 if form == "one-pass" else 0
        settings = {"validation": held_out, "test_samples": TESTED[form]}
        options = TrainOptions("cifar100", None, net, rule, False, 0, settings, form)
        _, row = Cell(options, FORMS[form], Effort(0, 150)).train(f"c {rule} {form}", context)
        return row | measured_memory(net, None, rule, form, 100, context.device)

    return TableCell(f"{rule} {form}", run)


SPREAD = ["df-o", "df-r", "df-r-concordant"]
CUT = 4


def _spread_job(rule: str) -> TableCell:
    def run(context: Context) -> Row:
        return {"status": "done", **spread_step("ten-slim", rule, 128, CUT, 100)}

    return TableCell(f"{rule} spread", run)


def _render(rows: dict[str, Row]) -> str:
    def cell(rule: str, column: str) -> str:
        form, _, what = column.partition(", ")
        if form == "a step":
            spread = rows.get(f"{rule} spread", {})
            seconds = spread.get("seconds_one" if what == "one worker, ms" else "seconds_two")
            return f"{1000 * seconds:.0f}" if seconds else "-"
        row = rows.get(f"{rule} {form}")
        if what == "%":
            return percent(row, "accuracy")
        return f"{row['step_bytes'] / 2**20:.0f}" if row and "step_bytes" in row else "-"

    columns = [f"{form}, {what}" for form in FORMS for what in ("%", "MiB a step")]
    columns += ["a step, one worker, ms", "a step, two workers, ms"]
    return grid("CIFAR-100", RULES, columns, cell)


TABLE_C = PaperTable(
    "c",
    "overlapping groups against random feedback",
    [
        *(_job(rule, form) for form in FORMS for rule in RULES),
        *(_spread_job(rule) for rule in SPREAD),
    ],
    _render,
)
