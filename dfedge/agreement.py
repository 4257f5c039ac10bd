"""What several statements of a bundle say of one thing must be one thing.

The manifest's hashes keep accidents out.  A stranger writes hashes that fit; so every pair of
fields that tell of the same size, and every file whose shape a field tells, are compared before
anything is run.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dfedge.errors import DfedgeError
from dfedge.integrity import signature
from dfedge.manifest import (
    AGAIN,
    GOLDEN,
    KNOWN,
    MANIFEST,
    STATE,
    TRUNK,
    FormatRecord,
    Manifest,
)
from dfedge.names import MOST_LETTERS, class_flaw
from dfedge.plan import MAX_UPDATE_SHIFT
from dfedge.runtimes import find, formats
from dfedge.sound import plan_flaws, state_layout
from dfedge.state import SHIFTS, digest

Arrays = Mapping[str, NDArray[Any]]
Flaw = tuple[str, str]
"""A field of the manifest, or a file, and what is wrong with it."""

INPUT_EXPONENT = 7
"""A byte of an image stands for its value / 2^7."""


def check_manifest(manifest: Manifest, path: Path) -> None:
    """Compare the manifest's fields.

    Raises:
        DfedgeError: the first that does not agree with the others.
    """
    _refuse_first(manifest_flaws(manifest), path)


def check_files(
    manifest: Manifest, state: Arrays, golden: Arrays, known: Arrays, path: Path
) -> None:
    """Compare what the files hold with the manifest.

    Raises:
        DfedgeError: the first that does not agree.
    """
    _refuse_first(file_flaws(manifest, state, golden, known), path)


def _refuse_first(flaws: Iterator[Flaw], path: Path) -> None:
    for field, why in flaws:
        raise DfedgeError(f"{path}: invalid value of its field {field}: {why}; {AGAIN}")


def manifest_flaws(manifest: Manifest) -> Iterator[Flaw]:
    """One after the other; a later one is right only without those before."""
    plan, files = manifest.plan, manifest.files
    yield from (("plan", flaw) for flaw in plan_flaws(plan))
    if not {STATE, GOLDEN} <= files.keys():
        yield "files", f"{STATE} or {GOLDEN} is missing"
    if MANIFEST in files or signature.SIGNATURE in files:
        yield "files", f"{MANIFEST} or {signature.SIGNATURE} is one of them"
    if (plan.trunk is not None) != (TRUNK in files):
        yield "files", f"{TRUNK} belongs to a plan with a trunk"
    if manifest.input.shape != plan.input_shape:
        yield "input", f"it makes {manifest.input.shape}, the plan takes {plan.input_shape}"
    if manifest.input_exponent != INPUT_EXPONENT:
        yield "input_exponent", f"it is {manifest.input_exponent}, inputs have {INPUT_EXPONENT}"
    yield from _class_flaws(manifest)
    yield from _method_flaws(manifest)
    if manifest.state_names != list(state_layout(plan)):
        yield "state_names", "they are not the plan's"
    if manifest.exponents and [
        (len(e.weights), len(e.activations)) for e in manifest.exponents
    ] != [(len(layer.convs), len(layer.convs)) for layer in plan.layers]:
        yield "exponents", "they are not one of each for every convolution of the plan"
    for name, one in manifest.formats.items():
        yield from (("formats", f"{name}: {flaw}") for flaw in _format_flaws(name, one, manifest))
    yield from _learning_flaws(manifest)
    if manifest.normal is not None and plan.form != "one-pass":
        yield "normal", f"the {plan.form} form has no anchors to measure a distance to"


def _class_flaws(manifest: Manifest) -> Iterator[Flaw]:
    classes, rows = manifest.classes, manifest.plan.classes
    if not 1 <= len(classes) <= rows:
        yield "classes", f"there are {len(classes)}, the plan has {rows} rows"
    flaw = class_flaw(classes)
    if flaw is not None:
        yield "classes", flaw


def _method_flaws(manifest: Manifest) -> Iterator[Flaw]:
    plan, methods = manifest.plan, manifest.methods
    wanted = {"train", "infer"}
    wanted |= {"features"} if plan.form == "one-pass" else set()
    wanted |= {"train_from"} if plan.frozen else set()
    if {method.kind for method in methods} != wanted:
        yield "methods", f"the plan has {', '.join(sorted(wanted))}"
    if len({method.name for method in methods}) != len(methods):
        yield "methods", "two of them have one name"
    if any(method.name != f"{method.kind}_b{method.batch}" for method in methods):
        yield "methods", "a name is not that of its kind and batch"
    if len({tuple(manifest.batches(kind)) for kind in wanted}) != 1:
        yield "methods", "not every kind has the same batches"


def _format_flaws(name: str, one: FormatRecord, manifest: Manifest) -> Iterator[str]:
    names = {method.name for method in manifest.methods}
    runtime = find(name)
    if runtime is None or not runtime.writer:
        yield f"unknown; known: {', '.join(formats())}"
        return
    if not names <= one.files.keys() or not names <= one.memory.keys():
        yield "a method has no file or no memory plan"
    if runtime.one_file and len(set(one.files.values())) != 1:
        yield "its methods are in several files"
    for method, file in one.files.items():
        if not file.startswith(f"{name}/") or not runtime.holds(method, file[len(name) + 1 :]):
            yield f"{method} is not in {file[:MOST_LETTERS]}"
        if file not in manifest.files:
            yield f"{file[:MOST_LETTERS]} is not one of the bundle's files"


def _learning_flaws(manifest: Manifest) -> Iterator[Flaw]:
    learning, layers = manifest.learning, len(manifest.plan.layers)
    if not learning.tried:
        return
    wanted = layers if learning.learns == "nothing" else manifest.plan.cut
    if learning.frozen != wanted:
        yield "learning", f"{learning.frozen} layers are frozen, the plan has {wanted}"


def file_flaws(manifest: Manifest, state: Arrays, golden: Arrays, known: Arrays) -> Iterator[Flaw]:
    """One after the other; a later one is right only without those before."""
    plan = manifest.plan
    yield from _shape_flaws(STATE, state, state_layout(plan))
    if digest(state) != manifest.state_sha256:
        yield "state_sha256", f"{STATE} has another digest"
    yield from _golden_flaws(golden, manifest)
    if known:
        yield from _known_flaws(known, manifest)


def _known_flaws(known: Arrays, manifest: Manifest) -> Iterator[Flaw]:
    plan = manifest.plan
    rates = [name for name in SHIFTS if name in known]  # none in a bundle of an older dfedge
    wanted = {name: kind for name, kind in state_layout(plan).items() if name in rates}
    for part in ("replay", "judge"):
        x = known.get(f"{part}.x")
        count = len(x) if x is not None and x.ndim else 0
        if not count:
            yield KNOWN, f"it holds no sample to {part}"
        wanted[f"{part}.x"] = ("int8", (count, *plan.input_shape))
        wanted[f"{part}.y"] = ("int32", (count,))
    yield from _shape_flaws(KNOWN, known, wanted)
    for part in ("replay", "judge"):
        classes = len(manifest.classes)
        yield from _sample_flaws(KNOWN, known[f"{part}.x"], known[f"{part}.y"], classes)
    for name in rates:
        if not 0 <= known[name].min() <= known[name].max() <= MAX_UPDATE_SHIFT:
            yield KNOWN, f"a value of {name} is not within 0 to {MAX_UPDATE_SHIFT}"


def _golden_flaws(golden: Arrays, manifest: Manifest) -> Iterator[Flaw]:
    plan, batch = manifest.plan, max(manifest.batches("infer"))
    x = golden.get("x")
    steps = len(x) if x is not None and x.ndim else 0
    if not steps:
        yield GOLDEN, "it holds no batch"
        return
    tensors = len(manifest.state_names)
    yield from _shape_flaws(GOLDEN, golden, {
        "x": ("int8", (steps, batch, *plan.input_shape)),
        "y": ("int32", (steps, batch)),
        "scores": ("int32", (steps, batch, plan.classes)),
        "infer": ("int32", (batch, plan.classes)),
        "digests": ("uint8", (steps, tensors, 32)),
    })  # fmt: skip
    yield from _sample_flaws(GOLDEN, golden["x"], golden["y"], plan.classes)


def _shape_flaws(
    file: str, found: Arrays, wanted: Mapping[str, tuple[str, tuple[int, ...]]]
) -> Iterator[Flaw]:
    for name in sorted(found.keys() ^ wanted.keys()):
        yield file, f"tensor '{name[:MOST_LETTERS]}' is missing or not the plan's"
    for name, (dtype, shape) in wanted.items():
        value = found[name]
        if str(value.dtype) != dtype or value.shape != shape:
            yield (
                file,
                (
                    f"tensor '{name}' is {value.dtype} {list(value.shape)}, the plan's is {dtype} "
                    f"{list(shape)}"
                ),
            )


def _sample_flaws(file: str, x: NDArray[Any], y: NDArray[Any], classes: int) -> Iterator[Flaw]:
    if x.size and x.min() < 0:
        yield file, f"a value of an image is {x.min()}; allowed: 0 to 127"
    if y.size and not 0 <= y.min() <= y.max() < classes:
        yield file, f"labels reach from {y.min()} to {y.max()}; allowed: 0 to {classes - 1}"
