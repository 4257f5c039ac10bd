"""Whose classes a net's scores are: matched by name or number, rows kept, a new last layer."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_adopt import weights  # noqa: F401
from torch import Tensor

from dfedge.adoption.adopt import Adopted, AdoptOptions, adopt
from dfedge.adoption.fold import fold
from dfedge.adoption.head import headed
from dfedge.adoption.head_fit import RIDGES, fit_head
from dfedge.adoption.layers import Tried, best, class_means
from dfedge.adoption.load import load_graph
from dfedge.data.sources import load
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.exporters.write import ExportOptions, export
from dfedge.runtimes import NATIVE


def file_of(place: Path, keep: np.ndarray, name: str = "x.npz", **more: object) -> str:
    split = load("digits").cut(0).splits["train"]
    chosen = np.flatnonzero(keep[split.y])
    np.savez(place / name, x=split.x[chosen], y=split.y[chosen], **more)
    return str(place / name)


def folder_of(place: Path, names: dict[str, int], each: int = 60) -> str:
    split = load("digits").cut(0).splits["train"]
    for name, label in names.items():
        (place / name).mkdir(parents=True)
        for i, one in enumerate(split.x[split.y == label][:each]):
            Image.fromarray(one[..., 0]).save(place / name / f"{i:03}.png")
    return str(place)


def recalls(found: Adopted, place: Path) -> dict[str, float]:
    """On the digits' own test split, of the program."""
    bundle = export(found.run, ExportOptions(("c",)), place / "bundle")
    session = Session.open(bundle, NATIVE, place / "state")
    test = load("digits").cut(0).splits["test"]
    return evaluate(session, test).per_class


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [3, 5, 9])
def test_no_class_loses_by_data_that_lack_it(lacking: int, tmp_path: Path) -> None:
    """In the middle, and at the end, where the data even have fewer classes than the net."""
    whole = recalls(adopt(AdoptOptions("foreign_nets:small", "digits"), tmp_path / "a"), tmp_path)
    data = file_of(tmp_path, np.arange(10) != lacking)
    found = adopt(AdoptOptions("foreign_nets:small", data), tmp_path / "b")
    assert found.run.plan.classes == tuple("0123456789")
    (tmp_path / "two").mkdir()
    after = recalls(found, tmp_path / "two")
    assert after[str(lacking)] >= whole[str(lacking)] - 0.05
    assert min(after[name] - whole[name] for name in after) >= -0.08


def test_data_that_lack_classes_are_told_of(dfedge, tmp_path: Path) -> None:
    data = file_of(tmp_path, np.arange(10) < 8)
    found = dfedge("adopt", "foreign_nets:small", "--data", data, "--out", tmp_path / "run")
    assert found.code == 0, found.err
    assert "no training sample of 2 of 10 classes (8, 9): they keep the net's own" in found.err


def test_a_class_of_two_samples_is_judged_by_the_nets_own_scores(tmp_path: Path) -> None:
    split = load("digits").cut(0).splits["train"]
    few = np.concatenate([np.flatnonzero(split.y != 5), np.flatnonzero(split.y == 5)[:3]])
    np.savez(tmp_path / "rare.npz", x=split.x[few], y=split.y[few])
    found = adopt(AdoptOptions("foreign_nets:small", str(tmp_path / "rare.npz")), tmp_path / "run")
    assert len(found.counted) == 1
    assert recalls(found, tmp_path)["5"] > 0.85


def test_a_class_without_samples_lies_where_its_likes_do() -> None:
    torch.manual_seed(0)
    means = 40 * torch.rand(4, 16)
    y = torch.arange(4).repeat(50)
    p = (means[y] + torch.randn(200, 16)).clamp(min=0)
    scores = -torch.cdist(p, means)
    full = class_means(p, y, 4, scores)
    torch.testing.assert_close(full, torch.stack([p[y == k].mean(0) for k in range(4)]))
    there = y != 2
    made = class_means(p[there], y[there], 4, scores[there])
    torch.testing.assert_close(made[[0, 1, 3]], full[[0, 1, 3]])
    assert made.min() >= 0 and made[2].norm() > 0


# -- rows and names --------------------------------------------------------------------------------


def test_rows_are_kept_by_number_and_by_name(dfedge, tmp_path: Path) -> None:
    data = folder_of(tmp_path / "d", {"seven": 7, "three": 3})
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    by_number = adopt(AdoptOptions("foreign_nets:small", data, head="keep:7,3"), tmp_path / "a")
    by_name = adopt(
        AdoptOptions("foreign_nets:small", data, head="keep", classes=tmp_path / "names.txt"),
        tmp_path / "b",
    )
    assert by_number.run.plan.classes == by_name.run.plan.classes == ("seven", "three")
    assert by_number.float_accuracy == by_name.float_accuracy > 0.95
    whole = fold(load_graph("foreign_nets:small", (8, 8, 1)))
    x = torch.rand(5, 1, 8, 8)
    kept = headed(whole, "keep:7,3", (), ("seven", "three")).graph
    torch.testing.assert_close(kept.result(x), whole.result(x)[:, [7, 3]])


def test_named_scores_are_those_of_the_datas_classes_whatever_their_order(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "d", {"nine": 9, "one": 1, "two": 2})  # sorted: nine, one, two
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    found = adopt(
        AdoptOptions("foreign_nets:small", data, classes=tmp_path / "names.txt"), tmp_path / "run"
    )
    assert found.run.plan.classes == tuple(names)
    assert found.float_accuracy > 0.9 and found.accuracy > 0.9


@pytest.mark.parametrize("kind", ["a data set by its name", "a file"])
def test_names_decide_wherever_the_data_have_some(kind: str, tmp_path: Path) -> None:
    """The net's scores are named in another order than the data's classes."""
    names, data, model = [str(number) for number in range(10)], "digits", "foreign_nets:small"
    (tmp_path / "names.txt").write_text("\n".join(names))
    if kind == "a file":
        split = load("digits").cut(0).splits["train"]
        np.savez(tmp_path / "x.npz", x=split.x, y=9 - split.y, classes=names[::-1])
        data = str(tmp_path / "x.npz")
    else:
        model = "foreign_nets:ten_scores_among_others"
        (tmp_path / "names.txt").write_text("\n".join(["none", *names[::-1], "nothing"]))
    found = adopt(AdoptOptions(model, data, classes=tmp_path / "names.txt"), tmp_path / "run")
    assert found.float_accuracy > 0.9 and found.accuracy > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 1, "gives 10 scores, and the data have 2 classes; --classes FILE.*--head new"),
        (["--head", "keep"], 2, "no row 'seven'; allowed: numbers from 0 to 9, or names"),
        (["--head", "keep:1"], 2, r"1 rows, and the data have 2 classes \(seven, three\)"),
        (["--head", "keep:1,10"], 2, "no row '10'"),
        (["--head", "keep:1,1"], 2, "a row is listed twice"),
        (["--head", "other"], 2, "unknown --head 'other'; known: add, keep"),
        (["--classes", "short.txt"], 1, "names 2 scores, and the net gives 10"),
        (["--classes", "others.txt"], 1, "classes that --classes does not name: seven, three"),
        (["--classes", "twice.txt"], 1, "two of them are one name"),
        (["--classes", "none.txt"], 1, "none.txt"),
        (["--channels", "gbr"], 2, "unknown --channels 'gbr'; known: bgr, rgb"),
        (["--channels", "bgr", "--head", "new"], 2, "images of 1 channels, not of 3"),
    ],
)
def test_what_does_not_fit_gets_one_clear_error(
    options: list[str], code: int, said: str, dfedge, tmp_path: Path, monkeypatch
) -> None:
    data = folder_of(tmp_path / "d", {"seven": 7, "three": 3}, each=8)
    (tmp_path / "short.txt").write_text("seven\nthree")
    (tmp_path / "others.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    (tmp_path / "twice.txt").write_text("a\na")
    monkeypatch.chdir(tmp_path)
    found = dfedge("adopt", "foreign_nets:small", "--data", data, "--out", "run", *options)
    assert found.code == code, found.err
    assert re.search(said, found.err), found.err
    assert found.err.count("error:") == 1 and not Path("run").exists()


# -- a new last layer ------------------------------------------------------------------------------


def test_left_out_answers_are_those_of_a_fit_without_the_sample() -> None:
    torch.manual_seed(0)
    y = torch.arange(3).repeat(8)
    x = torch.randn(24, 5).double() + torch.nn.functional.one_hot(y, 5)
    found = fit_head(x, y, 3)
    assert found.accuracy == max(_by_hand(x, y, ridge) for ridge in (None, *RIDGES))


def _by_hand(x: Tensor, y: Tensor, ridge: float | None) -> float:
    right = 0
    size = float(torch.linalg.svdvals(x - x.mean(0)).square().mean())
    for i in range(len(x)):
        rest = torch.arange(len(x)) != i
        xs, ys = x[rest], torch.nn.functional.one_hot(y[rest], 3).double()
        if ridge is None:
            means = (ys.T @ xs) / ys.sum(0)[:, None]
            scores = -(x[i] - means).square().sum(1)
        else:
            # With a free constant, as the fit of all: sums of squares are those of the rest.
            a = torch.cat([xs, torch.ones(len(xs), 1).double()], 1)
            punished = ridge * size * torch.eye(6).double()
            punished[5, 5] = 0
            scores = torch.cat([x[i], torch.ones(1).double()]) @ torch.linalg.solve(
                a.T @ a + punished, a.T @ ys
            )
        right += int(scores.argmax() == y[i])
    return right / len(x)


@pytest.mark.parametrize("head", ["new", "add"])
def test_a_new_last_layer_fits_new_classes(head: str, tmp_path: Path) -> None:
    """Even and odd digits, with few samples of each."""
    split = load("digits").cut(0).splits["train"]
    first = np.arange(400)
    np.savez(tmp_path / "x.npz", x=split.x[first], y=split.y[first] % 2, classes=["even", "odd"])
    found = adopt(
        AdoptOptions("foreign_nets:small", str(tmp_path / "x.npz"), head=head), tmp_path / "run"
    )
    assert found.run.plan.classes == ("even", "odd")
    assert found.float_accuracy >= 0.9 and found.accuracy >= found.float_accuracy - 0.04


def test_features_count_where_the_last_layer_was_made_from_the_samples_that_judge() -> None:
    """It is right about each of them, whatever it says of others."""
    none = torch.empty(0)
    alone, both = Tried(1.0, (1,), True, none), Tried(0.9, (0, 1), True, none)
    means = Tried(0.8, (0, 1), False, none)
    assert best([both, alone, means], fitted=True) is both
    assert best([both, alone, means], fitted=False) is alone
    assert best([alone], fitted=True) is alone  # too few samples for means


def test_a_class_of_one_sample_makes_no_last_layer(dfedge, tmp_path: Path) -> None:
    split = load("digits").cut(0).splits["train"]
    few = np.concatenate([np.flatnonzero(split.y == 0), np.flatnonzero(split.y == 1)[:1]])
    np.savez(tmp_path / "x.npz", x=split.x[few], y=split.y[few])
    found = dfedge("adopt", "foreign_nets:small", "--data", tmp_path / "x.npz", "--head", "new",
                   "--out", tmp_path / "run")  # fmt: skip
    assert found.code == 1 and "class '1' has" in found.err and "needs 2 of each" in found.err


def test_a_split_of_nothing_is_read() -> None:
    from dfedge.data.inputs.image import ImageRule
    from dfedge.data.stored import StoredSamples

    none = StoredSamples(np.empty((0, 4, 4, 1), np.uint8), np.empty(0, np.int64), "x")
    assert none.read(ImageRule(8, 8, 3)).x.shape == (0, 8, 8, 3)
