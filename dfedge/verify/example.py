"""Small, good descriptions: where fuzzing of their readers starts."""

from dfedge.bundle import (
    BLANK,
    GOLDEN,
    SEMANTICS_VERSION,
    STATE,
    VERSION,
    Exponents,
    FileRecord,
    FormatRecord,
    Manifest,
    MemoryPlan,
    MethodRecord,
)
from dfedge.data.image import ImageRule
from dfedge.int8.scales import LayerScales, Scales
from dfedge.learn.recipe import Recipe
from dfedge.learn.run import Calibration, RunPlan
from dfedge.learn.spec import Block, NetSpec
from dfedge.plan import Conv, Layer, Plan

IMAGE = ImageRule(8, 8, 1)
CLASSES = ("a", "b")


def manifest() -> Manifest:
    """Of a bundle of one layer."""
    layer = Layer((Conv(8, 8, 1, 4, (3, 3), pads=(1, 1, 1, 1)),), pool=True, cells=2)
    files = {name: FileRecord(3, "ab" * 32) for name in (STATE, GOLDEN, "onnx/infer_b1.onnx")}
    format = FormatRecord(
        {"infer_b1": "onnx/infer_b1.onnx"}, {"onnx": "1"}, {"infer_b1": MemoryPlan(1, 2)}, "us", 1
    )
    return Manifest(
        version=VERSION,
        semantics_version=SEMANTICS_VERSION,
        dfedge_version="0",
        net="tiny",
        rule="df",
        data="digits",
        classes=CLASSES,
        image=IMAGE,
        input_exponent=7,
        plan=Plan((layer,), 2),
        exponents=[Exponents([7], [4])],
        methods=[MethodRecord("infer_b1", "infer", 1)],
        state_names=["layer0.conv0.weight"],
        formats={"onnx": format},
        state_sha256="cd" * 32,
        golden_sha256="ef" * 32,
        test_accuracy=0.5,
        recipe="minmax",
        target="host",
        files=files,
        digest=BLANK,
    )


def run() -> RunPlan:
    """Of a run of one layer."""
    net = NetSpec([Block(4)])
    return RunPlan(
        data="digits",
        data_dir=None,
        classes=CLASSES,
        image=IMAGE,
        net_name="tiny",
        net=net,
        rule="df",
        form="one-pass",
        settings=net.train,
        qat=True,
        seed=0,
    )


def calibration() -> Calibration:
    """Of that run."""
    recipe = Recipe("an example", "minmax", "minmax")
    return Calibration("minmax", recipe, (LayerScales((Scales(7, 4),), 4),))
