"""Table c: what crosses a boundary, true weights or random ones: accuracy and memory."""

from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort
from dfedge.reproduce.depth import measured_memory
from dfedge.reproduce.table import Context, Job, Row, Table, grid, percent

RULES = ["df", "df-o", "df-o-alternating", "df-r", "df-r-concordant"]
FORMS = {"one-pass": Effort(20_000, 2), "label-plane": Effort(4_000, 2)}


def _job(rule: str, form: str) -> Job:
    def run(context: Context) -> Row:
        net = "ten-slim" if context.device == "cpu" else "ten"
        options = TrainOptions("cifar100", None, net, rule, False, 0, {"validation": 1000}, form)
        _, row = Cell(options, FORMS[form], Effort(0, 150)).train(f"c {rule} {form}", context)
        return row | measured_memory(net, None, rule, form, 100, context.device)

    return Job(f"{rule} {form}", run)


def _render(rows: dict[str, Row]) -> str:
    def cell(rule: str, column: str) -> str:
        form, _, what = column.partition(", ")
        row = rows.get(f"{rule} {form}")
        if what == "%":
            return percent(row, "accuracy")
        return f"{row['step_bytes'] / 2**20:.0f}" if row and "step_bytes" in row else "-"

    columns = [f"{form}, {what}" for form in FORMS for what in ("%", "MiB a step")]
    return grid("CIFAR-100", RULES, columns, cell)


TABLE_C = Table(
    "c",
    "overlapping groups against random feedback",
    [_job(rule, form) for form in FORMS for rule in RULES],
    _render,
)
