"""Functions of one value that an ONNX file or a ``.pt2`` names, each one record.

Of torch's own, an operation that torch marks as one that works number by number is known without a
record.  Here are the two that it does not mark, ONNX's, and those of other domains and libraries;
an installed package adds one by an entry point:

    [project.entry-points."dfedge.activations"]
    "mylib.Soften" = "mylib.dfedge:SOFTEN"

A function that is written out, of several operations that work number by number, needs no record
(`dfedge.adoption.functions`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfedge.plugins import Records

GROUP = "dfedge.activations"


@dataclass(frozen=True)
class Activation:
    """One function; its name in the table is ONNX's operator, or torch's operation.

    Attributes:
        function: (x, **attributes) -> y, float of any shape, number by number.
        attributes: that the operator has, with what they are where the file says nothing.
    """

    function: Callable[..., Tensor]
    attributes: dict[str, Any] = field(default_factory=dict)


def _gelu(x: Tensor, approximate: bytes) -> Tensor:
    return F.gelu(x, approximate=approximate.decode())


def _selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    return gamma * (x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1))


def _shrink(x: Tensor, bias: float, lambd: float) -> Tensor:
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0.0))


def _swish(x: Tensor, alpha: float) -> Tensor:
    return x * torch.sigmoid(alpha * x)


OWN: dict[str, Activation] = {
    "Abs": Activation(torch.abs),
    "Ceil": Activation(torch.ceil),
    "Celu": Activation(F.celu, {"alpha": 1.0}),
    "Cos": Activation(torch.cos),
    "Elu": Activation(F.elu, {"alpha": 1.0}),
    "Erf": Activation(torch.erf),
    "Exp": Activation(torch.exp),
    "Floor": Activation(torch.floor),
    "Gelu": Activation(_gelu, {"approximate": b"none"}),
    "HardSwish": Activation(F.hardswish),
    "LeakyRelu": Activation(lambda x, alpha: F.leaky_relu(x, alpha), {"alpha": 0.01}),
    "Log": Activation(torch.log),
    "Mish": Activation(F.mish),
    "Neg": Activation(torch.neg),
    "Not": Activation(lambda x: 1 - x),
    "Reciprocal": Activation(torch.reciprocal),
    "Round": Activation(torch.round),
    "Selu": Activation(_selu, {"alpha": 1.67326319, "gamma": 1.05070102}),
    "Shrink": Activation(_shrink, {"bias": 0.0, "lambd": 0.5}),
    "Sigmoid": Activation(torch.sigmoid),
    "Sign": Activation(torch.sign),
    "Sin": Activation(torch.sin),
    "Softplus": Activation(lambda x: F.softplus(x, threshold=80.0)),
    "Softsign": Activation(F.softsign),
    "Sqrt": Activation(torch.sqrt),
    "Swish": Activation(_swish, {"alpha": 1.0}),
    "log_sigmoid": Activation(F.logsigmoid),
    "hardswish": Activation(F.hardswish),
    "Tanh": Activation(torch.tanh),
    "ThresholdedRelu": Activation(lambda x, alpha: x * (x > alpha), {"alpha": 1.0}),
    "com.microsoft.Gelu": Activation(F.gelu),
    "com.microsoft.QuickGelu": Activation(_swish, {"alpha": 1.702}),
}

find = Records(OWN, GROUP, Activation).find
