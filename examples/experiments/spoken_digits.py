"""Spoken digits of a speaker nobody heard: DS-CNN in int8, beside scikit-learn, by WAV folders.

    OMP_NUM_THREADS=1 python examples/experiments/spoken_digits.py --data-dir .data

The Free Spoken Digit Dataset as a person has it: DIGIT/SPEAKER/TAKE.wav.  Each of the six speakers
is left out in turn (``--leave-out speaker:NAME``); the net `kws`, logistic regression and a random
forest learn the same 49 x 10 log-mel features of the other five.  How long the net is trained and
how far its samples are moved, and how strongly the regression is held, is chosen for each speaker
without a sample of hers: by her `partner`, left out of training as well.

A row a net goes to out/spoken_digits, and one that is there is not made again.
"""

import json
import shutil
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import dated

from dfedge.data.files import open_path
from dfedge.data.fsdd import SPEAKERS, recordings_folder
from dfedge.data.inputs.sound import SoundRule
from dfedge.data.reading import Reading
from dfedge.learn.run import Run
from dfedge.learn.samples import to_samples
from dfedge.learn.train import TrainOptions, quantised_net, train
from dfedge.learn.trainer import accuracy

RESULTS = Path(__file__).parent / "results" / "spoken_digits.json"
HOME = Path("out/spoken_digits")
RULE = SoundRule("log-mel 49x10")
SEEDS = (0, 1, 2)
CHOICES = {
    "6 epochs": (6, 0),
    "12 epochs": (12, 0),
    "6 epochs, moved": (6, 2),
    "12 epochs, moved": (12, 2),
}
"""Float epochs; cells by which samples are moved."""
HELD = (0.001, 0.01, 0.1, 1.0)
"""C of the regression."""


def partner(speaker: str) -> str:
    """Speakers choose for each other, by twos."""
    return SPEAKERS[SPEAKERS.index(speaker) ^ 1]


def words(data_dir: Path, left_out: str = "") -> Path:
    """DIGIT/SPEAKER/TAKE.wav of all speakers but one."""
    folder = HOME / f"words{left_out and '-without-' + left_out}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for file in sorted(recordings_folder(data_dir).glob("*.wav")):
            digit, speaker, take = file.stem.split("_")
            place = part / digit / speaker / f"{take}.wav"
            if speaker != left_out:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        part.rename(folder)
    return folder


def trained(folder: Path, leave_out: str, choice: str, seed: int, out: Path) -> Run:
    epochs, moved = CHOICES[choice]
    settings = {"epochs": epochs, "qat_epochs": max(epochs // 4, 1)}
    net = HOME / f"kws-{moved}.toml"
    shipped = Path(__file__).parents[2] / "dfedge" / "learn" / "nets" / "kws.toml"
    net.write_text(shipped.read_text().replace("[train]", f"[train]\nshift = {moved}"))
    options = TrainOptions(
        str(folder), net=str(net), qat=True, seed=seed, settings=settings, keep=False,
        reading=Reading(leave_out=f"speaker:{leave_out}"),
    )  # fmt: skip
    return train(options, out)


def heard(data_dir: Path, speaker: str) -> Any:
    """Everybody else's samples, and hers."""
    reading = Reading(leave_out=f"speaker:{speaker}")
    cut = open_path(words(data_dir), reading=reading).cut(0)
    return cut.parts["train"].read(RULE), cut.parts["test"].read(RULE)


def asked(data_dir: Path, one: str) -> dict[str, dict[str, float]]:
    """Choice -> accuracy on a speaker and on her partner of a net that heard neither."""
    found = {}
    for choice in CHOICES:
        folder = words(data_dir, one)
        run = trained(folder, partner(one), choice, 0, HOME / f"choice-{one}-{choice}")
        net = quantised_net(run)
        found[choice] = {
            who: accuracy(net, to_samples(heard(data_dir, who)[1], "cpu"))
            for who in (one, partner(one))
        }
        print(one, choice, found[choice], flush=True)
    return found


def regression(held: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=held, max_iter=1000))


def flat(split: Any, keep: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    return split.x[keep].reshape(len(split.y[keep]), -1) / 2.0, split.y[keep]


def rivals(data_dir: Path, speaker: str) -> dict[str, Any]:
    """The regression's C is chosen by the partner, whom it then has not heard."""
    from sklearn.ensemble import RandomForestClassifier

    others, own = heard(data_dir, speaker)
    owners = open_path(words(data_dir), reading=Reading(leave_out=f"speaker:{speaker}")).cut(0)
    hers = owners.parts["train"].groups["speaker"] == partner(speaker)
    scores = [regression(c).fit(*flat(others, ~hers)).score(*flat(others, hers)) for c in HELD]
    chosen = HELD[int(np.argmax(scores))]
    forests = [RandomForestClassifier(300, random_state=seed).fit(*flat(others)).score(*flat(own))
               for seed in SEEDS]  # fmt: skip
    fitted = regression(chosen).fit(*flat(others))
    return {"logistic regression": fitted.score(*flat(own)), "C": chosen,
            "random forest": mean(forests)}  # fmt: skip


def kept(name: str, make: Any) -> Any:
    path = HOME / "rows" / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def row(data_dir: Path, speaker: str, seed: int, choice: str) -> dict[str, Any]:
    run = trained(words(data_dir), speaker, choice, seed, HOME / f"run-{speaker}-{seed}")
    float_, int8 = (r["test_accuracy"] for r in run.metrics() if "test_accuracy" in r)
    print(speaker, seed, choice, float_, int8, flush=True)
    return {"speaker": speaker, "seed": seed, "choice": choice, "float": float_, "int8": int8}


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the recordings lie.")] = Path(".data"),
    seeds: Annotated[int, typer.Option(help="How many.")] = len(SEEDS),
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    beside = {who: kept(f"rivals-{who}", lambda who=who: rivals(data_dir, who)) for who in SPEAKERS}
    choices = {}
    for one in SPEAKERS[::2]:
        found = kept(f"choice-{one}", lambda one=one: asked(data_dir, one))
        for who in (one, partner(one)):
            choices[who] = max(found, key=lambda choice: found[choice][partner(who)])
    rows = [
        kept(f"{who}-{seed}", lambda who=who, seed=seed: row(data_dir, who, seed, choices[who]))
        for seed in SEEDS[:seeds]
        for who in SPEAKERS
    ]
    summary = {
        who: {"choice": choices[who], **beside[who],
              **{key: mean(r[key] for r in rows if r["speaker"] == who)
                 for key in ("float", "int8")}}
        for who in SPEAKERS
    }  # fmt: skip
    keys = ("float", "int8", "logistic regression", "random forest")
    means = {key: mean(one[key] for one in summary.values()) for key in keys}
    worst = {key: min(one[key] for one in summary.values()) for key in keys}
    found = {**dated(), "seeds": seeds, "means": means, "worst speaker": worst,
             "speakers": summary, "rows": rows}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for name, one in (*summary.items(), ("mean", means), ("worst", worst)):
        print(f"{name:10}", *(f"{key} {one[key]:.3f}" for key in keys))


if __name__ == "__main__":
    typer.run(main)
