"""Nets that end in a division by the length, or compare directions: what is left out, and said."""

from pathlib import Path

import directed_nets
import pytest
import torch
from directed_nets import SPELLINGS
from test_adopt import weights  # noqa: F401
from torch import nn

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.adoption.fold import fold
from dfedge.adoption.load import load_graph
from dfedge.errors import DfedgeError
from dfedge.quiet import quiet

SHAPE = (8, 8, 1)
SAID = "division by the length at "


def written(net: nn.Module, suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As a function, a ``.pt2``, or an ONNX file of one of torch's exporters."""
    x = torch.rand(3, 1, 8, 8)
    if not suffix:
        monkeypatch.setattr(directed_nets, "given", lambda: net, raising=False)
        return "directed_nets:given"
    file = folder / f"net.{suffix.rpartition('.')[2]}"
    if suffix == ".pt2":
        torch.export.save(torch.export.export(net, (x,)), file)
    else:
        with quiet():
            torch.onnx.export(net, (x,), str(file), dynamo="dynamo" in suffix, verbose=False)
    return str(file)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["", ".pt2", ".onnx", "dynamo.onnx"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_direction_is_left_out(
    spelling: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = directed_nets.embedding(spelling), torch.rand(5, 1, 8, 8)
    graph = fold(load_graph(written(net, suffix, tmp_path, monkeypatch), SHAPE))
    assert [one.startswith(SAID) for one in graph.left_out] == [True]
    with torch.no_grad():
        wanted = net.body(x)
    assert torch.allclose(graph.result(x).flatten(1), wanted, atol=1e-4)


@pytest.mark.parametrize("spelling", ["LpNormalization", "ReduceL2", "ReduceSumSquare", "Pow"])
def test_every_spelling_of_onnx_is_left_out(spelling: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(directed_nets.onnx_model(spelling))
    graph = load_graph(str(tmp_path / "net.onnx"), (1, 1, 4))
    assert [one.startswith(SAID) for one in graph.left_out] == [True]
    x = torch.rand(3, 4, 1, 1)
    assert torch.equal(graph.result(x), x)


@pytest.mark.parametrize("suffix", ["", ".pt2", ".onnx", "dynamo.onnx"])
@pytest.mark.parametrize("name", ["normalize", "linalg_norm"])
def test_cosines_keep_their_order(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = directed_nets.cosine(name), torch.rand(9, 1, 8, 8)
    graph = fold(load_graph(written(net, suffix, tmp_path, monkeypatch), SHAPE))
    assert len(graph.left_out) == 1
    with torch.no_grad():
        wanted = net(x)
        length = net.embedding.body(x).norm(dim=1, keepdim=True)
    assert torch.allclose(graph.result(x).flatten(1), wanted * length, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", ["", ".pt2"])
def test_torchs_cosine_similarity_keeps_its_order(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ONNX it is written out, a map of products: that is refused."""
    net, x = directed_nets.similar(), torch.rand(9, 1, 8, 8)
    graph = fold(load_graph(written(net, suffix, tmp_path, monkeypatch), SHAPE))
    assert [one.startswith(SAID) for one in graph.left_out] == [True]
    with torch.no_grad():
        order = net(x).argsort(1)
    assert torch.equal(graph.result(x).flatten(1).argsort(1), order)


@pytest.mark.parametrize("suffix", ["", ".pt2", ".onnx"])
def test_a_cosine_head_is_within_two_points_in_int8(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = written(directed_nets.cosine(), suffix, tmp_path, monkeypatch)
    found = adopt(AdoptOptions(model, "digits"), tmp_path / "run")
    assert found.float_accuracy > 0.95
    assert found.accuracy >= found.float_accuracy - 0.02
    assert [one.startswith(SAID) for one in found.left_out] == [True]


@pytest.mark.parametrize("suffix", ["", ".pt2", ".onnx"])
def test_an_embedding_gets_a_new_head(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = written(directed_nets.embedding(), suffix, tmp_path, monkeypatch)
    found = adopt(AdoptOptions(model, "digits", head="new"), tmp_path / "run")
    assert found.float_accuracy > 0.95
    assert found.accuracy >= found.float_accuracy - 0.02
    assert [one.startswith(SAID) for one in found.left_out] == [True]


def test_the_check_knows_an_embedding(
    dfedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = written(directed_nets.embedding(), ".pt2", tmp_path, monkeypatch)
    found = dfedge("adopt", model, "--check")
    assert found.code == 0, found.err
    assert "24 features of an embedding" in found.out
    assert "--head new" in found.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("middle", "nothing after it but what is linear, without a bias"),
        ("biased", "nothing after it but what is linear, without a bias"),
        ("over_map", "of a map"),
    ],
)
def test_a_length_in_the_middle_is_refused(name: str, said: str) -> None:
    with pytest.raises(DfedgeError, match=said) as refused:
        load_graph(f"directed_nets:{name}", SHAPE)
    assert "\n" not in str(refused.value)
