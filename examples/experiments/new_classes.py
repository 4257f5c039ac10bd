"""Many classes that the net has never seen, one after the other, from ten samples each.

    pip download --no-deps seglearn river -d .data/wheels       # once: the watch, a larger table
    apt-get install fonts-liberation fonts-freefont-ttf fonts-lato    # letters: any fonts
    OMP_NUM_THREADS=1 python examples/experiments/new_classes.py --data-dir .data

Each kind of data trains a net of its first classes; the others are added on the device as ``dfedge
add-class`` does, three times from other samples.  Judged after one, three and all of them: recall
on the classes added, and accuracy on the known ones, on samples that nothing was shown.  Nets and
rows lie under --home, and are taken from there when it is called again.

What may be lost was chosen on `CHOSEN_ON`; the other kinds are reported apart.  Of ``cifar100``
there are training images only: it is there to choose by.

Yardsticks, in float, on the same features of all counted layers: nearest class mean; logistic
regression on the samples that the bundle brings and the new ones; a discriminant whose covariance
all classes share, of the same samples.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import torch
import typer
from dated import commit, dated
from harm_data import parts
from new_activity import features, nearest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression

from dfedge.bundle import Bundle
from dfedge.continual.new_class import learn_class
from dfedge.continual.placing import look
from dfedge.data.dataset import Split
from dfedge.data.fsdd import SPEAKERS
from dfedge.data.sources import load
from dfedge.device.known import known_samples
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

SHIPPED = "separation"
"""The loss by default."""
RESULTS = Path(__file__).parent / "results" / "new_classes.json"
CHOSEN_ON = ("digits", "watch", "cifar100")
NEW, DRAWS, MARKS = 10, 3, (1, 3)
TRAIN, EXAM, PHOTOS = 10_000, 2_000, 4_000
FONTS = Path("/usr/share/fonts")
LETTERS = "ABCDEFGHJK"
SAME = {"watch": "person:0", "speech": f"speaker:{SPEAKERS[0]}"}
"""Of sets that leave one person out; the others change nothing."""
CUT = 200
"""Training images of each class of ``cifar100`` that a net learns; the others judge."""
SHRINK = 0.03
"""Of the shared covariance, towards its mean variance."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of data: how it is read, how many classes the net knows, its blocks and epochs."""

    read: Callable[[int, Path], tuple[Split, Split]]
    known: int
    blocks: tuple[str, ...]
    epochs: int


def own(name: str, seed: int, data_dir: Path) -> tuple[Split, Split]:
    """A set whose later classes are new."""
    found = parts(name, seed, SAME.get(name, "light:1:0"), data_dir)
    return found.train, found.held


def after_digits(other: str, seed: int, data_dir: Path) -> tuple[Split, Split]:
    """MNIST, and classes of another set after its ten."""
    digits, rng = load("mnist", data_dir).splits, np.random.default_rng(seed)
    later = letters(seed) if other == "letters" else load(other, data_dir).splits
    found = []
    for part, size in (("train", TRAIN), ("test", EXAM)):
        a, b = (s.take(rng.permutation(len(s))[:size]) for s in (digits[part], later[part]))
        found.append(Split(np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y + 10])))
    return found[0], found[1]


def cifar100(seed: int, data_dir: Path) -> tuple[Split, Split]:
    """Ten classes, other ones for every seed; learned and judged by are training images."""
    whole = load("cifar100", data_dir).splits["train"]
    first = whole.take(np.flatnonzero(whole.y // 10 == seed))
    first = Split(first.x, first.y - 10 * seed)
    each = [np.flatnonzero(first.y == k) for k in range(10)]
    learned, exam = (
        first.take(np.concatenate([one[part] for one in each]))
        for part in (slice(CUT), slice(CUT, None))
    )
    return learned, exam


def photos(seed: int, data_dir: Path) -> tuple[Split, Split]:
    """Imagenette's ten classes at 64 x 64."""
    found, rng = load("imagenette-64", data_dir).splits, np.random.default_rng(seed)
    first, second = (
        found[part].take(rng.permutation(len(found[part]))[:size])
        for part, size in (("train", PHOTOS), ("test", EXAM))
    )
    return first, second


def letters(seed: int) -> dict[str, Split]:
    """Ten capitals in every font of this machine, somewhat turned, moved and scaled; fonts of the
    test part are no fonts of the training part.
    """
    fonts = sorted(FONTS.rglob("*.[to]tf"))
    rng = np.random.default_rng(seed)
    fonts = [fonts[i] for i in rng.permutation(len(fonts))]
    cut = len(fonts) // 2
    return {"train": _drawn(fonts[:cut], rng), "test": _drawn(fonts[cut:], rng)}


def _drawn(fonts: list[Path], rng: np.random.Generator) -> Split:
    x, y = [], []
    for font in fonts:
        for number, letter in enumerate(LETTERS):
            for _ in range(max(1, 200 // len(fonts))):
                x.append(_letter(font, letter, rng))
                y.append(number)
    return Split(np.stack(x)[..., None], np.array(y))


def _letter(path: Path, letter: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """As MNIST's digits lie: 20 pixels of 28, white on black."""
    page = Image.new("L", (112, 112))
    size = int(rng.uniform(70, 90))
    ImageDraw.Draw(page).text((56, 56), letter, 255, ImageFont.truetype(path, size), anchor="mm")
    moved = tuple(rng.uniform(-6, 6, 2))
    page = page.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR, translate=moved)
    return np.asarray(page.resize((28, 28), Image.Resampling.BOX))


PHOTO = ("conv 32 pool", "conv 48 pool", "conv 64")
PLAIN = ("conv 32 pool", "conv 64 pool", "conv 64")
KINDS = {
    "digits": Kind(partial(own, "digits"), 5, ("conv 32", "conv 64 pool", "conv 64"), 25),
    "fashion": Kind(partial(after_digits, "fashion-mnist"), 10, PLAIN, 4),
    "watch": Kind(partial(own, "watch"), 4, ("conv 16 pool", "conv 32 pool", "conv 48"), 12),
    "letters": Kind(partial(after_digits, "letters"), 10, PLAIN, 4),
    "speech": Kind(partial(own, "speech"), 5, ("conv 24 pool", "conv 32 pool", "conv 48"), 15),
    "segment": Kind(partial(own, "segment"), 4, ("linear 64", "linear 64", "linear 64"), 60),
    "cifar10": Kind(partial(own, "cifar10"), 5, PHOTO, 12),
    "cifar100": Kind(cifar100, 5, PHOTO, 12),
    "photos": Kind(photos, 5, ("conv 24 pool", "conv 32 pool", "conv 48 pool", "conv 64"), 8),
}


def mark_of(loss: str) -> str:
    """What names of another loss than the shipped one end in."""
    return "" if loss == SHIPPED else f"-{loss}"


def toml(kind: Kind, loss: str) -> str:
    lines = ["anchors = 1", "[train]", f"epochs = {kind.epochs}",
             f"qat_epochs = {max(kind.epochs // 5, 1)}", "shift = 1", "flip = false",
             "[loss]", f'kind = "{loss}"']  # fmt: skip
    for text in kind.blocks:
        name, channels, *pool = text.split()
        lines += ["[[block]]", f'kind = "{name}"', f"channels = {channels}",
                  f"pool = {'true' if pool else 'false'}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def bundle_of(kind: Kind, learned: Split, new: int, seed: int, home: Path, loss: str) -> Bundle:
    """The net of the known classes, exported with as many spare rows as there are new ones."""
    if (home / "bundle").exists():
        return Bundle.open(home / "bundle")
    known = learned.take(np.flatnonzero(learned.y < kind.known))
    classes = [f"known {k}" for k in range(kind.known)]
    home.mkdir(parents=True, exist_ok=True)
    np.savez(home / "own.npz", x=known.x, y=known.y, classes=np.array(classes))
    (home / "net.toml").write_text(toml(kind, loss))
    options = TrainOptions(str(home / "own.npz"), net=str(home / "net.toml"), qat=True, seed=seed)
    run = train(options, home / "run")
    return export(run, ExportOptions(("onnx",), spare_classes=new, trial=False), home / "bundle")


def yardsticks(
    session: Session, lessons: list[NDArray[np.uint8]], old: Split, new: Split, first: int
) -> dict[str, dict[str, float]]:
    """Of other rules, on the features of the net as it came."""
    q, y = known_samples(session.bundle)
    x, of_old, of_new, ten = (
        features(session, part).astype(np.float64)
        for part in (q, session.input(old.x), session.input(new.x),
                     session.input(np.concatenate(lessons)))
    )  # fmt: skip
    own = first + np.repeat(np.arange(len(lessons)), [len(one) for one in lessons])
    both, labels = np.vstack([x, ten]), np.append(y, own)
    means = np.stack([both[labels == k].mean(0) for k in range(labels.max() + 1)])
    shared = np.cov((both - means[labels]).T)
    shared += SHRINK * np.trace(shared) / len(shared) * np.eye(len(shared))
    unit = x.std(0).mean()
    fit = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced").fit(both / unit, labels)
    rules: dict[str, Callable[[Floats], Floats]] = {
        "class means": partial(nearest, means, np.eye(x.shape[1])),
        "logistic regression": lambda part: np.asarray(fit.decision_function(part / unit)),
        "shared covariance": partial(nearest, means, np.linalg.inv(shared)),
    }
    return {name: {"old": float((rule(of_old).argmax(1) == old.y).mean()),
                   "recall": float((rule(of_new).argmax(1) == new.y).mean())}
            for name, rule in rules.items()}  # fmt: skip


def rows_of(name: str, seed: int, data_dir: Path, home: Path, loss: str) -> list[dict[str, Any]]:
    """One net, `DRAWS` times ten samples of each new class; as this commit left them before."""
    kept = home / f"rows-{commit()}.json"
    if not kept.exists() or "+" in kept.name:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_rows_of(name, seed, data_dir, home, loss)))
    return list(json.loads(kept.read_text()))


def remembering(session: Session) -> Session:
    """One that looks at every sample once: what layers see of it is the same whatever anchors."""
    found: dict[bytes, list[NDArray[np.int8]]] = {}
    seen = session.seen

    def again(q: NDArray[np.int8]) -> Iterator[tuple[slice, list[NDArray[np.int8]], None]]:
        new = {one.tobytes(): one for one in q if one.tobytes() not in found}
        for part, layers, _ in seen(np.stack([*new.values()])) if new else ():
            for i, key in enumerate([*new][part]):
                found[key] = [layer[i] for layer in layers]
        each = [found[one.tobytes()] for one in q]
        yield slice(0, len(q)), [np.stack(layer) for layer in zip(*each, strict=True)], None

    vars(session)["seen"] = again
    return session


def recognised(session: Session, split: Split) -> NDArray[np.bool_]:
    """By the anchors as they stand and what is seen of the samples."""
    state = session.runner.get_state()
    live = np.flatnonzero(state["live"])
    seen = look(session, session.input(split.x), split.y)
    scores = seen.scores({i: state[f"layer{i}.anchors"].astype(np.int64) for i in seen.p})
    return np.asarray(live[scores[:, live].argmax(1)] == split.y)


def _rows_of(name: str, seed: int, data_dir: Path, home: Path, loss: str) -> list[dict[str, Any]]:
    kind = KINDS[name]
    learned, exam = kind.read(seed, data_dir)
    new = int(learned.y.max()) + 1 - kind.known
    bundle = bundle_of(kind, learned, new, seed, home, loss)
    old = exam.take(np.flatnonzero(exam.y < kind.known))
    found = []
    session = remembering(Session.open(bundle, "native", home / "state", initial=True))
    first, record, samples = session.runner.get_state(), session.record, session.remembered

    def right(split: Split) -> float:
        return float(recognised(session, split).mean())

    for draw in range(DRAWS):
        session.runner.set_state(first)
        session.record, session.remembered = record, samples
        rng = np.random.default_rng([seed, draw])
        row: dict[str, Any] = {"set": name, "seed": seed, "draw": draw, "before": right(old)}
        lessons = []
        for k in range(kind.known, kind.known + new):
            its = np.flatnonzero(learned.y == k)
            lessons.append(learned.x[rng.permutation(its)[:NEW]])
            learn_class(session, f"new {k}", lessons[-1])
            if len(lessons) in {*MARKS, new}:
                added = exam.take(np.flatnonzero((exam.y >= kind.known) & (exam.y <= k)))
                row[str(len(lessons))] = {"old": right(old), "recall": right(added)}
        fresh = exam.take(np.flatnonzero(exam.y >= kind.known))
        found.append(
            row | {"new": new, "beside": yardsticks(session, lessons, old, fresh, kind.known)}
        )
        print(found[-1], flush=True)
    whole = session.scores(exam.x).argmax(1) == exam.y  # the program's own, once
    assert np.array_equal(whole, recognised(session, exam))
    return found


def main(
    data_dir: Annotated[Path, typer.Option(help="Where the sets lie.")] = Path(".data"),
    seeds: str = "0,1,2",
    kinds: Annotated[str, typer.Option(help="By commas.")] = ",".join(KINDS),
    home: Annotated[Path, typer.Option(help="Where nets and rows are kept.")] = Path("out/new"),
    loss: Annotated[str, typer.Option(help="That the net is trained by.")] = SHIPPED,
) -> None:
    """See the module's text."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in kinds.split(","):
        for seed in map(int, seeds.split(",")):
            rows += rows_of(name, seed, data_dir, home / f"{name}-{seed}{mark_of(loss)}", loss)
    means: dict[str, Any] = {}
    for name in kinds.split(","):
        its = [row for row in rows if row["set"] == name]
        means[name] = {"before": mean(row["before"] for row in its)}
        for mark in (*map(str, MARKS), str(its[0]["new"])):
            means[name][mark] = {f: mean(row[mark][f] for row in its) for f in ("old", "recall")}
        means[name]["beside"] = {
            rule: {f: mean(row["beside"][rule][f] for row in its) for f in ("old", "recall")}
            for rule in its[0]["beside"]
        }
        print(name, json.dumps(means[name]), flush=True)
    found = {**dated(), "chosen on": CHOSEN_ON, "means": means, "rows": rows}
    out = RESULTS.with_stem(f"{RESULTS.stem}{mark_of(loss)}")
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
