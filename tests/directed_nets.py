"""Foreign nets that compare directions, for tests: embeddings of length 1, and cosine heads."""

import foreign_nets
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

SPELLINGS = {
    "normalize": lambda x: F.normalize(x, p=2, dim=1),
    "norm": lambda x: x / x.norm(dim=1, keepdim=True),
    "linalg_norm": lambda x: x / torch.linalg.norm(x, dim=1, keepdim=True),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "old_norm": lambda x: x.div(torch.norm(x, 2, 1, True).expand_as(x)),
    "rsqrt": lambda x: x * torch.rsqrt((x * x).sum(1, keepdim=True) + 1e-10),
    "sqrt": lambda x: x / x.pow(2).sum(-1, keepdim=True).sqrt().clamp(min=1e-6),
    "maximum": lambda x: x / torch.maximum(x.norm(dim=1, keepdim=True), torch.tensor(1e-8)),
}


class Embedding(nn.Module):
    """A small net that ends in directions."""

    def __init__(self, spelling: str = "normalize") -> None:
        super().__init__()
        self.spelling = spelling
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 24),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return SPELLINGS[self.spelling](self.body(x))


class Cosine(nn.Module):
    """Cosines with a direction for each class, times a scale."""

    def __init__(self, spelling: str = "normalize") -> None:
        super().__init__()
        self.embedding = Embedding(spelling)
        self.directions = nn.Parameter(torch.randn(10, 24) * torch.rand(10, 1))

    def forward(self, x: Tensor) -> Tensor:
        found = self.embedding(x)
        if self.embedding.spelling == "linalg_norm":
            return 12 * (found @ F.normalize(self.directions).t())
        return F.linear(found, F.normalize(self.directions)) * 12


class Similar(Cosine):
    """The same by torch's one operation."""

    def forward(self, x: Tensor) -> Tensor:
        found = self.embedding.body(x).unsqueeze(1)
        return 12 * F.cosine_similarity(found, self.directions.unsqueeze(0), dim=-1)


class Middle(Embedding):
    """A ReLU follows the directions."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Biased(Embedding):
    """A linear layer with a bias follows."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(super().forward(x))


class OverMap(nn.Module):
    """Every position of a map is normalised."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.expand(-1, 3, -1, -1), dim=1).mean((2, 3))


def cosine(spelling: str = "normalize") -> Cosine:
    """A trained one."""
    net = foreign_nets._trained(Cosine)
    assert isinstance(net, Cosine)
    net.embedding.spelling = spelling
    return net


def embedding(spelling: str = "normalize") -> Embedding:
    """The trained one's."""
    return cosine(spelling).embedding


def similar() -> nn.Module:
    net = Similar().eval()
    net.load_state_dict(cosine().state_dict())
    return net


def middle() -> nn.Module:
    return Middle().eval()


def biased() -> nn.Module:
    return Biased().eval()


def over_map() -> nn.Module:
    return OverMap().eval()


def onnx_model(spelling: str) -> bytes:
    """``x -> x / |x|`` of [B, 4, 1, 1], as ONNX files spell it."""
    nodes = [helper.make_node("Flatten", ["image"], ["x"])]
    match spelling:
        case "LpNormalization":
            nodes.append(helper.make_node("LpNormalization", ["x"], ["y"], axis=1, p=2))
        case "ReduceL2":
            nodes += [
                helper.make_node("ReduceL2", ["x"], ["n"], axes=[1], keepdims=1),
                helper.make_node("Clip", ["n", "eps"], ["c"]),
                helper.make_node("Shape", ["x"], ["s"]),
                helper.make_node("Expand", ["c", "s"], ["e"]),
                helper.make_node("Div", ["x", "e"], ["y"]),
            ]
        case "ReduceSumSquare":
            nodes += [
                helper.make_node("ReduceSumSquare", ["x"], ["q"], axes=[1], keepdims=1),
                helper.make_node("Max", ["q", "eps"], ["c"]),
                helper.make_node("Sqrt", ["c"], ["n"]),
                helper.make_node("Reciprocal", ["n"], ["r"]),
                helper.make_node("Mul", ["r", "x"], ["y"]),
            ]
        case "Pow":
            nodes += [
                helper.make_node("Mul", ["x", "x"], ["q"]),
                helper.make_node("ReduceSum", ["q", "axis"], ["t"], keepdims=1),
                helper.make_node("Pow", ["t", "half"], ["n"]),
                helper.make_node("Div", ["x", "n"], ["y"]),
            ]
    numbers = {"eps": 1e-12, "half": 0.5}
    held = [
        numpy_helper.from_array(torch.tensor(value).numpy(), name)
        for name, value in numbers.items()
    ]
    held.append(numpy_helper.from_array(torch.tensor([1]).numpy(), "axis"))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "direction",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 4, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 4])],
        [one for one in held if one.name in used],
    )  # fmt: skip
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return model.SerializeToString()
