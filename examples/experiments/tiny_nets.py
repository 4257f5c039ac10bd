"""MLPerf Tiny's trained classifiers adopted from its own int8 .tflite files, and what they take.

    # the files, from the folders benchmark/training/*/trained_models of mlcommons/tiny at 1afd2c98,
    # into .data/models/mlperf-tiny
    OMP_NUM_THREADS=1 python examples/experiments/tiny_nets.py

ResNet-8 answers CIFAR-10's test images: the file by LiteRT, the adopted net in float and in int8.
Of the other two's data (COCO, Speech Commands) nothing is here.  The visual wake words net sees
Imagenette's photos enlarged to 96 pixels, and what counts as right is what its file answers by
LiteRT; the key-word net sees noise.  Writes results/tiny_nets.json, with bytes of arena, state and
flash of the C program that learns its head, and of some that learn more.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ai_edge_litert.interpreter import Interpreter
from dated import dated
from numpy.typing import NDArray
from PIL import Image

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.compile.blank import blank_constants
from dfedge.data.sources import load
from dfedge.exporters.planned import state_bytes
from dfedge.exporters.write import ExportOptions, export

RESULTS, WORK = Path(__file__).parent / "results" / "tiny_nets.json", Path("out/tiny_nets")
MODELS = Path(".data/models/mlperf-tiny")
FILES = {"DS-CNN": "kws_ref_model", "MobileNetV1-0.25": "vww_96_int8",
         "ResNet-8": "pretrainedResnet_quant"}  # fmt: skip
LEARN = {"DS-CNN": ("head", "last:2", "last:4"), "MobileNetV1-0.25": ("head", "last:2", "last:4"),
         "ResNet-8": ("head", "last:1", "all")}  # fmt: skip
PHOTOS = 2500
"""A fifth of them is judged, as `dfedge adopt` cuts it."""


def answers(name: str, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What the file itself answers by LiteRT: its codes are a picture's bytes less 128."""
    net = Interpreter(str(MODELS / f"{FILES[name]}.tflite"), num_threads=1)
    net.allocate_tensors()
    (given,), (made,) = net.get_input_details(), net.get_output_details()
    found = []
    for one in x:
        net.set_tensor(given["index"], (one.astype(np.int16) - 128).astype(np.int8)[None])
        net.invoke()
        found.append(int(net.get_tensor(made["index"])[0].argmax()))
    return np.array(found)


def data_of(name: str) -> str:
    """What the net is adopted on."""
    if name == "ResNet-8":
        return "cifar10"
    draw, path = np.random.default_rng(0), WORK / "data.npz"
    if name == "DS-CNN":
        x = np.clip(draw.normal(171, 30, (PHOTOS // 5, 49, 10, 1)), 0, 255).astype(np.uint8)
        np.savez(path, x=x, y=np.arange(len(x)) % 12)
        return str(path)
    photos = load("imagenette-64", Path(".data")).splits["train"]
    at = draw.choice(len(photos), PHOTOS, replace=False)
    x = np.stack([np.asarray(Image.fromarray(one).resize((96, 96))) for one in photos.x[at]])
    np.savez(path, x=x, y=answers(name, x), classes=["none", "a person"])
    return str(path)


def measured(name: str, learn: str, data: str) -> dict[str, Any]:
    """Adopt, and export to C, which replays golden batches in it."""
    model = str(MODELS / f"{FILES[name]}.tflite")
    found = adopt(AdoptOptions(model, data, Path(".data"), learn=learn), WORK / "run")
    bundle = export(found.run, ExportOptions(("c",), trial=False), WORK / "bundle")
    memory = json.loads((WORK / "bundle" / "manifest.json").read_text())["formats"]["c"]["memory"]
    train = next(plan for method, plan in memory.items() if method.startswith("train"))
    row = {
        "float": round(100 * found.float_accuracy, 2),
        "int8": round(100 * found.accuracy, 2),
        "int8_by_scores": round(100 * found.by_scores, 2),
        "lowest_snr": round(min(loss.snr for loss in found.losses), 1) if found.losses else None,
        "train_arena": train["arena_bytes"],
        "state": train["state_bytes"],
        "flash_of_trunk": state_bytes(blank_constants(bundle.manifest.plan)),
    }
    for made in ("run", "bundle"):
        shutil.rmtree(WORK / made)
    return row


def main(wanted: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    kept = json.loads(RESULTS.read_text())["nets"] if wanted and RESULTS.exists() else {}
    rows: dict[str, Any] = {name: kept[name] for name in FILES if name in kept}
    for name in [one for one in FILES if one in (wanted or FILES)]:
        data = data_of(name)
        rows[name] = {learn: measured(name, learn, data) for learn in LEARN[name]}
        if name == "DS-CNN":
            for row in rows[name].values():
                for field in ("float", "int8", "int8_by_scores"):
                    del row[field]  # of labels that mean nothing
        rows[name]["file_bytes"] = (MODELS / f"{FILES[name]}.tflite").stat().st_size
        if name == "ResNet-8":
            test = load("cifar10", Path(".data")).splits["test"]
            right = answers(name, test.x) == test.y
            rows[name]["file_by_litert"] = round(100 * float(right.mean()), 2)
        print(name, rows[name], flush=True)
        RESULTS.write_text(json.dumps({**dated(), "nets": rows}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
