"""Flash and time of nets whose convolutions are by groups: torchvision's RegNets, random weights.

    OMP_NUM_THREADS=1 python examples/experiments/groups.py regnet_x_400mf

The head alone learns, images are 64 x 64, and the C interpreter runs here, batch 1: the least of 40
calls.  With PYTHONPATH at another checkout the same is measured of that one.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import typer

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.device.runners import open_runner
from dfedge.exporters.options import ExportOptions
from dfedge.exporters.write import export
from dfedge.runtimes import NATIVE

SIDE, SAMPLES, CALLS = 64, 60, 40


def main(name: str) -> None:
    """Measure a net of torchvision."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    import torchvision_nets

    torchvision_nets.measured = lambda: torchvision_nets.net(name)
    x = np.random.default_rng(0).integers(0, 256, (SAMPLES, SIDE, SIDE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "noise.npz", x=x, y=np.arange(SAMPLES) % 10)
        options = AdoptOptions("torchvision_nets:measured", str(place / "noise.npz"))
        run = adopt(options, place / "run").run
        bundle = export(run, ExportOptions(("c",), batch=1, trial=False), place / "bundle")
        flash = sum(one.numel() * one.element_size() for one in run.constants().values())
        runner, golden = open_runner(bundle, NATIVE), bundle.golden()
        image, label = golden["x"][:, 0][:1], golden["y"][:, 0][:1]
        infer = _least(lambda: runner.infer(image))
        step = _least(lambda: runner.train(image, label))
    print(f"{name}: {flash:,} bytes of constants, infer {infer:.2f} ms, step {step:.2f} ms")


def _least(call) -> float:
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    typer.run(main)
