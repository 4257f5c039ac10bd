"""Table b: how many wrong labels are shown, in the paper's own label-plane form."""

from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort, images_per_second
from dfedge.reproduce.table import Context, PaperTable, Row, TableCell, grid, percent

COUNTS = (1, 3, 9)
TRAINING_IMAGES = 60_000


def _job(count: int) -> TableCell:
    def run(context: Context) -> Row:
        options = TrainOptions(
            "mnist", None, "mnist-plane", "df", False, 0,
            {"validation": 2000}, "label-plane", None, {"negatives": count},
        )  # fmt: skip
        done, row = Cell(options, Effort(0, 1), Effort(0, 60)).train(f"b {count}", context)
        rate = images_per_second(done, context.device)
        return row | {"seconds_per_epoch": TRAINING_IMAGES / rate}

    return TableCell(str(count), run)


def _render(rows: dict[str, Row]) -> str:
    def cell(count: str, column: str) -> str:
        row = rows.get(count)
        if column == "MNIST, %":
            return percent(row, "accuracy")
        return f"{row['seconds_per_epoch']:.0f}" if row and "seconds_per_epoch" in row else "-"

    return grid("N", [str(n) for n in COUNTS], ["MNIST, %", "seconds an epoch"], cell)


TABLE_B = PaperTable(
    "b", "wrong labels shown, label-plane form", [_job(n) for n in COUNTS], _render
)
