"""The two nets that learning destroyed: photos and motion of a watch, three seeds.

    pip download --no-deps seglearn river -d .data/wheels                     # once
    OMP_NUM_THREADS=1 python examples/experiments/harm_cases.py --data-dir .data

Photos: five classes of Imagenette-64, 150 training and 100 validation photos each as JPEG of
320 x 240, `train --qat`, `calibrate`, `export --format c` with what the commands do by default;
judged on the validation photos and on 100 more of each class that no command is shown.  Watch:
windows of motion [128, 6] as pictures of one channel, a small net, nine people left out one at a
time.  Learned with the product's defaults, batch 16; each number of steps is a run of its own from
the bundle's state.  Writes results/harm_cases_two.json.
"""

import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import typer
from dated import dated
from harm import QUIET, job_of, learned, learns, open_session
from harm_data import parts, photos
from harm_nets import own_data, written
from harm_report import SEEDS
from PIL import Image

from dfedge.allocator import keep_freed_memory
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.files import load_path
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.learn.run_data import load_data
from dfedge.learn.train import TrainOptions, calibrate_run, train

RESULTS = Path(__file__).parent / "results" / "harm_cases_two.json"
WORK = Path("out/harm/cases")
STEPS, BATCH, PEOPLE = (2, 20, 250), 16, 3
TRAIN, VALIDATION, SIZE = 150, 100, (320, 240)
WATCH = """anchors = 1
[train]
epochs = 8
qat_epochs = 2
shift = 0
[[block]]
channels = 16
pool = true
[[block]]
channels = 32
pool = true
[[block]]
channels = 48
"""
Row = dict[str, Any]


def own(bundle: Bundle, data: Split, exams: dict[str, Split], folder: Path, seed: int) -> Row:
    """Accuracies before, and after so many steps on the net's own data."""
    session = open_session(bundle, folder, Care())
    seen = {name: {"0": evaluate(session, exam).accuracy} for name, exam in exams.items()}
    for count in STEPS:
        session = open_session(bundle, folder, Care())
        finetune(session, data, job_of(BATCH, count * BATCH, seed), saving=QUIET)
        for name, exam in exams.items():
            seen[name][str(count)] = evaluate(session, exam).accuracy
    learning = msgspec.to_builtins(getattr(bundle.manifest, "learning", None))
    return {"own": seen, "learns": learns(bundle, bundle.initial_state()), "learning": learning}


def save_photos(folder: Path, seed: int, data_dir: Path) -> None:
    """train/CLASS and test/CLASS in ``data``, and the photos that nobody is shown in ``unseen``."""
    trained, other, classes = photos(data_dir)
    for k, name in enumerate(classes):
        r = np.random.default_rng([seed, k])
        first = r.permutation(np.flatnonzero(trained.y == k))[:TRAIN]
        second = r.permutation(np.flatnonzero(other.y == k))
        for place, split, index in (
            ("data/train", trained, first),
            ("data/test", other, second[:VALIDATION]),
            ("unseen", other, second[VALIDATION : 2 * VALIDATION]),
        ):
            target = folder / place / name
            target.mkdir(parents=True)
            for i in index:
                Image.fromarray(split.x[i]).resize(SIZE).save(target / f"{i}.jpg", quality=90)


def photo_case(seed: int, data_dir: Path) -> list[Row]:
    folder = WORK / f"photos-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    save_photos(folder, seed, data_dir)
    run = train(TrainOptions(str(folder / "data"), qat=True, seed=seed), folder / "run")
    calibrate_run(run, "pow2-mse")
    bundle = export(run, ExportOptions(("c",)), folder / "bundle")
    data, manifest = load_data(run.plan), bundle.manifest
    unseen = load_path(folder / "unseen", manifest.input, manifest.classes).splits["all"]
    exams = {"held": data.splits["test"], "unseen": unseen}
    return [{"seed": seed} | own(bundle, data.splits["train"], exams, folder / "state", seed)]


def watch_case(seed: int, data_dir: Path) -> list[Row]:
    rows = []
    for person in range(PEOPLE * seed, PEOPLE * (seed + 1)):
        folder = WORK / f"watch-{seed}-{person}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        data = parts("watch", seed, f"person:{person % 10}", data_dir)
        path, net = written(data, folder), folder / "net.toml"
        net.write_text(WATCH)
        run = train(TrainOptions(str(path), net=str(net), qat=True, seed=seed), folder / "run")
        bundle = export(run, ExportOptions(("c",)), folder / "bundle")
        state, known = folder / "state", own_data(path, seed)
        row: Row = {"seed": seed, "person": person % 10}
        row |= own(bundle, known, {"held": data.held}, state, seed)
        session = open_session(bundle, state, Care())
        before = evaluate(session, data.exam).accuracy
        after, kept = learned(session, data, BATCH, seed)
        row |= {"person_accuracy": [before, after]}
        row |= {"others_accuracy": [row["own"]["held"]["0"], kept]}
        rows.append(row)
    return rows


def judged(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """The bars: text -> its value and whether it is met."""
    seeds = len({row["seed"] for row in rows})
    found: dict[str, dict[str, Any]] = {"three seeds": {"value": seeds, "met": seeds >= SEEDS}}
    for exam in rows[0]["own"]:
        for count in map(str, STEPS):
            drops = [100 * (row["own"][exam]["0"] - row["own"][exam][count]) for row in rows]
            found[f"{exam}, {count} steps: loss in the mean at most 1, of a net at most 3"] = {
                "value": [round(mean(drops), 2), *(round(one, 2) for one in drops)],
                "met": mean(drops) <= 1 and max(drops) <= 3,
            }
    if "person_accuracy" in rows[0]:
        gains = [100 * (b - a) for a, b in (row["person_accuracy"] for row in rows)]
        losses = [100 * (a - b) for a, b in (row["others_accuracy"] for row in rows)]
        found["a held-out person's accuracy rises in the mean, and nobody's falls"] = {
            "value": [round(mean(gains), 2), *(round(g, 2) for g in gains)],
            "met": mean(gains) > 0 and min(gains) >= 0,
        }
        found["the others' stays within 2"] = {
            "value": [round(mean(losses), 2), *(round(one, 2) for one in losses)],
            "met": max(losses) <= 2,
        }
    return found


def show(name: str, rows: list[Row], bars: dict[str, dict[str, Any]]) -> None:
    for row in rows:
        who = f" person {row['person']}" if "person" in row else ""
        for exam, seen in row["own"].items():
            values = " ".join(f"{k}: {100 * v:.1f}" for k, v in seen.items())
            print(f"{name} seed {row['seed']}{who}, {exam}, own data, steps {values}")
        for what in ("person_accuracy", "others_accuracy"):
            if what in row:
                before, after = row[what]
                print(f"  {what.partition('_')[0]}: {100 * before:.1f} -> {100 * after:.1f}")
        print(f"  what learns: {row['learns']}")
    for text, bar in bars.items():
        print(f"{'met    ' if bar['met'] else 'NOT met'} {name}, {text}: {bar['value']}")


def main(
    data_dir: Path = Path(".data"),
    seeds: str = "0,1,2",
    case: Annotated[str, typer.Option(help="photos, watch, or both by commas.")] = "photos,watch",
) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    makers = {"photos": photo_case, "watch": watch_case}
    found: Row = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in case.split(","):
        rows = [row for seed in map(int, seeds.split(",")) for row in makers[name](seed, data_dir)]
        bars = judged(rows)
        found[name] = dated() | {"bars": bars, "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        show(name, rows, bars)


if __name__ == "__main__":
    typer.run(main)
