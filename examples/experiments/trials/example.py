"""Small, good descriptions: where fuzzing of their readers starts."""

from dfedge.blocks import Block
from dfedge.data.inputs.image import ImageRule
from dfedge.int8.scales import LayerScales, Scales
from dfedge.learn.recipe import Recipe
from dfedge.learn.run import Calibration, RunPlan
from dfedge.learn.spec import NetSpec
from dfedge.manifest import (
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
from dfedge.plan import Conv, Layer, Plan
from dfedge.sound import state_layout

IMAGE = ImageRule(8, 8, 1)
CLASSES = ("a", "b")


def manifest() -> Manifest:
    """Of a bundle of one layer."""
    layer = Layer((Conv(8, 8, 1, 4, (3, 3), pads=(1, 1, 1, 1)),), pool=True, cells=2)
    plan = Plan((layer,), 2)
    methods = [MethodRecord(f"{kind}_b1", kind, 1) for kind in ("train", "infer", "features")]
    programs = {method.name: f"onnx/{method.name}.onnx" for method in methods}
    files = {name: FileRecord(3, "ab" * 32) for name in (STATE, GOLDEN, *programs.values())}
    memory = dict.fromkeys(programs, MemoryPlan(1, 2))
    return Manifest(
        version=VERSION,
        semantics_version=SEMANTICS_VERSION,
        dfedge_version="0",
        net="tiny",
        rule="df",
        data="digits",
        classes=CLASSES,
        input=IMAGE,
        input_exponent=7,
        plan=plan,
        exponents=[Exponents([7], [4])],
        methods=methods,
        state_names=list(state_layout(plan)),
        formats={"onnx": FormatRecord(programs, {"onnx": "1"}, memory, "us", 1)},
        state_sha256="cd" * 32,
        golden_sha256="ef" * 32,
        test_accuracy=0.5,
        recipe="minmax",
        target="host",
        files=files,
        lineage="ab" * 32,
        bundle_version=2,
        digest=BLANK,
    )


def run() -> RunPlan:
    """Of a run of one layer."""
    net = NetSpec([Block(4)])
    return RunPlan(
        data="digits",
        data_dir=None,
        classes=CLASSES,
        input=IMAGE,
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
