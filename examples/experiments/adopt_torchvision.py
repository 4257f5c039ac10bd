"""torchvision's own nets, trained small on Imagenette-64, adopted as they are.

    pip install torchvision==0.28.0
    OMP_NUM_THREADS=1 python examples/experiments/adopt_torchvision.py mobilenet_v3_small

The same for mobilenet_v2_035 and resnet18.  Weights are random at first (nothing is downloaded),
trained for CPU minutes of one core and kept in out/adopt/NET.torchvision.pt: with that file there a
call goes on to what follows.  `dfedge adopt` takes ``examples.experiments.adopt_torchvision:NET``.
Results: results/adopt_torchvision.json; all test images, the int8 ones in the C interpreter.
"""

import argparse
import json
import shutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OUT, RESULTS = Path("out/adopt"), Path(__file__).parent / "results/adopt_torchvision.json"
DATA, CLASSES, SIDE, BATCH = "imagenette-64", 10, 64, 64
PEAKS = {"mobilenet_v2_035": 0.05, "mobilenet_v3_small": 0.05, "resnet18": 0.02}
"""Learning rates."""
HALVED = ("resnet18",)
"""Trained on halved images for 60 % of the time: on one core it would see too few else."""


def models() -> ModuleType:
    """torchvision.models, also beside a torch without CUDA: PyPI's wheel is built for one, its
    operators do not load there, and two of them are asked for by name; classifiers need none.
    """
    try:
        return import_module("torchvision.models")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        models.library = library  # type: ignore[attr-defined]  # what is defined ends with it
        return import_module("torchvision.models")


def fresh(name: str, **more: object) -> nn.Module:
    """Untrained; beside torchvision's names mobilenet_v2_035."""
    torch.manual_seed(0)
    if name.endswith("_035"):
        more |= {"width_mult": 0.35}
    return getattr(models(), name.removesuffix("_035"))(num_classes=CLASSES, **more)


def trained(name: str) -> nn.Module:
    net = fresh(name)
    net.load_state_dict(torch.load(OUT / f"{name}.torchvision.pt", weights_only=True))
    return net.eval()


def mobilenet_v2_035() -> nn.Module:
    """As trained here."""
    return trained("mobilenet_v2_035")


def mobilenet_v3_small() -> nn.Module:
    """As trained here."""
    return trained("mobilenet_v3_small")


def resnet18() -> nn.Module:
    """As trained here."""
    return trained("resnet18")


def real(x: Tensor) -> Tensor:
    """Bytes [B, H, W, C] as dfedge feeds them, float [B, C, H, W]."""
    return (x >> 1).permute(0, 3, 1, 2).float() / 128


def train(name: str, minutes: float) -> None:
    """Images flipped, and shifted by up to an eighth."""
    from adopt_nets import descend, moved

    from dfedge.data.sources import load

    split = load(DATA).splits["train"]
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)

    def images_of(index: Tensor, done: float) -> Tensor:
        images = moved(real(x[index]), SIDE // 8)
        return F.avg_pool2d(images, 2) if name in HALVED and done < 0.6 else images

    net = fresh(name)
    epochs = descend(net, images_of, y, minutes, PEAKS[name], BATCH)
    OUT.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), OUT / f"{name}.torchvision.pt")
    keep(name, {"minutes": minutes, "epochs": round(epochs, 1)})


def measure(name: str) -> None:
    """Adopt with ``--learn head``, export, and let the C interpreter judge all test images."""
    from dfedge.adoption.adopt import AdoptOptions, adopt
    from dfedge.compile.blank import blank
    from dfedge.data.sources import load
    from dfedge.device.evaluate import evaluate
    from dfedge.device.session import Session
    from dfedge.exporters import planned
    from dfedge.exporters.fit import sized
    from dfedge.exporters.options import ExportOptions
    from dfedge.exporters.program import Method
    from dfedge.exporters.write import export
    from dfedge.int8.stock.tiled import FLOORS

    run, folder = OUT / f"{name}-torchvision", OUT / f"{name}-torchvision-bundle"
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    model = f"examples.experiments.adopt_torchvision:{name}"
    found = adopt(AdoptOptions(model, DATA, test_samples=1000), run)
    bundle = export(found.run, ExportOptions(("c", "onnx"), batch=1), folder)
    test = load(DATA).splits["test"]
    x, y, net = real(torch.from_numpy(test.x)), torch.from_numpy(test.y), trained(name)
    with torch.no_grad():
        answers = torch.cat([net(part).argmax(1) for part in x.split(500)])
    session = Session.open(bundle, "native", initial=True, read_only=True)
    plan, lowest = sized(found.run, ExportOptions(("c",))), min(found.losses, key=lambda o: o.snr)
    keep(name, {
        "float": float((answers == y).float().mean()),
        "int8": evaluate(session, test).accuracy,
        "lowest": [f"{lowest.name} {lowest.op}", round(lowest.snr, 1)],
        "dB": {f"{one.name} {one.op}": round(one.snr, 1) for one in found.losses},
        "train arena, C, batch 1": planned.arena(plan, Method("train", 1), "c", FLOORS[1]),
        "state": planned.state_bytes(blank(plan)),
        "trunk constants": sum(value.nbytes for value in bundle.constants().values()),
    })  # fmt: skip


def keep(name: str, row: dict[str, object]) -> None:
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found.setdefault(name, {}).update(row)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(name, json.dumps(row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=list(PEAKS))
    parser.add_argument("--minutes", type=float, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not (OUT / f"{asked.net}.torchvision.pt").exists():
        train(asked.net, asked.minutes)
    measure(asked.net)
