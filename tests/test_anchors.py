"""Anchors set to class means on the device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dfedge.bundle import Bundle
from dfedge.compile.step import features
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.sources import load
from dfedge.device.anchors import set_anchors
from dfedge.device.session import Session
from dfedge.native.rendering import exactly
from dfedge.runtimes import formats


def turned() -> Split:
    stream = load("digits").splits["stream"]
    return Split(np.rot90(stream.x, axes=(1, 2)).copy(), stream.y)


@pytest.mark.parametrize("runtime", formats())
def test_anchors_are_the_rounded_class_means_of_what_each_layer_sees(
    runtime: str, bundle: Bundle, tmp_path: Path
) -> None:
    session, data = Session.open(bundle, exactly(runtime), tmp_path), turned()
    set_anchors(session, data)
    found, plan = session.runner.get_state(), bundle.manifest.plan
    initial = {name: torch.from_numpy(v.copy()) for name, v in bundle.initial_state().items()}
    seen = features(plan, initial, torch.from_numpy(to_input(data.x)))[:-1]
    for i, p in enumerate(seen):
        for k in range(10):
            mean = p[torch.from_numpy(data.y == k)].double().mean(0)
            wanted = torch.floor(mean + 0.5).to(torch.int8).numpy()
            assert np.array_equal(found[f"layer{i}.anchors"][k], wanted)
    for name, value in bundle.initial_state().items():
        if not name.endswith("anchors"):
            assert np.array_equal(found[name], value), name


def test_class_without_samples_keeps_its_anchors(bundle: Bundle, tmp_path: Path) -> None:
    session, data = Session.open(bundle, "onnx", tmp_path), turned()
    without = data.take(np.flatnonzero(data.y != 3))
    set_anchors(session, without)
    found, initial = session.runner.get_state(), bundle.initial_state()
    for i in range(3):
        name = f"layer{i}.anchors"
        assert np.array_equal(found[name][3], initial[name][3])
        assert not np.array_equal(found[name][4], initial[name][4])
