"""Another writer's digits: new data against float back-propagation of the same part, and the old.

    OMP_NUM_THREADS=1 python examples/experiments/harm_writers.py --data-dir .data

A residual net of eight convolutions is trained by back-propagation, on scikit-learn's digits of
8 x 8 or on 6,000 of MNIST, and adopted with its head, its last block or all of it learning.  Then
it meets the other set in its own size: MNIST reduced to 8 x 8, digits enlarged to 28 x 28.  1,000
labelled samples are shown five times in batches of 16: to the device with the product's defaults,
which replay as many again of what was known, and with `replace`; to the same part of the float net
by AdamW, at the best of four rates on a tenth of these samples that it is not shown for that.
Judged are samples of both writers that nothing learned.  Three seeds; writes
results/harm_writers.json.
"""

import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from dated import dated
from harm import QUIET, job_of, open_session
from harm_nets import Convolutions
from PIL import Image
from torch import Tensor, nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.allocator import keep_freed_memory
from dfedge.blocks import Block
from dfedge.data.dataset import Images, Split
from dfedge.data.inputs import to_input
from dfedge.data.sources import load
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export

RESULTS, OUT = Path(__file__).parent / "results" / "harm_writers.json", Path("out/harm/writers")
BLOCKS = [
    Block(kind="conv", channels=16),
    Block(kind="residual", channels=16),
    Block(kind="residual", channels=32, stride=2),
    Block(kind="residual", channels=64, stride=2),
]
LEARN = {"head": 0, "last:1": 1, "all": len(BLOCKS)}
"""Choice of `dfedge adopt` -> blocks that learn."""
TRAINED = {"digits": (900, 30), "mnist": (6000, 4)}
"""Set -> images that the net is trained on, and epochs."""
CARES = {"default": Care(), "replace": Care(replace=True)}
SHOWN, PASSES, BATCH, HELD = 1000, 5, 16, 500
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
Row = dict[str, Any]


def resized(x: Images, side: int) -> Images:
    """Images [N, H, W, 1] at another size, over areas where it is smaller."""
    how = Image.Resampling.BOX if side < x.shape[1] else Image.Resampling.BILINEAR
    small = [np.asarray(Image.fromarray(one[..., 0]).resize((side, side), how)) for one in x]
    return np.stack(small)[..., None]


def whole(name: str, data_dir: Path, seed: int) -> Split:
    """All samples of a set in a drawn order."""
    found = load(name, data_dir).splits
    parts = [found["train"], found["test"]] if name == "mnist" else list(found.values())
    x, y = (np.concatenate([getattr(part, of) for part in parts]) for of in ("x", "y"))
    return Split(x, y).take(np.random.default_rng(seed).permutation(len(y))[:9000])


def real(split: Split) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(to_input(split.x)).permute(0, 3, 1, 2).float() / 128
    return x, torch.from_numpy(split.y)


def descend(net: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float, cooled: bool) -> None:
    """AdamW, perhaps with one cycle of rates."""
    optimiser = torch.optim.AdamW(net.parameters(), rate)
    steps = epochs * -(-len(y) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    net.train()
    for _ in range(epochs):
        for index in torch.randperm(len(y)).split(BATCH):
            if len(index) < 2:
                continue
            loss = F.cross_entropy(net(x[index]), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if cooled:
                cycle.step()
    net.eval()


def right(net: nn.Module, split: Split) -> float:
    x, y = real(split)
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def halves(net: Convolutions, learn: int) -> tuple[nn.Module, nn.Module]:
    """What is frozen, and what learns: its last blocks and the head."""
    units, end = list(net.units), [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    low, high = units[: len(units) - learn], units[len(units) - learn :]
    if not learn:
        return nn.Sequential(*low, *end).eval(), nn.Sequential(net.last)
    return nn.Sequential(*low).eval(), nn.Sequential(*high, *end, net.last)


def back_propagation(made: Path, learn: int, new: Split, exams: list[Split], seed: int) -> Row:
    """Accuracies on the exams at the best rate, chosen on a tenth of the new samples."""

    def taught(rate: float, shown: Split) -> nn.Module:
        torch.manual_seed(seed)
        net = fresh(made)
        low, high = halves(net, learn)
        x, y = real(shown)
        with torch.no_grad():
            z = torch.cat([low(part) for part in x.split(250)])
        descend(high, z, y, PASSES, rate, cooled=False)
        return nn.Sequential(low, high).eval()

    tenth = len(new) // 10
    shown, kept = new.take(np.arange(tenth, len(new))), new.take(np.arange(tenth))
    rate = max(RATES, key=lambda r: right(taught(r, shown), kept))
    net = taught(rate, new)
    return {"rate": rate, "new": right(net, exams[0]), "old": right(net, exams[1])}


def fresh(made: Path) -> Convolutions:
    net = Convolutions(1, BLOCKS, 10)
    net.load_state_dict(torch.load(made / "net.pt", weights_only=True))
    return net.eval()


def case(own_name: str, seed: int, data_dir: Path) -> list[Row]:
    """A net's rows, one for each part that learns."""
    other_name = "mnist" if own_name == "digits" else "digits"
    folder, (count, epochs) = OUT / f"{own_name}-{seed}", TRAINED[own_name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own, other = whole(own_name, data_dir, seed), whole(other_name, data_dir, seed)
    other = Split(resized(other.x, own.x.shape[1]), other.y)
    train, old = own.take(np.arange(count)), own.take(np.arange(count, count + HELD))
    new = other.take(np.arange(SHOWN))
    exam = other.take(np.arange(SHOWN, min(SHOWN + 2 * HELD, len(other))))
    path = folder / "own.npz"
    np.savez(path, x=train.x, y=train.y, classes=np.array(list("0123456789")))
    known = load(str(path)).cut(seed).splits["train"]
    torch.manual_seed(seed)
    net = Convolutions(1, BLOCKS, 10)
    descend(net, *real(known), epochs, 1e-2, cooled=True)
    torch.save(net.state_dict(), folder / "net.pt")
    example = (torch.zeros(2, 1, *own.x.shape[1:3]),)
    torch.export.save(torch.export.export(net, example, strict=False), folder / "net.pt2")
    rows = []
    for learn, blocks in LEARN.items():
        options = AdoptOptions(str(folder / "net.pt2"), str(path), learn=learn, seed=seed)
        run = adopt(options, folder / f"{blocks}-run").run
        bundle = export(run, ExportOptions(("c",), batch=BATCH), folder / f"{blocks}-bundle")
        after: Row = {}
        for name, care in CARES.items():
            session = open_session(bundle, folder / "state", care)
            before = [evaluate(session, part).accuracy for part in (exam, old)]
            shown = PASSES * SHOWN * (2 if care.replays else 1)
            finetune(session, new, job_of(BATCH, shown, seed), saving=QUIET)
            after[name] = [evaluate(session, part).accuracy for part in (exam, old)]
        rival = back_propagation(folder, blocks, new, [exam, old], seed)
        row: Row = {"own": own_name, "learn": learn, "seed": seed, "float_old": right(net, old)}
        row |= {
            "before": before,
            **after,
            "bp": [rival["new"], rival["old"]],
            "bp_rate": rival["rate"],
        }
        print(row, flush=True)
        rows.append(row)
    return rows


def means(rows: list[Row]) -> dict[str, Row]:
    """Over seeds, in points: on the new and on the old."""
    found = {}
    for own in TRAINED:
        for learn in LEARN:
            of = [row for row in rows if (row["own"], row["learn"]) == (own, learn)]
            if of:
                found[f"{own}, {learn}"] = {
                    what: [round(100 * mean(row[what][i] for row in of), 1) for i in (0, 1)]
                    for what in ("before", *CARES, "bp")
                }
    return found


def main(
    data_dir: Path = Path(".data"),
    seeds: str = "0,1,2",
    own: Annotated[str, typer.Option(help="digits, mnist, or both by commas.")] = "digits,mnist",
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    found: Row = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for seed in map(int, seeds.split(",")):
        for name in own.split(","):
            rows = [r for r in found["rows"] if (r["own"], r["seed"]) != (name, seed)]
            found = dated() | {"rows": rows + case(name, seed, data_dir)}
            found["means"] = means(found["rows"])
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for key, value in found["means"].items():
        print(key, value)


if __name__ == "__main__":
    typer.run(main)
