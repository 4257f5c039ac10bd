"""A net that back-propagation trained is adopted, and learns on: a new class, and turned photos.

The photos are those of a folder, CLASS/*.jpg, or the embedded digits enlarged.  The last class is
kept from the net until it runs in int8; a third of the others are photos that it meets there.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.continual.new_class import learn_class
from dfedge.data.dataset import Split
from dfedge.data.door import SampleFilter
from dfedge.data.picture import pillow
from dfedge.data.shift import parse_shift
from dfedge.data.sized import rule_for
from dfedge.data.sources import load, open_data
from dfedge.demo.foreign import train_net, write_onnx
from dfedge.demo.route import SHOWN, ShownImage
from dfedge.device.evaluate import evaluate
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob
from dfedge.errors import DfedgeError
from dfedge.exporters.write import ExportOptions, export
from dfedge.progress import Progress

SHIFT = "rotate:30"
LEARN = "last:1"
FEW = 10
"""Photos of the new class."""
PRESENTATIONS, BATCH = 4000, 16
SIDE, LARGE = 24, 48
"""Pixels of the enlarged digits, and of a person's photos."""


@dataclass(frozen=True)
class PhotosDemo:
    """What was found: the object that ``--json`` prints, and what the report draws."""

    summary: dict[str, Any]
    gallery: list[ShownImage]


def run_photos(
    out: Path, data: str | None = None, seed: int = 0, watch: Progress = lambda *_: None
) -> PhotosDemo:
    """Train, adopt, export and teach, under ``out``.

    Args:
        data: a folder of photos, CLASS/*.jpg; None: the embedded digits, enlarged.

    Raises:
        DfedgeError: ``out`` is not empty; photos that cannot be read; fewer than three classes.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DfedgeError(f"{out} exists and is not empty; choose another --out")
    begin = time.perf_counter()
    watch("read the photos", 0, 1)
    folder, side = (data, LARGE) if data else (str(_enlarged(out / "photos")), SIDE)
    names, lesson, meets, test = _photos(folder, side, seed)
    out.mkdir(parents=True, exist_ok=True)
    file, model = out / "known.npz", out / "model.onnx"
    np.savez(file, x=lesson.x, y=lesson.y, classes=np.array(names[:-1]))
    watch("back-propagation", 0, 1)
    write_onnx(train_net(lesson, len(names) - 1, seed), lesson.x.shape[1:], model)
    options = AdoptOptions(str(model), str(file), learn=LEARN, seed=seed)
    adopted = adopt(options, out / "run", watch)
    bundle = export(adopted.run, ExportOptions(("onnx",), batch=BATCH, spare_classes=1),
                    out / "bundle", watch)  # fmt: skip
    session = Session.open(bundle, "onnx", out / "state", initial=True)
    added = _new_class(session, names[-1], meets, test)
    turned, gallery = _turned(session, meets, test, seed, watch)
    memory = bundle.manifest.formats["onnx"].memory
    summary = {
        "seed": seed,
        "data": data or "digits, enlarged",
        "classes": list(names),
        "photos": {"trained": len(lesson), "met": len(meets), "tested": len(test)},
        "adopted": {"float": adopted.float_accuracy, "int8": adopted.accuracy},
        "new_class": added,
        "turned": turned,
        "memory": {
            kind: msgspec.to_builtins(memory[f"{kind}_b{BATCH}"]) for kind in ("train", "infer")
        },
        "paths": {
            "model": str(model),
            "bundle": str(out / "bundle"),
            "state": str(session.folder),
            "report": str(out / "report.html"),
        },
        "seconds": round(time.perf_counter() - begin, 1),
    }
    return PhotosDemo(summary, gallery)


def _new_class(session: Session, name: str, meets: Split, test: Split) -> dict[str, Any]:
    """Add the last class from a few of its photos."""
    new = len(session.classes)
    old, own = (test.take(np.flatnonzero((test.y == new) == wanted)) for wanted in (False, True))
    before = evaluate(session, old).accuracy
    few = np.flatnonzero(meets.y == new)[:FEW]
    if not len(few) or not len(own):
        raise DfedgeError(f"class '{name}' has too few photos to learn and to judge; add some")
    learn_class(session, name, meets.x[few])
    return {
        "name": name,
        "samples": len(few),
        "recognised": evaluate(session, own).accuracy,
        "others_before": before,
        "others_after": evaluate(session, old).accuracy,
    }


def _turned(
    session: Session, meets: Split, test: Split, seed: int, watch: Progress
) -> tuple[dict[str, Any], list[ShownImage]]:
    """Learn the photos that it meets, turned, with replay and guard."""
    move = parse_shift(SHIFT, session.bundle.manifest.input)
    exam, few = Split(move(test.x), test.y), min(len(test) // 2 * 2, SHOWN)

    def seen() -> tuple[float, float, list[str]]:
        answers = [session.classes[row] for row in session.scores(exam.x[:few]).argmax(1)]
        return evaluate(session, exam).accuracy, evaluate(session, test).accuracy, answers

    before, upright, answers = seen()
    job = FinetuneJob("photos", "met", SHIFT, seed, BATCH, PRESENTATIONS)
    finetune(session, Split(move(meets.x), meets.y), job,
             lambda done, total: watch("learn turned photos", done, total))  # fmt: skip
    after, upright_after, now = seen()
    found = {
        "kind": SHIFT,
        "samples": PRESENTATIONS,
        "before": before,
        "after": after,
        "upright_before": upright,
        "upright_after": upright_after,
    }
    labels = [session.classes[label] for label in exam.y[:few]]
    return found, list(map(ShownImage, exam.x[:few], labels, answers, now))


def _photos(data: str, side: int, seed: int) -> tuple[tuple[str, ...], Split, Split, Split]:
    """Classes; what the net is trained on, without the last class; what it meets; what judges."""
    found = open_data(data, door=SampleFilter("skip")).cut(seed)
    split = found.read(rule_for(found, str(side)))
    names, train, test = split.classes, split.splits["train"], split.splits["test"]
    if len(names) < 3:
        raise DfedgeError(
            f"{data}: {len(names)} class(es); this demo keeps one for later and needs three or more"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    late = np.arange(len(order)) % 3 == 0
    lesson = train.take(np.sort(order[~late]))
    lesson = lesson.take(np.flatnonzero(lesson.y < len(names) - 1))
    return names, lesson, train.take(np.sort(order[late])), test


def _enlarged(folder: Path) -> Path:
    """The embedded digits as pictures of `SIDE` pixels, CLASS/N.png."""
    image = pillow("the demo writes pictures")
    digits = load("digits")
    for name, split in digits.splits.items():
        for i, (x, y) in enumerate(zip(split.x, split.y, strict=True)):
            path = folder / digits.classes[y] / f"{name}-{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.fromarray(x.squeeze()).resize((SIDE, SIDE), image.Resampling.BICUBIC).save(path)
    return folder
