"""A watch meets a person whom it does not know: ten people, each left out in turn.

    pip download --no-deps seglearn -d .data/wheels
    OMP_NUM_THREADS=1 python examples/experiments/watch_person.py --data-dir .data

Net ``imu``, windows [128, 6], seven exercises.  Of the nine others the first 4/5 of each recording
in time are learned on the host, the rest shows what becomes of them.  Of the person left out the
device learns windows of the first 3/5 of each recording, 5, 10 or 20 of each exercise; the last 2/5
are the exam.  No window lies on both sides.  The device learns by the defaults, and with --replace.

Beside it: a random forest on features of the windows, trained on the others alone; back-propagation
of the same net in float, trained on the others and then on the person's windows (SGD, as many
presentations, its rate the best of the other nine people); and the nearest class mean of the
person's own windows in the int8 net's last features.

A row a person and seed goes to out/watch_person, and one that is there is not made again.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated
from numpy.typing import NDArray

from dfedge.bundle import Bundle
from dfedge.data import watch
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.recordings import Recording
from dfedge.data.signals import Signals
from dfedge.data.sources import OWN, DataSource, open_data
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob, Saving
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train

RESULTS = Path(__file__).parent / "results" / "watch_person.json"
ROWS = Path("out/watch_person")
PEOPLE, SEEDS, EACH, PASSES, BATCH = range(1, 11), (0, 1, 2), (5, 10, 20), 20, 16
OTHERS, PERSON = 0.8, 0.6
"""Share of a recording that is learned."""
RATES = (0.001, 0.01, 0.1)
Row = dict[str, Any]


def parts(data_dir: Path | None, person: str) -> Signals:
    """The others in train and test, the person in stream and exam; each cut in time."""
    whole = watch.load(data_dir)
    found: dict[str, list[Recording]] = {"train": [], "test": [], "stream": [], "exam": []}
    for one in whole.recordings["all"]:
        own = one.groups["person"] == person
        at = int(len(one.x) * (PERSON if own else OTHERS))
        for name, x in zip(("stream", "exam") if own else ("train", "test"),
                           (one.x[:at], one.x[at:]), strict=True):  # fmt: skip
            found[name].append(replace(one, x=x))
    kept = {name: tuple(recordings) for name, recordings in found.items()}
    return replace(whole, recordings=kept)


def taught(stream: Split, each: int, seed: int) -> Split:
    """So many windows of each class."""
    r = np.random.default_rng(seed)
    orders = [r.permutation(np.flatnonzero(stream.y == k))[:each] for k in range(7)]
    return stream.take(np.concatenate(orders))


def features(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of windows [N, T, C]: moments, quantiles and spectral power of each channel."""
    power = np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1)) ** 2
    bands = [power[:, a:b].sum(1) for a, b in ((1, 3), (3, 6), (6, 12), (12, 24), (24, 65))]
    quantiles = np.percentile(x, [5, 25, 50, 75, 95], axis=1)
    step = np.abs(np.diff(x, axis=1)).mean(1)
    return np.concatenate(
        [x.mean(1), x.std(1), step, *quantiles, *(np.log1p(band) for band in bands)], 1
    )


def forest(train_x: Any, train_y: Any, exam_x: Any, exam_y: Any, seed: int) -> float:
    from sklearn.ensemble import RandomForestClassifier

    made = RandomForestClassifier(300, random_state=seed).fit(features(train_x), train_y)
    return float((made.predict(features(exam_x)) == exam_y).mean())


def by_class_means(session: Session, few: Split, exam: Split) -> float:
    """The nearest mean of the person's own windows, in the last layer's features."""

    def seen(split: Split) -> NDArray[np.float64]:
        return np.concatenate([s[-1] for _, s in session.features(split.x)]).astype(float)

    known, asked = seen(few), seen(exam)
    means = np.stack([known[few.y == k].mean(0) for k in range(7)])
    away = ((asked[:, None] - means) ** 2).sum(2)
    return float((away.argmin(1) == exam.y).mean())


def learned(bundle: Bundle, few: Split, care: Care, state: Path) -> Session:
    session = Session.open(bundle, "native", state, initial=True, care=care)
    job = FinetuneJob("watch", "stream", "", 0, BATCH, PASSES * len(few))
    finetune(session, few, job, saving=Saving(0))
    return session


def propagated(run: Run, few: Split, exam: Split, rate: float) -> float:
    """Back-propagation of all layers in float."""
    torch.manual_seed(0)
    net = run.load_net()
    x = torch.from_numpy(to_input(few.x)).permute(0, 3, 1, 2)
    y = torch.from_numpy(few.y)
    optimiser = torch.optim.SGD(net.parameters(), rate, momentum=0.9)
    last = len(net.units) - 1
    order = torch.cat([torch.randperm(len(y)) for _ in range(PASSES)])
    for at in order.split(BATCH):
        a = net.form.begin(x[at], y[at], None)
        for i in range(last):
            a = net.form.hand_on(i, net.units[i], net.activate(i, a))
        optimiser.zero_grad()
        net.form.judge(last, net.activate(last, a), y[at]).loss.backward()
        optimiser.step()
    asked = torch.from_numpy(to_input(exam.x)).permute(0, 3, 1, 2)
    return float((net.scores(asked).argmax(1).numpy() == exam.y).mean())


def row(person: int, seed: int, data_dir: Path | None) -> Row:
    name, home = f"watch-without-{person}", ROWS / f"{person}-{seed}"
    OWN[name] = DataSource("watch_person:parts", "imu", (str(person),))
    data = open_data(name, data_dir)
    run = train(TrainOptions(name, data_dir, qat=True, seed=seed), home / "run")
    bundle = export(run, ExportOptions(("onnx",), batch=BATCH), home / "bundle")
    rival = train(TrainOptions(name, data_dir, rule="bp", seed=seed, keep=False), home / "bp")
    raw = {part: data.parts[part] for part in data.parts}
    codes = {part: one.read(run.plan.input) for part, one in raw.items()}
    fresh = Session.open(bundle, "native", home / "none", initial=True)
    found: Row = {
        "person": person, "seed": seed,
        "forest": forest(raw["train"].x, raw["train"].y, raw["exam"].x, raw["exam"].y, seed),
        "before": evaluate(fresh, codes["exam"]).accuracy,
        "others": evaluate(fresh, codes["test"]).accuracy,
        "bp": propagated(rival, codes["stream"].take(np.arange(0)), codes["exam"], 0.0),
    }  # fmt: skip
    for each in EACH:
        few = taught(codes["stream"], each, seed)
        found[f"windows {each}"] = len(few)
        found[f"class means {each}"] = by_class_means(fresh, few, codes["exam"])
        for rate in RATES:
            found[f"bp {each} at {rate}"] = propagated(rival, few, codes["exam"], rate)
        for how, care in (("device", Care()), ("replace", Care(replace=True))):
            session = learned(bundle, few, care, home / how)
            found[f"{how} {each}"] = evaluate(session, codes["exam"]).accuracy
            found[f"{how} {each} others"] = evaluate(session, codes["test"]).accuracy
    return found


def chosen_rate(rows: list[Row], person: int, each: int) -> float:
    """The best of the other nine people."""
    others = [r for r in rows if r["person"] != person] or rows
    return max(RATES, key=lambda rate: mean(r[f"bp {each} at {rate}"] for r in others))


def summary(rows: list[Row]) -> Row:
    """Means over people and seeds, and the worst person's mean."""
    for r in rows:
        for each in EACH:
            r[f"bp {each}"] = r[f"bp {each} at {chosen_rate(rows, r['person'], each)}"]
    keys = [key for key in rows[0] if " at " not in key and key not in ("person", "seed")]
    of = {key: [mean(r[key] for r in rows if r["person"] == p)
                for p in sorted({r["person"] for r in rows})] for key in keys}  # fmt: skip
    return {key: {"mean": mean(each), "worst person": min(each)} for key, each in of.items()}


def rows_kept() -> Iterator[Row]:
    for path in sorted(ROWS.glob("*.json")):
        yield json.loads(path.read_text())


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the wheels lie.")] = Path(".data"),
    people: Annotated[str, typer.Option(help="Who, as 1,2,3.")] = ",".join(map(str, PEOPLE)),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    ROWS.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for person in map(int, people.split(",")):
            path = ROWS / f"{person}-{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(row(person, seed, data_dir)))
                print(path.read_text(), flush=True)
    rows = list(rows_kept())
    found = summary(rows)
    RESULTS.write_text(json.dumps({**dated(), "summary": found, "rows": rows}, indent=1) + "\n")
    for key, value in found.items():
        print(f"{key:24} {value['mean']:.3f} {value['worst person']:.3f}")


if __name__ == "__main__":
    typer.run(main)
