"""Is it normal?  Machines' data by ``--task normal`` in int8, beside three rivals.

    pip download --no-deps aeon river -d .data/wheels
    OMP_NUM_THREADS=1 python examples/experiments/normal.py --data-dir .data

Sets.  Layers and modes are chosen on held-back samples alone; the method was shaped while anomalies
of the first four were looked at (seed 0), the last two were run once, at its end:

* ``shuttle``: nine readings of NASA's shuttle (river), 8,000 normal rows to train on.
* ``appliances``: the power that appliances draw (ACSF1 of aeon), windows of 128; three of the ten
  kinds (labels 0, 3 and 6) are the unusual ones; whole recordings are tested on.
* ``machine``: the vibration of examples/machine.py with four faults, drawn.
* ``hum``: 640-wide vectors as MLPerf Tiny's, 5 frames of 128 log-mels of a machine's hum, drawn;
  faults are a harmonic, a tone, a click, a hiss.
* ``cells``: 30 measurements of cells (scikit-learn's breast cancer), malignant ones are unusual; a
  quarter of the benign ones, drawn by the seed, are tested on.
* ``exercises``: a wrist's motion (``watch`` of seglearn), windows of 128; one of the seven
  exercises, number 1 + seed, is the unusual one; the last fifth of each recording is tested on.

Rivals, trained on the same windows: scikit-learn's isolation forest; the autoencoder of MLPerf
Tiny's shape (128 four times, 8, 128 four times), by back-propagation; the distance to the nearest
of 32 centres of k-means on the readings.  Seeds 1 to 3; the rate of following was chosen on other
draws of ``machine``.

Drift: 12,000 normal samples one after the other, ever more changed, with and without following.
``tried`` trains other forms on ``machine`` and ``hum`` and judges them by validation too: held-back
samples beside generated anomalies.
"""

import gzip
import json
import sys
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from torch import nn

from dfedge.data import watch
from dfedge.data.judged import Judgeable
from dfedge.data.modes import HELD, NormalWish, flat, k_means, nearest
from dfedge.data.packaged import member
from dfedge.data.ranking import area_under_curve
from dfedge.data.reading import Reading
from dfedge.data.series import parse_series
from dfedge.device.follow import follow
from dfedge.device.normal import evaluate_normal
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.normal import layer_distances, settle, unusual
from dfedge.learn.run import Run
from dfedge.learn.run_data import open_run_data
from dfedge.learn.samples import Samples, to_samples
from dfedge.learn.spec import Loss
from dfedge.learn.train import TrainOptions, train
from dfedge.learn.trainer import Trainer, initialise_anchors

sys.path.insert(0, str(Path(__file__).parent.parent))
from machine import FAULTS, drifted, readings

RESULTS = Path(__file__).parent / "results" / "normal.json"
SEEDS = (1, 2, 3)
EPOCHS = {"shuttle": (12, 3), "appliances": (12, 3), "machine": (30, 5), "hum": (30, 5),
          "cells": (60, 10), "exercises": (12, 3)}  # fmt: skip
STREAM = 12_000
HUMS = ("harmonic", "tone", "click", "hiss")
UNUSUAL_APPLIANCES = (0, 3, 6)
Three = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Normal samples to train on, normal ones to test on, unusual ones."""


def shuttle(seed: int, data_dir: Path) -> Three:
    raw = gzip.decompress(member("river", "river/datasets/shuttle.csv.gz", data_dir)).decode()
    table = np.array([line.split(",") for line in raw.split()[1:]], np.float64)
    x, odd = table[:, :9], table[:, 9] == 1
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
    return x[normal[:8000]], x[normal[8000:12000]], x[odd]


def appliances(seed: int, data_dir: Path) -> Three:
    """Recordings [1460, 1] as objects: windows are cut by dfedge."""
    rows = []
    for part in ("TRAIN", "TEST"):
        path = f"aeon/datasets/data/ACSF1/ACSF1_{part}.ts"
        rows += parse_series(member("aeon", path, data_dir), path)
    odd = np.isin([int(label) for label, _ in rows], UNUSUAL_APPLIANCES)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
    whole = [values for _, values in rows]
    own, test = normal[: len(normal) * 3 // 4], normal[len(normal) * 3 // 4 :]
    return np.stack([whole[i] for i in own]), cut(whole, test), cut(whole, np.flatnonzero(odd))


def cut(recordings: list[np.ndarray], which: np.ndarray) -> np.ndarray:
    return np.stack([recordings[i][s : s + 128] for i in which for s in range(0, 1460 - 127, 64)])


def machine(seed: int, data_dir: Path) -> Three:
    rng = np.random.default_rng([seed, 1])
    odd = [readings(rng, 150, fault) for fault in FAULTS]
    return readings(rng, 2400), readings(rng, 1000), np.concatenate(odd)


def hum(seed: int, data_dir: Path) -> Three:
    rng = np.random.default_rng([seed, 2])
    odd = [hums(rng, 150, fault) for fault in HUMS]
    return hums(rng, 3000), hums(rng, 1000), np.concatenate(odd)


def hums(rng: np.random.Generator, count: int, fault: str = "") -> np.ndarray:
    """Log-mels [count, 640] in decibels of a machine that hums at one of three pitches."""
    low, high = np.log10(1 + 50 / 700), np.log10(1 + 8000 / 700)
    hertz = 700 * (10 ** np.linspace(low, high, 128) - 1)
    found = []
    for _ in range(count):
        pitch = rng.choice([87.0, 140.0, 220.0]) * rng.uniform(0.98, 1.02)
        power = 1e-4 * np.exp(rng.normal(0, 0.2, (5, 128)) - hertz / 3000) * rng.uniform(1, 3)
        times = np.arange(1, 30)
        loud = times ** -rng.uniform(0.8, 1.2)
        if fault == "harmonic":
            loud = np.where(times % 3 == 0, loud * rng.uniform(3, 8), loud)
        for number, size in zip(times, loud, strict=True):
            if pitch * number <= 8000:
                off = (hertz - pitch * number) / (15 + 0.03 * pitch * number)
                power += size * np.exp(-off * off) * np.exp(rng.normal(0, 0.1, (5, 1)))
        if fault == "tone":
            off = (hertz - rng.uniform(500, 6000)) / 60
            power += rng.uniform(0.05, 0.3) * np.exp(-off * off)
        if fault == "click":
            power[rng.integers(5)] += rng.uniform(0.01, 0.05)
        if fault == "hiss":
            power += rng.uniform(0.003, 0.02) * np.exp(-(((hertz - 5000) / 1500) ** 2))
        gains = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.3, power.shape))
        found.append(10 * np.log10(power * gains).ravel())
    return np.stack(found)


def cells(seed: int, data_dir: Path) -> Three:
    from sklearn.datasets import load_breast_cancer

    x, benign = load_breast_cancer(return_X_y=True)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(benign == 1))
    cut_at = len(normal) * 3 // 4
    return x[normal[:cut_at]], x[normal[cut_at:]], x[benign == 0]


def exercises(seed: int, data_dir: Path) -> Three:
    recordings = watch.load(data_dir).recordings["all"]
    parts: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] = ([], [], [])
    for one in recordings:
        at = len(one.x) * 4 // 5
        windows = [(s, one.x[s : s + 128]) for s in range(0, len(one.x) - 127, 64)]
        for start, window in windows:
            if one.label == 1 + seed:
                parts[2].append(window)
            elif start + 128 <= at:
                parts[0].append(window)
            elif start >= at:
                parts[1].append(window)
    return tuple(np.stack(part) for part in parts)  # type: ignore[return-value]


SETS: dict[str, Callable[[int, Path], Three]] = {
    "shuttle": shuttle, "appliances": appliances, "machine": machine, "hum": hum,
    "cells": cells, "exercises": exercises,
}  # fmt: skip
DRIFTS: dict[str, tuple[str, Callable[..., np.ndarray]]] = {
    "machine": ("a fifth louder, and off its zero by up to 0.3 of its stroke", drifted),
    "hum": ("6 dB quieter", lambda x, at: x - 6 * np.reshape(at, (-1, 1))),
}


def write(folder: Path, x: np.ndarray) -> tuple[str, Reading]:
    """Training data as a person has them; recordings as files."""
    if x.shape[1] != 1460:
        np.savez(folder / "normal.npz", x=x)
        return str(folder / "normal.npz"), Reading("window")
    (folder / "normal").mkdir()
    for i, one in enumerate(x):
        np.savetxt(folder / "normal" / f"{i}.csv", one, header="power", comments="")
    return str(folder / "normal"), Reading(window=128, hop=64)


class Autoencoder(nn.Sequential):
    """640-128-128-128-128-8-128-128-128-128-640, its width the input's."""

    def __init__(self, width: int) -> None:
        sizes = [width, *[128] * 4, 8, *[128] * 4]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        super().__init__(*layers, nn.Linear(128, width))


def autoencoder(own: np.ndarray, tests: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Mean squared error of standardised values, after 100 epochs of Adam at 1e-3."""
    torch.manual_seed(seed)
    mean, size = own.mean(0), own.std(0) + 1e-6
    x = torch.from_numpy((own - mean) / size).float()
    net = Autoencoder(x.shape[1])
    adam, batch = torch.optim.Adam(net.parameters(), 1e-3), min(512, max(64, len(x) // 8))
    for _ in range(100):
        for index in torch.randperm(len(x)).split(batch):
            if len(index) > 1:
                loss = (net(x[index]) - x[index]).square().mean()
                adam.zero_grad()
                loss.backward()
                adam.step()
    net.eval()
    with torch.no_grad():
        given = [torch.from_numpy((test - mean) / size).float() for test in tests]
        return [(net(one) - one).square().mean(1).numpy() for one in given]


def rivals(own: np.ndarray, normal: np.ndarray, odd: np.ndarray, seed: int) -> dict[str, float]:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=300, random_state=seed).fit(own)
    centres = k_means(own, 32, seed)
    found = {
        "isolation forest": [-forest.score_samples(x) for x in (normal, odd)],
        "autoencoder": autoencoder(own, [normal, odd], seed),
        "k-means on readings": [nearest(x, centres)[1] for x in (normal, odd)],
    }
    return {name: area_under_curve(*far) for name, far in found.items()}


def float_area(run: Run, normal: np.ndarray, odd: np.ndarray) -> float:
    """Of the float net's weights, and means of the same modes, before it is quantised."""
    net = run.load_net()
    settle(net, to_samples(open_run_data(run.plan).part("train")[1].read(run.plan.input)))
    far = []
    for x in (normal, odd):
        seen = to_samples(Judged(x).split).x
        far.append(layer_distances(net, seen)[list(net.counted)].sum(0).amin(1).numpy())
    return area_under_curve(*far)


class Judged:
    """Codes as a split without labels."""

    def __init__(self, x: np.ndarray) -> None:
        from dfedge.data.dataset import Split

        self.split = Split(x, np.zeros(len(x), np.int64))


def learned(name: str, seed: int, data_dir: Path, folder: Path) -> tuple[Run, Three]:
    three = SETS[name](seed, data_dir)
    data, reading = write(folder, three[0])
    epochs, qat = EPOCHS[name]
    settings = {"epochs": epochs, "qat_epochs": qat}
    options = TrainOptions(
        data, qat=True, seed=seed, settings=settings, reading=reading, normal=NormalWish()
    )
    return train(options, folder / "run"), three


def row(name: str, seed: int, data_dir: Path) -> dict[str, Any]:
    begun = time.process_time()
    with TemporaryDirectory() as place:
        folder = Path(place)
        run, (_, normal, odd) = learned(name, seed, data_dir, folder)
        bundle = export(run, ExportOptions(("c",)), folder / "bundle")
        session = Session.open(bundle, state=folder / "state", initial=True)
        rule = run.plan.input
        codes = [rule.apply(x, name) for x in (normal, odd)]
        labels = np.repeat([False, True], [len(normal), len(odd)])
        judged = Judgeable("test", np.concatenate(codes), labels)
        found = evaluate_normal(session, judged)
        own = open_run_data(run.plan).part("train")[1].read(rule).x
        threshold = bundle.manifest.normal
        assert threshold is not None
        memory = bundle.manifest.formats["c"].memory
        result = {
            "set": name, "seed": seed, "windows": [len(own), *map(int, own.shape[1:])],
            "held_back": threshold.held_back, "modes": len(bundle.manifest.classes),
            "counted": [i for i, layer in enumerate(bundle.manifest.plan.layers) if layer.counted],
            "float": float_area(run, *codes), "int8": found.area,
            "false_alarms": found.false_alarms, "detected": found.detected,
            "state_bytes": session.state_bytes, "infer_bytes": memory["features_b1"].arena_bytes,
            **rivals(flat(own), flat(codes[0]), flat(codes[1]), seed),
        }  # fmt: skip
        if name in DRIFTS:
            result["drift"] = drift(name, seed, session, odd)
        return result | {"cpu_seconds": round(time.process_time() - begun)}


def drift(name: str, seed: int, session: Session, odd: np.ndarray) -> dict[str, Any]:
    """Alarms of normal samples that drift, by fifths of the stream; then what is still found."""
    said, change = DRIFTS[name]
    rng = np.random.default_rng([seed, 3])
    make = readings if name == "machine" else hums
    stream = change(make(rng, STREAM), np.linspace(0, 1, STREAM))
    x = np.concatenate([change(make(rng, 1000), 1.0), change(odd, 1.0)])
    rule = session.bundle.manifest.input
    labels = np.repeat([False, True], [1000, len(odd)])
    ended = Judgeable("test", rule.apply(x, name), labels)
    codes = rule.apply(stream, name)
    normal = np.zeros(STREAM, bool)
    first = np.array_split(codes, 5)
    frozen = [
        evaluate_normal(session, Judgeable("drift", part, normal[: len(part)])).false_alarms
        for part in first
    ]
    before = evaluate_normal(session, ended)
    followed = follow(session, session.input(codes))
    after = evaluate_normal(session, ended)
    alarms = ~followed.judged.normal
    return {
        "change": said, "samples": STREAM, "moved": followed.moved,
        "alarms": {"not followed": frozen,
                   "followed": [float(part.mean()) for part in np.array_split(alarms, 5)]},
        "drifted": {kind: {"false_alarms": one.false_alarms, "detected": one.detected,
                           "area": one.area}
                    for kind, one in (("not followed", before), ("followed", after))},
    }  # fmt: skip


FORMS = ("modes", "learned anchors", "all layers", "one class of anomalies", "classes of anomalies",
         "classes of changes", "pull to the own anchor")  # fmt: skip


def tried(name: str, seed: int, data_dir: Path) -> dict[str, Any]:
    """Areas of other forms, of the float net: by validation, and on the reported anomalies."""
    with TemporaryDirectory() as place:
        run, (_, normal, odd) = learned(name, seed, data_dir, Path(place))
        rule, data = run.plan.input, open_run_data(run.plan)
        own, held = (to_samples(data.part(part)[1].read(rule)) for part in ("train", HELD))
        tests = [to_samples(Judged(rule.apply(x, name)).split).x for x in (normal, odd)]
    found: dict[str, Any] = {}
    for form in FORMS:
        samples, classes = more(form, own, len(run.plan.classes), seed)
        plan = run.plan
        torch.manual_seed(seed)
        net = plan.make_net().__class__(plan.net, plan.seen_shape, classes)
        net.form.loss = Loss(penalty=0.3 if form.startswith("pull") else 0.0)
        initialise_anchors(net, samples)
        epochs = max(plan.settings.epochs * len(own) // len(samples), 2)
        trainer = Trainer(net, RULE(), plan.settings, seed, epochs)
        for number in range(epochs):
            trainer.epoch(samples, number, lambda *_: None)
        if form != "learned anchors":
            settle(net, samples)
        rows, modes = range(len(net.units)), len(plan.classes)
        choices = [list(rows)] if form == "all layers" else [list(rows), *([i] for i in rows)]
        areas = []
        for counted in choices:
            far = [
                layer_distances(net, x)[counted].sum(0)[:, :modes].amin(1).numpy()
                for x in (held.x, unusual(held.x, seed), *tests)
            ]
            areas.append((area_under_curve(*far[:2]), area_under_curve(*far[2:])))
        found[form] = dict(zip(("validation", "reported"), max(areas), strict=True))
    return {"set": name, "seed": seed, **found}


def RULE() -> Any:  # noqa: N802
    from dfedge.learn.rules import load_rule

    return load_rule("df")


def more(form: str, own: Samples, modes: int, seed: int) -> tuple[Samples, int]:
    """The training samples of a form, and its classes."""
    x, y = own.x, own.y
    if "anomalies" in form:
        odd = unusual(x, seed + 100)
        kinds = (
            torch.arange(len(x)) % 5 if form.startswith("classes") else torch.zeros(len(x)).long()
        )
        return Samples(torch.cat([x, odd]), torch.cat([y, modes + kinds])), modes + int(
            kinds.max()
        ) + 1
    if form == "classes of changes":
        ways = [
            x.flip(2) if x.shape[2] > 1 else x.flip(1),
            127 - x,
            x.roll(1, 1 if x.shape[1] > 1 else 2),
        ]
        labels = [y + modes * (i + 1) for i in range(len(ways))]
        return Samples(torch.cat([x, *ways]), torch.cat([y, *labels])), modes * (len(ways) + 1)
    return own, modes


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the wheels lie.")] = Path(".data"),
) -> None:
    """See the module's text; what the results hold already is not run again."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": [], "tried": []}
    done = {part: {(one["set"], one["seed"]) for one in known[part]} for part in ("rows", "tried")}

    def keep(part: str, one: dict[str, Any]) -> None:
        """What was found so far, so that nothing is lost where the rest is cut short."""
        known[part].append(one | {"commit": dated()["commit"]})
        print(json.dumps(one), flush=True)
        RESULTS.write_text(json.dumps({**known, **dated()}, indent=1) + "\n")

    for seed in SEEDS:
        for name in SETS:
            if (name, seed) not in done["rows"]:
                keep("rows", row(name, seed, data_dir))
    for name in ("machine", "hum"):
        if (name, 5) not in done["tried"]:
            keep("tried", tried(name, 5, data_dir))


if __name__ == "__main__":
    typer.run(main)
