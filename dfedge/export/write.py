"""The writer of bundles: every format, its plan against the target, its parity, the manifest."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from dfedge import __version__
from dfedge.atomic import new_folder
from dfedge.bundle import (
    GOLDEN,
    MANIFEST,
    SEMANTICS_VERSION,
    STATE,
    VERSION,
    Bundle,
    FileRecord,
    FormatRecord,
    LayerRecord,
    Manifest,
    MethodRecord,
    file_record,
)
from dfedge.data.dataset import Split
from dfedge.data.image import to_input
from dfedge.data.order import shuffled
from dfedge.device.parity import check_parity
from dfedge.device.runners import open_runner
from dfedge.errors import DfedgeError
from dfedge.export.formats import Progress, Source, Written, load_writer
from dfedge.export.golden import make_golden, to_arrays
from dfedge.export.program import Method
from dfedge.int8.bounds import check_sizes
from dfedge.int8.scales import INPUT_EXPONENT
from dfedge.learn.net import Net
from dfedge.learn.run import Run
from dfedge.learn.samples import to_samples
from dfedge.learn.train import load_data, quantised_net
from dfedge.learn.trainer import accuracy
from dfedge.lower.fold import lower
from dfedge.lower.plan import State, StepPlan
from dfedge.state import digest, to_bytes
from dfedge.target import check_fits, check_formats, load_target

RATE_SAMPLES = 64


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        formats: names from `dfedge.export.formats.FORMATS`.
        target: a target's name or path.
        batch: the larger batch size; every bundle also has batch 1.
    """

    formats: tuple[str, ...] = ("onnx",)
    target: str = "host"
    batch: int = 16


def export(
    run: Run, options: ExportOptions, out: Path, watch: Progress = lambda *_: None
) -> Bundle:
    """Write a bundle; ``out`` appears whole, after every format gave the golden integers.

    Raises:
        UsageError: an unknown format or target.
        DfedgeError: a run not calibrated, a program that does not fit the target or whose integers
            differ, an ``out`` that holds something else.
    """
    writers = {name: load_writer(name) for name in options.formats}
    target = load_target(options.target)
    check_formats(target, options.target, list(options.formats))
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise DfedgeError(f"{out} exists and is no bundle; choose another --out")
    net = quantised_net(run)
    data = load_data(run.plan)
    train = data.split("train")[1]
    plan, state = _lower(net, train)
    check_sizes(plan.sizes(), plan.classes, options.batch)
    golden = make_golden(plan, state, train, options.batch)
    methods = tuple(
        Method(kind, batch) for kind in ("train", "infer") for batch in sorted({1, options.batch})
    )
    source = Source(plan, state, methods)
    with new_folder(out) as folder:
        written: dict[str, Written] = {}
        for name, write in writers.items():
            (folder / name).mkdir()
            written[name] = write(source, folder / name, watch)
        arrays = to_arrays(state)
        (folder / STATE).write_bytes(to_bytes(arrays))
        (folder / GOLDEN).write_bytes(to_bytes(golden.arrays))
        files = {
            path.relative_to(folder).as_posix(): file_record(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = Manifest(
            version=VERSION,
            semantics_version=SEMANTICS_VERSION,
            dfedge_version=__version__,
            net=run.plan.net_name,
            rule=run.plan.rule,
            data=run.plan.data,
            classes=run.plan.classes,
            image=run.plan.image,
            input_exponent=INPUT_EXPONENT,
            layers=[
                LayerRecord(
                    height=layer.height,
                    width=layer.width,
                    in_channels=layer.in_channels,
                    channels=layer.channels,
                    kernel=layer.kernel,
                    pool=layer.pool,
                    cells=layer.cells,
                    margin=layer.margin,
                    activation_shift=layer.shift,
                    score_shift=layer.score_shift,
                    counted=layer.counted,
                    weight_exponent=scales.weight,
                    activation_exponent=scales.activation,
                )
                for layer, scales in zip(plan.layers, net.scales or (), strict=True)
            ],
            methods=[MethodRecord(m.name, m.kind, m.batch) for m in methods],
            state_names=list(state),
            formats={name: _record(name, one) for name, one in written.items()},
            state_sha256=digest(arrays),
            golden_sha256=golden.state_sha256,
            test_accuracy=accuracy(net, to_samples(data.split("test")[1])),
            recipe=run.calibration().recipe_name,
            target=options.target,
            files=files,
        )
        for name, record in manifest.formats.items():
            check_fits(target, options.target, name, record, _flash(name, files))
        _write_manifest(folder, manifest)
        _write_manifest(folder, _checked(Bundle.open(folder), manifest, watch))
    return Bundle.open(out)


def lowered(run: Run) -> tuple[StepPlan, State]:
    """A calibrated run's plan and first state, its update shifts measured on training samples.

    Raises:
        DfedgeError: not trained, never calibrated, or the data are gone.
    """
    return _lower(quantised_net(run), load_data(run.plan).split("train")[1])


def _lower(net: Net, train: Split) -> tuple[StepPlan, State]:
    few = train.take(shuffled(len(train), 0, 0, min(RATE_SAMPLES, len(train))))
    labels = torch.from_numpy(few.y.astype(np.int32))
    height, width = few.x.shape[1:3]
    return lower(net, (height, width), torch.from_numpy(to_input(few.x)), labels)


def _record(format: str, written: Written) -> FormatRecord:
    files = {method: f"{format}/{name}" for method, name in written.files.items()}
    return FormatRecord(files, written.versions, written.memory, written.memory_source, 0)


def _flash(format: str, files: dict[str, FileRecord]) -> int:
    """Bytes that a device needs of the bundle for one format."""
    return sum(
        record.bytes
        for name, record in files.items()
        if name == STATE or name.startswith(f"{format}/")
    )


def _checked(bundle: Bundle, manifest: Manifest, watch: Progress) -> Manifest:
    """The manifest with every format's parity: each runtime must give the golden integers."""
    records = {}
    for i, (name, record) in enumerate(manifest.formats.items()):
        watch(f"parity {name}", i, len(manifest.formats))
        steps = check_parity(bundle, open_runner(bundle, name), name)
        records[name] = msgspec.structs.replace(record, parity_steps=steps)
    watch("parity", len(records), len(records))
    return msgspec.structs.replace(manifest, formats=records)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
