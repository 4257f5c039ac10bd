"""Table d: depth against accuracy and peak memory of a training step, at equal width."""

import torch

from dfedge.learn.memory import peak_step_bytes
from dfedge.learn.net import Net
from dfedge.learn.rules import Batch, load_rule
from dfedge.learn.spec import load_spec
from dfedge.learn.train import TrainOptions
from dfedge.reproduce.cell import Cell, Effort
from dfedge.reproduce.table import Context, PaperTable, Row, TableCell, grid, percent

RULES = ["df", "df-o", "df-r", "bp", "bp-checkpoint"]
DEPTHS = (4, 10, 20, 40)
BATCH = 128
LEAN, TEN = "df --lean", "ten-slim"


def measured_memory(
    net: str,
    depth: int | None,
    rule: str,
    form: str,
    classes: int,
    device: str,
    *,
    lean: bool = False,
) -> Row:
    """Peak bytes of one step on colour images of 32 x 32 at batch 128."""
    made, spec = load_rule(rule), load_spec(net, depth)
    built = Net(spec, (32, 32, 3), classes, form).to(device)
    made.prepare(built)
    built.lean = lean
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 128, (BATCH, 3, 32, 32), generator=g, dtype=torch.int8).to(device)
    y = torch.randint(0, classes, (BATCH,), generator=g).to(device)
    step, kept = peak_step_bytes(built, made, spec.train, Batch(x, y, 0, g))
    return {"step_bytes": step, "kept_bytes": kept, "memory_batch": BATCH}


def _job(rule: str, depth: int) -> TableCell:
    def run(context: Context) -> Row:
        options = TrainOptions(
            "fashion-mnist", None, "plain-16", rule, False, 0, {"validation": 500}, depth=depth
        )
        row: Row = {}
        if rule != "bp-checkpoint":  # its gradients are those of bp
            effort = Effort(4_500, 2)
            row = Cell(options, effort, Effort(0, 40)).train(f"d {rule} {depth}", context)[1]
        memory = measured_memory("plain-16", depth, rule, "one-pass", 10, context.device)
        return {"status": "done"} | row | memory

    return TableCell(f"{rule} {depth}", run)


def _memory_job(rule: str, net: str, depth: int | None) -> TableCell:
    def run(context: Context) -> Row:
        plain = rule.removesuffix(" --lean")
        row = measured_memory(net, depth, plain, "one-pass", 10, context.device, lean=plain != rule)
        return {"status": "done", **row}

    return TableCell(f"{rule} {depth or net}", run)


def _render(rows: dict[str, Row]) -> str:
    def cell(rule: str, column: str) -> str:
        depth, _, what = column.replace(" layers", "").partition(", ")
        row = rows.get(f"{rule} {depth}")
        if what == "%":
            source = row if rule != "bp-checkpoint" else rows.get(f"bp {depth}")
            return "-" if source is None else percent(source, "accuracy")
        return f"{row['step_bytes'] / 2**20:.0f}" if row and "step_bytes" in row else "-"

    columns = [f"{depth} layers, {what}" for depth in DEPTHS for what in ("%", "MiB")]
    return grid("16 channels", [*RULES, LEAN], [*columns, f"{TEN}, MiB"], cell)


TABLE_D = PaperTable(
    "d",
    "depth: Fashion-MNIST accuracy, and peak memory of a step (32 x 32 colour, batch 128)",
    [
        *(_job(rule, depth) for depth in DEPTHS for rule in RULES),
        *(_memory_job(LEAN, "plain-16", depth) for depth in DEPTHS),
        *(_memory_job(rule, TEN, None) for rule in [*RULES, LEAN]),
    ],
    _render,
)
