"""Which nets of torchvision and timm are translated, and whether the graph computes the same.

    pip install --no-deps --target out/zoo timm==1.0.31 huggingface_hub pyyaml
    PYTHONPATH=out/zoo OMP_NUM_THREADS=1 python examples/experiments/translated.py

Random weights, ten classes, images of 64 x 64 in float: what is taken, not what int8 costs.  Writes
results/translated.json: the largest difference of a score over the largest score, or the refusal.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import typer
from adopt_torchvision import models
from dated import dated
from torch import nn

from dfedge.adoption.blocks import tail_of
from dfedge.adoption.fold import fold
from dfedge.adoption.load import load_graph
from dfedge.errors import DfedgeError

RESULTS = Path(__file__).parent / "results" / "translated.json"
SIDE, CLASSES = 64, 10
TORCHVISION = (
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50",
    "resnext50_32x4d", "regnet_x_400mf", "mnasnet0_5", "densenet121", "googlenet",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "shufflenet_v2_x0_5",
    "squeezenet1_1", "convnext_tiny",
)  # fmt: skip
TIMM = (
    "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "tf_mobilenetv3_small_minimal_100", "efficientnet_lite0", "lcnet_050", "ghostnet_050",
    "repghostnet_050", "mobileone_s0", "resnet10t", "tf_efficientnet_lite0",
    "tf_mobilenetv3_small_075", "repvgg_a0", "resnet14t", "regnetx_002", "fbnetc_100",
    "spnasnet_100", "efficientnet_es", "hardcorenas_a", "selecsls42", "dla34", "starnet_s1",
    "tinynet_e", "regnety_002", "mnasnet_small", "semnasnet_075", "efficientnet_b0",
    "mobilenetv3_large_100", "darknet53", "resnext26ts", "cspresnet50", "fasternet_t0",
    "res2net50_14w_8s", "hrnet_w18_small", "ghostnetv2_100", "mobilevit_xxs", "edgenext_xx_small",
)  # fmt: skip
given: nn.Module
"""What `net` gives to dfedge's own way in."""


def net() -> nn.Module:
    """The net at work."""
    return given


def tried(made: nn.Module) -> dict[str, Any]:
    """The difference, or why there is none."""
    global given
    given = made
    try:
        graph = fold(load_graph("translated:net", (SIDE, SIDE, 3)))
        tail_of(graph)
    except DfedgeError as error:
        return {"refused": re.split(r" \(", str(error))[0]}  # without a path of this machine
    x = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = made(x)
    found = graph.result(x).flatten(1)
    return {"difference": float((found - wanted).abs().max() / wanted.abs().max())}


def main() -> None:
    torchvision = models()  # first: timm imports it as well
    from timm import create_model

    sys.modules["translated"] = sys.modules["__main__"]  # found again by that name
    rows: dict[str, dict[str, Any]] = {"torchvision": {}, "timm": {}}
    for package, names in (("torchvision", TORCHVISION), ("timm", TIMM)):
        for name in names:
            torch.manual_seed(0)
            if package == "timm":
                made = create_model(name, pretrained=False, num_classes=CLASSES)
            else:
                made = getattr(torchvision, name)(num_classes=CLASSES)
            rows[package][name] = tried(made.eval())
            print(package, name, str(rows[package][name])[:150], flush=True)
    RESULTS.write_text(json.dumps(dated() | rows, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
