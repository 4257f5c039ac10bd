"""What to export, and what its words mean for a given run."""

import sys
from dataclasses import dataclass

from dfedge.errors import UsageError, unknown_name
from dfedge.exporters.ecosystems import DEFAULT, WEIGHTS, ecosystem
from dfedge.learn.run import Run
from dfedge.native.naming import NET, check_prefix
from dfedge.rules import feedback_of, on_device

ELF = ("linux", "freebsd")
"""Platforms of Python whose objects are ELF."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        formats: names of `dfedge.runtimes.stock_formats`.
        target: a target's name or path.
        budget: bytes of arena and state together, as ``256KB``; None: what the target leaves.
        batch: the larger batch size; every bundle also has batch 1.
        rule: how far errors reach on the device; None: as trained, where the device knows it.
        train_layers: ``all``, or ``last:N``: those below are frozen.
        rendering: of onnx and executorch: ``native``, ``stock`` or ``both``.
        spare_classes: anchor rows kept for classes to come.
        trial: try learning on the run's kept samples before the bundle is written.
        data: in the place of the run's kept samples: a name or path, its training split.
        version: of the bundle, raised by its maker with each that is sent out; 0: none.
        prefix: what names and files of the format c begin with.
        ecosystem: whose manifests its folder gets, of `dfedge.exporters.ecosystems`.
        weights: one of `WEIGHTS`: how C sources hold the net's numbers; None: as binary data where
            the ecosystem and this machine can assemble them.
    """

    formats: tuple[str, ...] = ("onnx",)
    target: str = "host"
    batch: int = 16
    rule: str | None = None
    train_layers: str = "all"
    spare_classes: int = 0
    budget: str | None = None
    rendering: str = "both"
    trial: bool = True
    data: str | None = None
    version: int = 0
    prefix: str = NET
    ecosystem: str = DEFAULT
    weights: str | None = None


def binary_weights(options: ExportOptions) -> bool:
    """Whether C sources hold the net's numbers as binary data for an assembler, or as text.

    Raises:
        UsageError: neither of `WEIGHTS`, or binary data where they cannot be assembled.
    """
    why = ""
    if not ecosystem(options.ecosystem).assembles:
        why = f"--for {options.ecosystem} does not tell the assembler where the data lie"
    elif sys.platform not in ELF or sys.byteorder != "little":
        why = "this machine, which verifies the bundle, has no ELF assembler of little-endian data"
    if options.weights is None:
        return not why
    if options.weights not in WEIGHTS:
        raise unknown_name("form of --weights", options.weights, list(WEIGHTS))
    if options.weights == "binary" and why:
        raise UsageError(f"--weights binary: {why}; allowed here: text")
    return options.weights == "binary"


def check_firmware(options: ExportOptions) -> None:
    """Refuse words for C sources that cannot be, or where none are written.

    Raises:
        UsageError: naming the option.
    """
    check_prefix(options.prefix)
    ecosystem(options.ecosystem)
    binary_weights(options)
    own = options.prefix, options.ecosystem, options.weights
    if "c" not in options.formats and own != (NET, DEFAULT, None):
        raise UsageError("--prefix, --for and --weights are of C sources; add --format c")


def device_rule(wanted: str | None, run: Run) -> str:
    """The rule that the program learns with: the run's own, if a device knows it.

    Raises:
        UsageError: one that the device does not know.
    """
    plane = run.plan.form == "label-plane"
    if wanted is None:
        return run.plan.rule if feedback_of(run.plan.rule) and not plane else "df"
    feedback = feedback_of(wanted)
    if feedback is None:
        raise unknown_name("rule of the device", wanted, on_device())
    if plane and feedback != "none":
        raise UsageError(f"--rule {wanted}: the label-plane form learns with df on the device")
    return wanted


def check_version(version: int) -> None:
    """Refuse what no manifest can hold.

    Raises:
        UsageError: negative, or of more than 31 bits.
    """
    if not 0 <= version < 1 << 31:
        raise UsageError(f"--version {version}: allowed: 0 to {(1 << 31) - 1:,}")


def first_learning(train_layers: str, layers: int) -> int:
    """The first layer that learns, of ``layers``.

    Raises:
        UsageError: neither ``all`` nor ``last:N``.
    """
    if train_layers == "all":
        return 0
    kind, _, count = train_layers.partition(":")
    if kind != "last" or not count.isdecimal() or not 1 <= int(count) <= layers:
        raise UsageError(
            f"--train-layers {train_layers}: allowed: all, or last:N with N from 1 to {layers}"
        )
    return layers - int(count)
