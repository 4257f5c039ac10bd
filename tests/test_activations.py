"""Any function of one value: named, written out, or added by a package; one table each."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from outside import install, together
from torch import Tensor, nn

from dfedge.adoption.activations import GROUP, OWN
from dfedge.adoption.fold import fold
from dfedge.adoption.graph import ForeignGraph
from dfedge.adoption.quantise import Quantiser
from dfedge.adoption.read import read
from dfedge.adoption.read_onnx import read_onnx
from dfedge.errors import DfedgeError
from dfedge.learn.recipe import Recipe

RECIPE = Recipe("test", 8, "mse", "mse", 99.9)
IN_TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu, "gelu": F.gelu, "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "mish": F.mish, "elu": F.elu, "selu": F.selu, "celu": lambda x: F.celu(x, 0.7),
    "leaky": lambda x: F.leaky_relu(x, 0.2), "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "softplus": F.softplus, "softsign": F.softsign, "log sigmoid": F.logsigmoid,
    "hard swish": F.hardswish, "hard tanh": F.hardtanh, "tanh shrink": F.tanhshrink,
    "soft shrink": F.softshrink, "square": torch.square, "root": lambda x: (x.abs() + 1).sqrt(),
    "power": lambda x: x**3, "threshold": lambda x: F.threshold(x, 0.3, -0.1),
    "one slope": lambda x: F.prelu(x, torch.tensor([0.3])),
    "silu, written out": lambda x: x * torch.sigmoid(x),
    "silu, as a quotient": lambda x: x / (1 + torch.exp(-x)),
    "gelu, written out": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu, by its polynomial": lambda x: (
        0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    ),
    "mish, written out": lambda x: x * torch.tanh(F.softplus(x)),
    "hard swish, written out": lambda x: x * F.relu6(x + 3) / 6,
    "squared relu": lambda x: F.relu(x) ** 2,
    "a difference": lambda x: torch.sigmoid(x) - torch.tanh(x),
}  # fmt: skip


class Net(nn.Module):
    """A convolution, a function, a mean and scores."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.fc, self.function = nn.Conv2d(1, 4, 3), nn.Linear(4, 10), function

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.function(3 * self.conv(x)).mean((2, 3)))


def images(count: int = 8) -> Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(0))


def graph_of(net: nn.Module) -> ForeignGraph:
    program = torch.export.export(net.eval(), (images(2),), strict=False)
    return fold(read(program))


def one_table(graph: ForeignGraph) -> None:
    """The function, and nothing else that was not there before, is one table; each entry right."""
    x = (images() * 128).floor().to(torch.int8).permute(0, 2, 3, 1)
    until = next(i for i, node in enumerate(graph.nodes) if node.op in ("function", "clip"))
    quantiser = Quantiser(graph, RECIPE)
    trunk = quantiser.trunk(x, until, lambda *_: None)
    assert [type(one).__name__ for one in trunk.operations] == ["Convolution", "Lookup"]
    given, own = quantiser.ranges[until - 1], quantiser.ranges[until]
    for level, found in enumerate(quantiser.constants["1.table"].tolist()):
        real = torch.tensor([(level - given.zero) / given.scale], dtype=torch.float64)
        wanted = float(graph.nodes[until].run([real])) * own.scale + own.zero
        assert abs(found - min(max(wanted, 0), 127)) <= 0.5 + 1e-6


@pytest.mark.parametrize("name", IN_TORCH)
def test_a_function_of_one_value_is_one_table(name: str) -> None:
    net = Net(IN_TORCH[name])
    graph = graph_of(net)
    with torch.no_grad():
        assert torch.allclose(graph.result(images()).flatten(1), net(images()), atol=1e-5)
    assert [node.op for node in graph.nodes][:2] == ["input", "conv"]
    if name not in ("hard tanh",):  # a bound of the convolution itself
        assert [node.op for node in graph.nodes] == ["input", "conv", "function", "mean", "conv"]
        one_table(graph)


@pytest.mark.parametrize("slopes", [[0.3, -0.2, 1.5, 0.0]])
def test_a_slope_for_each_channel_is_a_sum(slopes: list[float]) -> None:
    net = Net(lambda x: F.prelu(x, torch.tensor(slopes)))
    with torch.no_grad():
        assert torch.allclose(graph_of(net).result(images()).flatten(1), net(images()), atol=1e-5)


def test_an_order_that_the_mean_does_not_see_is_no_operation() -> None:
    net = Net(lambda x: torch.flip(x, (2,)))
    graph = graph_of(net)
    assert [node.op for node in graph.nodes] == ["input", "conv", "mean", "conv"]
    with torch.no_grad():
        assert torch.allclose(graph.result(images()).flatten(1), net(images()), atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.softmax(x, 1),
        lambda x: torch.cumsum(x, 2),
        lambda x: x + torch.rand_like(x),
        lambda x: F.normalize(x),
        lambda x: torch.log_softmax(x, 1),
        lambda x: torch.where(x > 0, x, x.mean()),
    ],
)  # fmt: skip
def test_what_looks_at_more_than_one_value_is_refused(function: Callable) -> None:
    with pytest.raises(DfedgeError, match=r"operation '.*' at node '.*cannot be adopted"):
        graph_of(Net(function))


def test_two_values_are_no_function_of_one() -> None:
    class Gated(Net):
        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            return self.fc((a * torch.sigmoid(2 * self.conv(x) + a)).mean((2, 3)))

    graph = graph_of(Gated(torch.tanh))
    assert "mul" in [node.op for node in graph.nodes]


def test_values_that_are_not_finite_are_refused_by_name() -> None:
    graph = graph_of(Net(torch.log))
    x = (images() * 128).to(torch.int8).permute(0, 2, 3, 1)
    with pytest.raises(DfedgeError, match="operation 'log' gives values that are not finite"):
        Quantiser(graph, RECIPE).trunk(x, 2, lambda *_: None)


# -- ONNX ----------------------------------------------------------------------------------------

OPSETS = {"Gelu": 20, "Mish": 18, "HardSwish": 18, "Swish": 24}
GIVEN = {
    "Celu": {"alpha": 0.6}, "Elu": {"alpha": 0.6}, "Gelu": {"approximate": "tanh"},
    "LeakyRelu": {"alpha": 0.3}, "Selu": {"alpha": 1.2, "gamma": 0.9},
    "Shrink": {"bias": 0.1, "lambd": 0.2}, "ThresholdedRelu": {"alpha": 0.2},
    "com.microsoft.QuickGelu": {"alpha": 1.3},
}  # fmt: skip


def model(name: str, **attributes: object) -> bytes:
    domain, _, operator = name.rpartition(".")
    rng = np.random.default_rng(2)
    held = {"w": rng.normal(size=(4, 1, 3, 3)), "last": rng.normal(size=(4, 10))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node(operator, ["h"], ["y"], "act", domain=domain, **attributes),
        helper.make_node("GlobalAveragePool", ["y"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "last"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["b", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["b", 10])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in held.items()],
    )
    opsets = [helper.make_opsetid("", OPSETS.get(name, 18))]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


OPERATORS = [name for name in OWN if (name[0].isupper() or "." in name) and name != "Not"]
"""Not takes no numbers: test_adopt_operations.py has it after comparisons."""


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("attributes", ["defaults", "given"])
def test_an_operator_computes_what_onnxruntime_does(name: str, attributes: str) -> None:
    content = model(name, **(GIVEN.get(name, {}) if attributes == "given" else {}))
    graph = fold(read_onnx(onnx.load_model_from_string(content)))
    assert [node.op for node in graph.nodes] == ["input", "conv", "function", "mean", "conv"]
    x = images()
    if name == "Sqrt":
        x = -x  # nothing but numbers that have one, or none at all
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:
        assert "Swish" in name, error  # newer than this onnxruntime
        return
    (wanted,) = session.run(None, {"x": x.numpy()})
    found = graph.result(x).flatten(1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


# -- added by a package --------------------------------------------------------------------------

OUTSIDE = '''"""A package that dfedge does not know: a function, for torch and for ONNX."""

import torch
from torch import Tensor, nn

from dfedge.adoption.activations import Activation


@torch.library.custom_op("outside::soften", mutates_args=())
def soften(x: Tensor, by: float) -> Tensor:
    return x / (1 + by * x * x).sqrt()


@soften.register_fake
def _(x, by):
    return torch.empty_like(x)


RECORD = Activation(lambda x, by: x / (1 + by * x * x).sqrt(), {"by": 2.0})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.fc = nn.Conv2d(1, 8, 3), nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(torch.ops.outside.soften(self.conv(x), 2.0).mean((2, 3)))


def net():
    return Net().eval()
'''


@pytest.mark.slow
@pytest.mark.parametrize("model_of", ["torch", "pt2", "onnx"])
def test_a_package_adds_an_activation_in_one_file_and_one_line(
    model_of: str, tmp_path: Path
) -> None:
    env = install(tmp_path, OUTSIDE, GROUP, "outside:RECORD", "outside.soften")
    path = tmp_path / f"net.{model_of}"
    given: object = path
    if model_of == "torch":
        given = "outside:net"
    elif model_of == "onnx":
        path.write_bytes(model("outside.soften", by=1.5))
    else:
        code = (
            "import outside, torch; from torch.export import export, save; "
            f"save(export(outside.net(), (torch.zeros(2, 1, 8, 8),), strict=False), {str(path)!r})"
        )
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    run, out = tmp_path / "run", tmp_path / "bundle"
    # formats are made from the plan, which is the same of all three, and see a lookup alone
    names = ("onnx", "c") if model_of == "torch" else ("c",)
    made = together(
        env,
        ("adopt", given, "--data", "digits", "--learn", "head", "--out", run),
        ("export", run, "--out", out, "--no-trial", "--batch", 2,
         *(f"--format={name}" for name in names)),
        ("verify", out, "--json"),
    )  # fmt: skip
    for done in made:
        assert done.returncode == 0, done.stderr
    plan = json.loads((out / "manifest.json").read_text())["plan"]
    assert [one["operation"] for one in plan["trunk"]["operations"]] == [
        "convolution", "lookup", "average_pool",
    ]  # fmt: skip
    assert json.loads(made[-1].stdout)["identical"]


def test_without_the_package_its_function_is_refused_by_name() -> None:
    with pytest.raises(DfedgeError, match=r"operation 'outside\.soften' at node 'act'"):
        read_onnx(onnx.load_model_from_string(model("outside.soften")))
