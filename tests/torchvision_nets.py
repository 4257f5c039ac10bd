"""torchvision's nets as they are, with random weights, for tests of `dfedge adopt`."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

SIDE, CLASSES = 32, 10
SCRIPT = Path(__file__).parent.parent / "examples/experiments/adopt_torchvision.py"


def net(name: str) -> nn.Module:
    """Normalisations are set to what they see of noise: a net has ranges like a trained one's."""
    spec = importlib.util.spec_from_file_location("adopt_torchvision", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    more = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    made = script.fresh(name, **more)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    x = torch.rand(32, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.train()(x)
    return made.eval()


def mobilenet_v3_small() -> nn.Module:
    return net("mobilenet_v3_small")
