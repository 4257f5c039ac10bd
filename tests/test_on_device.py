"""A thousand training steps: the same bytes in every runtime, and in the exported C on processors
that QEMU emulates.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import once
from numpy.typing import NDArray
from trials.board import (
    PROCESSORS,
    PROGRAMS,
    Raw,
    bare,
    built,
    data,
    emulated,
    hosted,
    instructions,
    output,
    ram_bytes,
)
from trials.calls import opened
from trials.runner import slot_bytes_of, write_idx

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.inputs import to_input
from dfedge.data.reading import Reading
from dfedge.data.sources import load_split
from dfedge.device.native import net_of
from dfedge.device.runners import open_runner
from dfedge.errors import DfedgeError
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train
from dfedge.native import build
from dfedge.native.folder import compiled as compiled_files
from dfedge.native.folder import is_small
from dfedge.native.program import NativeProgram
from dfedge.runtimes import formats
from dfedge.state import digest
from dfedge.verify.reference import TorchRunner

CI = os.environ.get("DFEDGE_CI") == "1"
ARM = ("arm-none-eabi-gcc", "qemu-system-arm")
ROOT = Path(__file__).parent.parent
MAIN = PROGRAMS / "main.c"
LOOPS = {"mps2-an386": "cortex_m", "mps3-an547": "mve"}
"""The hot loops that the compiler's options choose."""
STEPS = 1000  # over the stream's 437 turned digits


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip where a tool lacks; in continuous integration none may."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    reason = f"no {', '.join(missing)}; make tools installs them"
    return pytest.mark.skipif(bool(missing) and not CI, reason=reason)


pytestmark = needs(build.COMPILERS[0])


@pytest.fixture(scope="session")
def everywhere(tmp_path_factory: pytest.TempPathFactory, mcu_run: Run) -> Bundle:
    """The same in every other format."""

    def make(folder: Path) -> None:
        others = tuple(name for name in formats() if name != "c")
        export(mcu_run, ExportOptions(others, batch=1), folder)

    return Bundle.open(once(tmp_path_factory, "everywhere", make))


@dataclass(frozen=True)
class Host:
    """What the same training gives here."""

    before: int
    after: int
    program: NativeProgram


def turned(bundle: Bundle, split: str) -> Split:
    m = bundle.manifest
    return load_split("digits", None, m.input, m.classes, (split,), "rotate:90")[1]


def images(bundle: Bundle, split: str) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    found = turned(bundle, split)
    return to_input(found.x), found.y.astype(np.int32)


@pytest.fixture(scope="session")
def host(mcu: Bundle) -> Host:
    return learned_here(mcu)


def learned_here(bundle: Bundle) -> Host:
    runner = open_runner(bundle, "native")
    x, y = images(bundle, "stream")
    test, labels = images(bundle, "test")

    def right() -> int:
        return int((runner.infer(test).argmax(1) == labels).sum())

    before = right()
    for number in range(STEPS):
        i = number % len(x)
        runner.train(x[i : i + 1], y[i : i + 1])
    return Host(before, right(), runner.program)  # type: ignore[attr-defined]


@pytest.mark.parametrize("runtime", [name for name in (*formats(), "pytorch") if name != "c"])
def test_every_runtime_learns_to_the_same_bytes(
    runtime: str, everywhere: Bundle, host: Host
) -> None:
    reference = runtime == "pytorch"
    runner = TorchRunner(everywhere) if reference else open_runner(everywhere, runtime)
    x, y = images(everywhere, "stream")
    for number in range(STEPS):
        i = number % len(x)
        runner.train(x[i : i + 1], y[i : i + 1])
    assert digest(runner.get_state()) == digest(host.program.read())


def raw_images(bundle: Bundle) -> Raw:
    """Of the stream's and the test's turned digits."""
    stream, test = turned(bundle, "stream"), turned(bundle, "test")
    return Raw("uint8_t", stream.x, stream.y, test.x, test.y, STEPS)


def firmware(bundle: Bundle, target: str, folder: Path, raw: Raw | None = None) -> Path:
    """The program that learns samples."""
    return built(bundle.folder / "c", data(raw or raw_images(bundle), folder), MAIN, target)


@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("target", ["mps2-an386", "mps3-an547"])
def test_microcontroller_learns_turned_digits_to_the_same_bytes_as_the_host(
    target: str, mcu: Bundle, host: Host, tmp_path: Path
) -> None:
    app = firmware(mcu, target, tmp_path)
    found = emulated(target, app)
    assert bytes.fromhex(found["state"]) == host.program.state.tobytes()
    assert (int(found["before"]), int(found["after"])) == (host.before, host.after)
    assert host.after > 2 * host.before
    names = subprocess.run(["arm-none-eabi-nm", app], check=True, capture_output=True, text=True)
    assert " T dfe_step\n" in names.stdout
    assert "dfe_store_" not in names.stdout  # a program that stores nothing carries none of it
    assert re.findall(r"dfe_(portable|scalar|cortex_m|mve)\n", names.stdout) == [LOOPS[target]]
    used = ram_bytes(app) + int(found["stack"])
    assert 0 < int(found["stack"]) < 4096
    assert used <= 32 * 1024
    infer, step = (instructions(target, found[f"{kind}_ticks"]) for kind in ("infer", "step"))
    print(f"{target}: {used:,} B of RAM, stack {found['stack']} B of it; {infer:,}, {step:,}")
    assert 50_000 < infer < step < 3 * infer


@pytest.fixture(scope="session")
def motion_mcu(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A net of windows [24, 3] as C for the Cortex-M4."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(0)
        y = np.arange(400) % 3
        speed, time = np.array([1.0, 2.0, 3.5])[y], np.arange(24) / 24
        turns = speed[:, None] * time + rng.random((400, 1))
        axes = [np.sin(2 * np.pi * turns + phase) for phase in (0.0, 1.0, 2.0)]
        x = 400 + 900 * np.stack(axes, 2) + rng.normal(0, 60, (400, 24, 3))
        folder.mkdir()
        np.savez(folder / "motion.npz", x=np.round(x).astype(np.int32), y=y)
        (folder / "net.toml").write_text(MOTION_NET)
        run = train(
            TrainOptions(str(folder / "motion.npz"), net=str(folder / "net.toml"), qat=True,
                         reading=Reading(input="window")), folder / "run",
        )  # fmt: skip
        export(run, ExportOptions(("c",), "mps2-an386", batch=1), folder / "bundle")

    return Bundle.open(once(tmp_path_factory, "motion-mcu", make) / "bundle")


MOTION_NET = """
anchors = 4
[train]
epochs = 4
qat_epochs = 2
[[block]]
channels = 8
kernel = 5
kernel_width = 1
pool = true
[[block]]
channels = 12
kernel = 3
kernel_width = 1
pool = true
"""


@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
def test_microcontroller_learns_motion_from_raw_readings_to_the_same_bytes_as_the_host(
    motion_mcu: Bundle, tmp_path: Path
) -> None:
    """The sensor is mounted otherwise: its first two axes are exchanged."""
    with np.load(Path(motion_mcu.manifest.data)) as found:
        x, y = found["x"][:, :, [1, 0, 2]], found["y"].astype(np.int64)
    raw = Raw("int32_t", x[:200], y[:200], x[200:300], y[200:300], steps=400)
    codes, runner = (
        to_input(motion_mcu.manifest.input.apply(x, "x")),
        open_runner(motion_mcu, "native"),
    )

    def right() -> int:
        return int((runner.infer(codes[200:300]).argmax(1) == raw.labels).sum())

    before = right()
    for number in range(raw.steps):
        i = number % 200
        runner.train(codes[i : i + 1], y[i : i + 1].astype(np.int32))
    app = firmware(motion_mcu, "mps2-an386", tmp_path, raw)
    found = emulated("mps2-an386", app)
    assert bytes.fromhex(found["state"]) == runner.program.state.tobytes()  # type: ignore[attr-defined]
    assert (int(found["before"]), int(found["after"])) == (before, right())
    used = ram_bytes(app) + int(found["stack"])
    print(f"{used:,} B of RAM, stack {found['stack']} B of it")
    assert used <= 16 * 1024


CROSS = {"aarch64": "aarch64-linux-gnu-gcc", "riscv64": "riscv64-linux-gnu-gcc",
         "s390x": "s390x-linux-gnu-gcc"}  # fmt: skip


@pytest.mark.parametrize(
    "processor", [pytest.param(p, marks=needs(CROSS[p], f"qemu-{p}")) for p in CROSS]
)
def test_other_processors_learn_the_same_numbers_on_either_byte_order(
    processor: str, mcu: Bundle, host: Host, tmp_path: Path
) -> None:
    found = output(f"qemu-{processor}", compiled(mcu, CROSS[processor], tmp_path))
    assert (int(found["before"]), int(found["after"])) == (host.before, host.after)
    assert int(found["little"]) == (processor != "s390x")
    order = "<" if processor != "s390x" else ">"
    for name, value in values_of(found["state"], host, order).items():
        assert np.array_equal(value, host.program.read()[name]), name


def compiled(bundle: Bundle, compiler: str, folder: Path) -> Path:
    """The test's program, for a processor with an operating system."""
    sources = bundle.folder / "c"
    if compiler == CROSS["s390x"]:
        sources = spelled_out(bundle, folder / "text")
    return hosted(sources, data(raw_images(bundle), folder), MAIN, compiler)


def spelled_out(bundle: Bundle, folder: Path) -> Path:
    """The bundle's C sources with their numbers as text, which suit either byte order."""
    net = dataclasses.replace(net_of(bundle), binary=False)
    for name, content in compiled_files(net, is_small(bundle.folder / "c")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def values_of(state: str, host: Host, order: str) -> dict[str, NDArray[np.generic]]:
    """The tensors of a block in hexadecimal digits."""
    block = np.frombuffer(bytes.fromhex(state), np.uint8)
    return {
        name: block[tensor.offset : tensor.offset + tensor.bytes]
        .view(order + tensor.dtype)
        .reshape(tensor.shape)
        for name, tensor in host.program.table.tensors.items()
    }


@pytest.mark.parametrize(
    ("compiler", "emulator", "levels"),
    [
        pytest.param("aarch64-linux-gnu-gcc", ("qemu-aarch64",),
                     ["portable", "neon", "neon-dotprod"],
                     marks=needs("aarch64-linux-gnu-gcc", "qemu-aarch64")),
        (build.COMPILERS[0], (), ["portable"]),
    ],
)  # fmt: skip
def test_hot_loops_of_every_instruction_set_equal_the_portable_ones(
    compiler: str, emulator: tuple[str, ...], levels: list[str], tmp_path: Path
) -> None:
    app = tmp_path / "levels"
    sources = [MAIN.with_name("levels.c"), *sorted(build.SOURCES.glob("*.c"))]
    subprocess.run(
        [compiler, "-std=c99", "-O2", "-static", "-Wall", "-Werror", f"-I{build.SOURCES}",
         "-o", app, *sources],
        check=True, capture_output=True,
    )  # fmt: skip
    found = output(*emulator, app)
    assert list(found)[: len(levels)] == levels
    assert set(found.values()) == {"400"}


def shapes(folder: Path, compiler: str, *words: str | Path) -> Path:
    """The program of random shapes."""
    app = folder / "shapes"
    sources = [MAIN.with_name("shapes.c"), *sorted(build.SOURCES.glob("*.c"))]
    subprocess.run(
        [compiler, "-std=c99", "-Wall", "-Werror", "-Wno-unused-function", f"-I{build.SOURCES}",
         "-o", app, *words, *sources],
        check=True, capture_output=True,
    )  # fmt: skip
    return app


def told(*command: str | Path) -> list[str]:
    """Every line that a program printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="session")
def checksums(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the portable loops give of random shapes, in the large tiles."""
    lines = told(shapes(tmp_path_factory.mktemp("shapes"), build.required_compiler(), "-O1"))
    assert len(lines) > 1_500
    return lines


def test_tiles_of_a_microcontroller_give_the_same_of_random_shapes_and_stay_within_buffers(
    checksums: list[str], tmp_path: Path
) -> None:
    words = ("-O1", "-DDFE_SMALL=1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    assert told(shapes(tmp_path, build.required_compiler(), *words)) == checksums


RISC_V = ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
BARE = [pytest.param(name, optimise, marks=needs(*tools)) for name, optimise, tools in (
    ("cortex-m0plus", "-O2", ARM), ("cortex-m4", "-O2", ARM), ("cortex-m4", "-O0", ARM),
    ("cortex-m55", "-O2", ARM), ("rv32imac", "-O2", RISC_V),
)]  # fmt: skip


@pytest.mark.parametrize(("processor", "optimise"), BARE)
def test_hot_loops_of_a_microcontroller_give_the_same_of_random_shapes(
    processor: str, optimise: str, checksums: list[str], tmp_path: Path
) -> None:
    board = PROCESSORS[processor]
    compiler, *words = board.compiler
    app = shapes(tmp_path, str(compiler), *words, optimise)
    assert told(*board.emulator, app) == checksums


@needs(*RISC_V)
def test_a_32_bit_risc_v_learns_to_the_same_bytes(mcu: Bundle, tmp_path: Path) -> None:
    whole, here = raw_images(mcu), open_runner(mcu, "native")
    raw = dataclasses.replace(whole, test=whole.test[:50], labels=whole.labels[:50], steps=100)
    board = PROCESSORS["rv32imac"]
    app = bare(mcu.folder / "c", data(raw, tmp_path), MAIN, board)
    found = output(*board.emulator, app)
    x, y = images(mcu, "stream")
    for i in range(raw.steps):
        here.train(x[i : i + 1], y[i : i + 1])
    assert bytes.fromhex(found["state"]) == here.program.state.tobytes()  # type: ignore[attr-defined]
    infer, step = (round(board.tick * int(found[f"{kind}_ticks"])) for kind in ("infer", "step"))
    print(f"stack {found['stack']} B; {infer:,}, {step:,} instructions")
    assert int(found["stack"]) < 4096


def learned_by(net: Path, state: Path) -> bytes:
    """The state in a state file of dfedge-run."""
    found = opened(state.read_bytes(), slot_bytes_of(net))
    assert found is not None
    return found[2]


def test_dfedge_run_learns_saves_and_goes_on_to_the_same_state_without_python(
    dfedge_run: Path, mcu: Bundle, tmp_path: Path
) -> None:
    stream, test = turned(mcu, "stream"), turned(mcu, "test")
    net, state = mcu.folder / "c" / "net.dfe", tmp_path / "learned"
    half = len(stream) // 2
    native = open_runner(mcu, "native")
    for part in (slice(0, half), slice(half, len(stream))):
        x, y = stream.x[part], stream.y[part]
        files = [
            write_idx(tmp_path / "x", x[..., 0]),
            write_idx(tmp_path / "y", y.astype(np.uint8)),
        ]
        command = [dfedge_run, "train", net, *files, "--state", state, "--batch", "10"]
        subprocess.run(command, check=True, capture_output=True)
        for i in range(0, len(x), 10):
            native.train(to_input(x[i : i + 10]), y[i : i + 10].astype(np.int32))
    assert learned_by(net, state) == native.program.state.tobytes()  # type: ignore[attr-defined]
    images = write_idx(tmp_path / "x", test.x[..., 0])
    done = subprocess.run(
        [dfedge_run, "infer", net, images, "--state", state],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    answers = native.infer(to_input(test.x)).argmax(1)
    assert done.stdout.split() == [str(k) for k in answers]
    told = subprocess.run([dfedge_run, "memory", net], check=True, capture_output=True, text=True)
    arena = mcu.manifest.formats["c"].memory["train_b1"].arena_bytes
    assert f"batch 1: arena of train {arena} B" in told.stdout


def test_dfedge_run_learns_to_the_same_bytes(
    dfedge_run: Path, mcu: Bundle, host: Host, tmp_path: Path
) -> None:
    stream = turned(mcu, "stream")
    order = np.arange(STEPS) % len(stream)
    x, y = stream.x[order, ..., 0], stream.y[order].astype(np.uint8)
    files = [write_idx(tmp_path / "x", x), write_idx(tmp_path / "y", y)]
    net = mcu.folder / "c" / "net.dfe"
    command = [dfedge_run, "train", net, *files]
    state = ["--state", tmp_path / "learned", "--batch", "1"]
    subprocess.run([*command, *state], check=True, capture_output=True)
    assert learned_by(net, tmp_path / "learned") == host.program.state.tobytes()


def test_dfedge_run_names_what_it_cannot_use_and_leaves_the_state(
    dfedge_run: Path, mcu: Bundle, tmp_path: Path
) -> None:
    test, net = turned(mcu, "test"), mcu.folder / "c" / "net.dfe"
    x, y = test.x[:20, ..., 0], test.y[:20].astype(np.uint8)
    state, images = tmp_path / "state", write_idx(tmp_path / "x", x)
    labels = write_idx(tmp_path / "y", y)

    def refused(code: int, *words: str | Path) -> str:
        done = subprocess.run([dfedge_run, *words], capture_output=True, text=True, check=False)
        assert done.returncode == code
        return done.stderr

    subprocess.run([dfedge_run, "train", net, images, labels, "--state", state], check=True,
                   capture_output=True)  # fmt: skip
    before = state.read_bytes()
    train = ("train", net, images)
    assert "usage" in refused(2, "train", net, images, labels)
    assert "usage" in refused(2, "forget", net, images)
    wrong = write_idx(tmp_path / "wrong", np.full(20, 10, np.uint8))
    assert "not a class of the program" in refused(1, *train, wrong, "--state", state)
    few = write_idx(tmp_path / "few", y[:19])
    assert "one label for each" in refused(1, *train, few, "--state", state)
    small = write_idx(tmp_path / "small", x[:, :7])
    assert "another shape" in refused(1, "infer", net, small)
    assert state.read_bytes() == before


def test_exported_folder_that_was_made_for_another_state_is_refused(
    mcu: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[[Bundle], dict[str, NDArray[np.generic]]] = Bundle.initial_state

    def changed(bundle: Bundle) -> dict[str, NDArray[np.generic]]:
        state = original(bundle)
        state["layer0.conv0.weight"] = np.zeros_like(state["layer0.conv0.weight"])
        return state

    assert open_runner(mcu, "c").get_state().keys() == original(mcu).keys()
    monkeypatch.setattr(Bundle, "initial_state", changed)
    with pytest.raises(DfedgeError, match=r"net\.dfe: not what this dfedge would write"):
        open_runner(mcu, "c")


@pytest.mark.parametrize(
    "name", ["net.h", "net_data.S", "dfedge/pool.c", "dfedge/more.c", "more/more.c"]
)
def test_foreign_code_in_a_bundle_is_never_compiled(name: str, mcu: Bundle, tmp_path: Path) -> None:
    foreign = tmp_path / "bundle"
    shutil.copytree(mcu.folder, foreign)
    path = foreign / "c" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"/* mine */\n")
    changed = dataclasses.replace(mcu, folder=foreign)
    with pytest.raises(DfedgeError, match=rf"{name}: not what this dfedge would write"):
        open_runner(changed, "c")
    assert open_runner(changed, "native").infer(mcu.golden()["x"][0]).shape == (1, 10)


def test_net_too_large_for_the_board_is_refused_before_anything_is_written(
    run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(DfedgeError, match=r"needs .* KiB of RAM .* 'mps2-an386' allows 32 KiB"):
        export(Run.open(run_folder), ExportOptions(("c",), "mps2-an386", batch=1), out)
    assert not out.exists()
