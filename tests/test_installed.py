"""The wheel in environments of its own, away from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dfedge.bundle import Bundle
from dfedge.data.sources import load, load_split
from dfedge.device.finetune import finetune
from dfedge.device.session import Session
from dfedge.device.store import FinetuneJob

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def environment(folder: Path, *requirements: str) -> Path:
    """An empty environment with these requirements at the constraints' versions; its bin folder."""
    venv.create(folder, with_pip=True)
    install(folder / "bin", "-c", str(ROOT / "constraints.txt"), *requirements)
    return folder / "bin"


def beside(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel alone, over the suite's own packages; its bin folder.

    Those are what the Makefile installs by the same declarations; the checkout, which is there by a
    .pth file, is not on the path of such an environment.
    """
    venv.create(folder, with_pip=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "suite.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install(folder / "bin", "--no-deps", str(wheel))
    return folder / "bin"


def install(bin_folder: Path, *words: str) -> None:
    """By pip; not compiled: for all of torch that takes longer than all that is run of it."""
    pip = [str(bin_folder / "python"), "-m", "pip", "install", "--quiet", "--no-compile",
           "--disable-pip-version-check"]  # fmt: skip
    subprocess.run([*pip, *words], check=True, capture_output=True)


def away(folder: Path) -> dict[str, str]:
    """An environment in which nothing of the checkout is on any path."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    kept["OMP_NUM_THREADS"] = "1"  # as in all tests
    return kept | {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)}


def told(bin_folder: Path, folder: Path, *args: str) -> dict:
    """What an environment's dfedge prints with --json, run in a folder away from the checkout."""
    done = subprocess.run(
        [str(bin_folder / "dfedge"), *args, "--json"],
        cwd=folder, env=away(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def turned_digits(path: Path, name: str = "stream") -> Path:
    """A split of the digits, turned by 90 degrees, as a file."""
    split = load("digits").splits[name]
    np.savez(path, x=np.rot90(split.x, axes=(1, 2)), y=split.y)
    return path


def learned_here(bundle: Bundle, stream: Path, state: Path) -> str:
    """The state's digest after 480 samples in ONNX Runtime."""
    session = Session.open(bundle, "onnx", state)
    rule, names = session.bundle.manifest.input, tuple("0123456789")
    _, images = load_split(str(stream), None, rule, names, ("all",), None)
    finetune(session, images, FinetuneJob(stream.name, "all", "", 0, 16, 480))
    return session.digest()


def test_wheel_away_from_the_checkout_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    """`make wheel` installs it in an environment that was empty."""
    bin_folder = beside(tmp_path / "env", wheel)
    found = [str(bin_folder / "python"), "-c", "import dfedge; print(dfedge.__file__)"]
    where = subprocess.run(found, cwd=tmp_path, env=away(tmp_path), capture_output=True, text=True)
    assert where.stdout.startswith(str(tmp_path / "env"))
    done = subprocess.run(
        [str(bin_folder / "dfedge"), "demo", "--json", "--out", "demo"],
        cwd=tmp_path, env=away(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    accuracy, shifted = found["accuracy"], found["shifted"]
    assert accuracy["int8"] >= 0.98
    assert abs(accuracy["int8"] - accuracy["float"]) <= 0.01
    assert found["int8_scores_equal_qat"] is True
    assert (shifted["kind"], shifted["samples"], found["steps"]) == ("rotate:90", 2000, 125)
    assert shifted["before"] < 0.30
    for runtime in ("onnx", "executorch"):
        assert shifted["after"][runtime] >= 0.93
        assert shifted["after"][runtime] >= shifted["anchors_only"] + 0.02
    assert found["state_identical"] is True
    assert all(share > 0.1 for share in found["weights_changed"].values())
    for kind in ("train", "infer"):
        assert found["memory"][kind]["arena_bytes"] > 0
        assert found["memory"][kind]["state_bytes"] > 0
    report = (tmp_path / "demo" / "report.html").read_text()
    assert report.count("<svg") == 3
    assert "src=" not in report
    targets = subprocess.run(
        [str(bin_folder / "dfedge"), "targets", "list", "--json"],
        cwd=tmp_path, env=away(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "raspberry-pi-zero-2-w" in json.loads(targets.stdout)


def test_tflite_runtime_holds_the_same_bits_and_learns(
    wheel: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """The living runtime's predecessor: Python 3.11 at most, and NumPy 1."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14 has no wheel beyond Python 3.11")

    venv.create(tmp_path / "env", with_pip=True)
    bin_folder = tmp_path / "env" / "bin"
    install(bin_folder, str(wheel), "tflite-runtime==2.14.0", "numpy<2")
    stream = turned_digits(tmp_path / "stream.npz")

    dfedge = partial(told, bin_folder, tmp_path)
    where = str(bundle.folder)
    verified = dfedge("verify", where, "--runtime", "litert")
    assert verified["runtimes"] == {"litert": bundle.manifest.golden_sha256}
    learned = dfedge("finetune", where, "--data", "stream.npz", "--samples", "480",
                     "--state", "learned")  # fmt: skip
    assert learned["runtime"] == "litert"
    assert learned["state_sha256"] == learned_here(bundle, stream, tmp_path / "here")


def test_device_environment_without_torch_predicts_evaluates_and_learns(
    wheel: Path, bundle: Bundle, tmp_path: Path
) -> None:
    bin_folder = environment(tmp_path / "env", f"{wheel}[onnx]")
    for name in ("stream", "test"):
        turned_digits(tmp_path / f"{name}.npz", name)

    def dfedge(*args: str) -> dict:
        return told(bin_folder, tmp_path, *args, "--state", "learned")

    absent = subprocess.run(
        [str(bin_folder / "python"), "-c", "import torch"], capture_output=True, check=False
    )
    assert absent.returncode != 0
    where = str(bundle.folder)
    verified = told(bin_folder, tmp_path, "verify", where)
    assert verified["identical"]
    here = ("onnx", "onnx-native", "c", "native")  # but for the first: a C compiler is found
    assert verified["runtimes"] == dict.fromkeys(here, bundle.manifest.golden_sha256)
    assert "pip install" in verified["not_run"]["litert"]
    before = dfedge("evaluate", where, "--data", "test.npz")
    learned = dfedge("finetune", where, "--data", "stream.npz", "--runtime", "onnx", "--replace")
    after = dfedge("evaluate", where, "--data", "test.npz")
    answers = dfedge("predict", where, "test.npz")["predictions"]
    assert (learned["steps"], learned["samples"]) == (125, 2000)
    assert before["accuracy"] < 0.3
    assert after["accuracy"] > 0.9
    labels = load("digits").splits["test"].y
    right = np.mean([a["label"] == y for a, y in zip(answers, labels, strict=True)])
    assert right == pytest.approx(after["accuracy"])
    missing = subprocess.run(
        [str(bin_folder / "dfedge"), "evaluate", where, "--data", "digits"],
        cwd=tmp_path, env=away(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert missing.returncode == 1
    assert "pip install scikit-learn" in missing.stderr


def test_executorch_without_torch_holds_the_same_bits_and_learns(
    wheel: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """The package for its C++ core alone; the native rendering calls it by ctypes."""
    bin_folder = environment(tmp_path / "env", str(wheel))
    install(bin_folder, "-c", str(ROOT / "constraints.txt"), "--no-deps", "executorch")
    absent = subprocess.run([str(bin_folder / "python"), "-c", "import torch"], capture_output=True)
    assert absent.returncode != 0
    stream = turned_digits(tmp_path / "stream.npz")

    dfedge = partial(told, bin_folder, tmp_path)
    where = str(bundle.folder)
    verified = dfedge("verify", where, "--runtime", "executorch-native")
    assert verified["runtimes"] == {"executorch-native": bundle.manifest.golden_sha256}
    learned = dfedge("finetune", where, "--data", stream.name, "--samples", "480",
                     "--runtime", "executorch", "--state", "learned")  # fmt: skip
    assert learned["runtime"] == "executorch-native"
    assert learned["state_sha256"] == learned_here(bundle, stream, tmp_path / "here")
