"""The writer of bundles: every format, its fit to the target, its golden batches, the manifest."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from dfedge import __version__
from dfedge.atomic import new_folder
from dfedge.bundle import Bundle, file_record, read_head
from dfedge.data.catalogue import Cut
from dfedge.data.inputs import InputRule
from dfedge.data.reading import AS_THEY_ARE, Reading
from dfedge.device.confidence import unsure_below
from dfedge.device.replay import check_golden
from dfedge.errors import DfedgeError, UsageError
from dfedge.exporters.budget import check_plans
from dfedge.exporters.formats import ExportSource, Written, load_writer
from dfedge.exporters.golden import Golden, to_arrays
from dfedge.int8.bounds import check_sizes
from dfedge.int8.scales import INPUT_EXPONENT
from dfedge.manifest import (
    GOLDEN,
    KNOWN,
    MANIFEST,
    MEMORY,
    SEMANTICS_VERSION,
    STATE,
    TRUNK,
    VERSION,
    Exponents,
    FileRecord,
    FormatRecord,
    Learning,
    Manifest,
    MethodRecord,
    Threshold,
    seal,
)
from dfedge.native.image import IMAGE_SUFFIX, Identity
from dfedge.progress import Progress
from dfedge.state import digest, to_bytes
from dfedge.target import Budget, check_flash


@dataclass(frozen=True)
class Origin:
    """Where a program comes from: what the manifest says beside the program itself.

    Attributes:
        learning: what the trial of learning found.
        known: samples that the bundle brings along, as `Bundle.known` gives them.
        lineage: of the run (`dfedge.learn.lineage`); empty where there is none.
        version: of the bundle; 0: none.
        cut, reading: how the data that the net was trained on were cut and read.
        temperature: as the manifest's.
        normal: what is still normal, where that was learned.
    """

    net: str
    rule: str
    data: str
    classes: tuple[str, ...]
    input: InputRule
    exponents: list[Exponents]
    test_accuracy: float
    recipe: str
    learning: Learning = field(default_factory=Learning)
    known: dict[str, NDArray[Any]] = field(default_factory=dict)
    lineage: str = ""
    version: int = 0
    cut: Cut | None = None
    reading: Reading = AS_THEY_ARE
    temperature: int = 0
    normal: Threshold | None = None


def check_place(out: Path, version: int = 0) -> None:
    """Refuse to replace what is not a bundle, or a bundle of a higher version.

    Raises:
        UsageError: a version that is lower than that of the bundle in ``out``.
        DfedgeError: ``out`` holds something else.
    """
    if not (out / MANIFEST).is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DfedgeError(f"{out} exists and is not a bundle; choose another --out")
        return
    try:
        last = read_head(out)[0].bundle_version
    except DfedgeError:  # damaged, and replaced
        return
    if version < last:
        raise UsageError(
            f"--version {version}: {out} holds version {last}; give {last + 1} or more, or choose "
            "another --out"
        )


def assemble(
    source: ExportSource,
    origin: Origin,
    golden: Golden,
    formats: tuple[str, ...],
    target: str,
    budget: Budget,
    out: Path,
    watch: Progress = lambda *_: None,
) -> Bundle:
    """Write a bundle; ``out`` appears whole, after every format gave the golden integers.

    Raises:
        UsageError: an unknown format, or a version lower than that of the bundle in ``out``.
        DfedgeError: sizes that the integer step cannot hold, a program that does not fit the budget
            or whose integers differ, an ``out`` that holds something else.
    """
    writers = {name: load_writer(name) for name in formats}
    check_place(out, origin.version)
    check_sizes(source.plan, max(method.batch for method in source.methods))
    identity = Identity(origin.lineage, origin.version, SEMANTICS_VERSION)
    source = replace(
        source, target=target, known=origin.known, identity=identity, input=origin.input.in_c(),
        normal=origin.normal, classes=origin.classes,
        unsure_below=unsure_below(origin.temperature),
    )  # fmt: skip
    with new_folder(out) as folder:
        written: dict[str, Written] = {}
        for name, write in writers.items():
            (folder / name).mkdir()
            written[name] = one = write(source, folder / name, watch)
            memory = {method: one.memory[method.name] for method in source.methods}
            check_plans(budget, name, source.plan, memory, one.footprints)
        arrays = to_arrays(source.state)
        (folder / STATE).write_bytes(to_bytes(arrays))
        (folder / GOLDEN).write_bytes(to_bytes(golden.arrays))
        if origin.known:
            (folder / KNOWN).write_bytes(to_bytes(origin.known))
        if source.plan.trunk is not None:
            (folder / TRUNK).write_bytes(to_bytes(to_arrays(source.constants)))
        footprints = {name: one.footprints for name, one in written.items()}
        (folder / MEMORY).write_bytes(msgspec.json.encode(footprints))
        files = {
            path.relative_to(folder).as_posix(): file_record(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = Manifest(
            version=VERSION,
            semantics_version=SEMANTICS_VERSION,
            dfedge_version=__version__,
            net=origin.net,
            rule=origin.rule,
            data=origin.data,
            cut=origin.cut,
            reading=origin.reading,
            temperature=origin.temperature,
            normal=origin.normal,
            classes=origin.classes,
            input=origin.input,
            input_exponent=INPUT_EXPONENT,
            plan=source.plan,
            exponents=origin.exponents,
            methods=[MethodRecord(m.name, m.kind, m.batch) for m in source.methods],
            state_names=list(source.state),
            formats={name: _record(name, one) for name, one in written.items()},
            state_sha256=digest(arrays),
            golden_sha256=golden.state_sha256,
            test_accuracy=origin.test_accuracy,
            recipe=origin.recipe,
            target=target,
            files=files,
            budget_bytes=budget.ram_bytes,
            learning=origin.learning,
            lineage=origin.lineage,
            bundle_version=origin.version,
        )
        for name in manifest.formats:
            check_flash(budget, name, _flash(name, files))
        _write_manifest(folder, manifest)
        _write_manifest(folder, _checked(Bundle.open_own(folder), manifest, watch))
    return Bundle.open_own(out)


def _record(format: str, written: Written) -> FormatRecord:
    files = {method: f"{format}/{name}" for method, name in written.files.items()}
    return FormatRecord(files, written.versions, written.memory, written.memory_source, 0)


def _flash(format: str, files: dict[str, FileRecord]) -> int:
    """Bytes that a device needs of the bundle for one format.

    Of C: the image, whose numbers net.c or net_data.S has as well, and the kernels, whose code is
    shorter than their text.
    """
    if format == "c":
        own = [name for name in files if name.startswith("c/")]
        wanted = [name for name in own if name.endswith(IMAGE_SUFFIX) or "/dfedge/" in name]
    else:
        wanted = [name for name in files if name.startswith((STATE, f"{format}/"))]
    return sum(files[name].bytes for name in wanted)


def _checked(bundle: Bundle, manifest: Manifest, watch: Progress) -> Manifest:
    """The manifest once each format's runtime was verified: it must give the golden integers."""
    records = {}
    for i, (name, record) in enumerate(manifest.formats.items()):
        watch(f"verify {name}", i, len(manifest.formats))
        verified = check_golden(bundle, name)
        records[name] = msgspec.structs.replace(record, verified_steps=verified)
    watch("verify", len(records), len(records))
    return msgspec.structs.replace(manifest, formats=records)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_bytes(seal(manifest))
