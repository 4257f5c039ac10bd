"""``dfedge bench``."""

from pathlib import Path
from typing import Annotated

import typer

from dfedge.cli.console import print_json, progress, say, table
from dfedge.cli.options import BundleArg, Json, MinVersion, Runtimes, Signer


def run(
    bundle: BundleArg,
    runtime: Runtimes = None,
    threads: Annotated[
        list[int],
        typer.Option(help="Number of threads and cores. Repeatable."),
    ] = [1, 2],  # noqa: B006  Typer wants the list itself
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Duration of each measurement in seconds.")
    ] = 2.0,
    ort_training: Annotated[
        Path | None,
        typer.Option(
            help="Also measure onnxruntime-training: bin/python of an environment with "
            "onnxruntime-training==1.19.2 'numpy<2' 'onnx<1.17' torch."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (.json).")
    ] = None,
    signer: Signer = None,
    min_version: MinVersion = None,
    json: Json = False,
) -> None:
    """Measure steps and inferences per second, beside back-propagation of the same net.

    The rivals train the same layers in float32 with SGD in the same run: PyTorch eager,
    ExecuTorch's training extension, onnxruntime-training. onnx-int8 and litert-int8 are the same
    net in the runtimes' own int8 operators, for inference only. A ratio of 2 means that the rival
    takes twice as long.

    [bold]Example:[/] dfedge bench out/bundle --threads 1
    """
    import msgspec

    from dfedge.atomic import write_out
    from dfedge.bench.report import RIVALS, bench
    from dfedge.bundle import Bundle

    with progress() as watch:
        opened = Bundle.open(bundle, signer, min_version)
        found = bench(opened, runtime, tuple(threads), seconds, ort_training, watch)
    if out is not None:
        write_out(out, msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if json:
        print_json(msgspec.to_builtins(found))
        return
    rivals = [name for name in RIVALS if name not in found.not_run]
    table(
        f"{found.net} on {found.computer}; on the right, a rival's time over this one's",
        ["method", "threads", "contender", "ms", *(name.removesuffix("-bp") for name in rivals)],
        [
            [
                row.method,
                str(row.threads),
                row.contender,
                f"{row.ms:.2f}",
                *(f"{row.ratios[name]:.2f}" if name in row.ratios else "" for name in rivals),
            ]
            for row in found.rows
        ],
    )
    for name, why in found.not_run.items():
        say(f"{name}: not run: {why}")
    if out is not None:
        say(f"wrote {out}")
