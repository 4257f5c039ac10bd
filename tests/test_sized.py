"""Whatever a table, a manifest or a program says: no byte outside of a buffer is touched."""

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from dfedge.bundle import Bundle
from dfedge.device.runners import open_runner
from dfedge.device.session import Session
from dfedge.errors import DfedgeError
from dfedge.exporters.executorch import planned_program
from dfedge.exporters.native_op import NAMESPACE, SHAPES
from dfedge.manifest import MANIFEST, seal
from dfedge.native import build, glue
from dfedge.native.library import STATUS, Buffer
from dfedge.native.program import TRAIN, NativeProgram
from dfedge.native.rendering import exactly
from dfedge.quiet import quiet

CI = os.environ.get("DFEDGE_CI") == "1"
pytestmark = pytest.mark.skipif(
    (build.compiler() is None or glue.cxx_compiler() is None) and not CI,
    reason="no C and C++ compiler; make tools installs them",
)
SMALL, BAD_CALL = STATUS[10], 9
MORE = 64


def program_of(bundle: Bundle) -> NativeProgram:
    return open_runner(bundle, "native").program  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [4, 9, -1, 1 << 30, -(1 << 31)])
def test_a_call_that_does_not_exist_is_refused(
    number: int, spare_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a net with frozen layers, which could learn from latents: its labels are not looked at."""
    program, golden = program_of(spare_bundle), spare_bundle.golden()
    before = program.state.copy()
    needs = program.arena_bytes(TRAIN, 1)
    monkeypatch.setattr(program, "arena_bytes", lambda *_: needs)
    monkeypatch.setattr("dfedge.native.program.NAMES", {number: "no call"})
    with pytest.raises(DfedgeError, match=r"no call of 1 samples: .* no such entry point"):
        program._call(number, golden["x"][0][:1], None, *program.results(TRAIN, 1))
    assert np.array_equal(program.state, before)
    assert program.library.dfe_arena_bytes(program._words.ctypes.data, number, 1) == -BAD_CALL


def test_inputs_and_labels_of_another_size_are_refused(bundle: Bundle) -> None:
    program, golden = program_of(bundle), bundle.golden()
    x, y = golden["x"][0], golden["y"][0]
    before = program.state.copy()
    for wrong in (x[:, :4], x[..., :0], np.repeat(x, 2, 3), x[..., None], x.reshape(len(x), -1)):
        for call in (program.infer, program.features, lambda given: program.train(given, y)):
            with pytest.raises(DfedgeError, match=r"inputs \[B.*\]; allowed: \[B, 8, 8, 1\]"):
                call(wrong)
    with pytest.raises(DfedgeError, match=SMALL):
        program.train(x, y[:-1])
    assert np.array_equal(program.state, before)


@pytest.mark.parametrize("runtime", ["native", "c", "onnx-native", "executorch-native"])
@pytest.mark.parametrize("size", [{"height": 4}, {"width": 2}, {"height": 64, "width": 64}])
def test_a_bundle_whose_image_rule_and_plan_differ_is_refused(
    runtime: str, size: dict[str, int], bundle: Bundle, tmp_path: Path
) -> None:
    """Hashed anew, so that only what the two say is wrong."""
    copy = tmp_path / "bundle"
    copy.mkdir()
    for path in bundle.folder.iterdir():
        (copy / path.name).symlink_to(path) if path.is_dir() else (copy / path.name).write_bytes(
            path.read_bytes()
        )
    rule = msgspec.structs.replace(bundle.manifest.input, **size)
    (copy / MANIFEST).write_bytes(seal(msgspec.structs.replace(bundle.manifest, input=rule)))
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(DfedgeError) as refused:
        Session.open(copy, exactly(runtime), tmp_path / "state").predict(image)
    assert "\n" not in str(refused.value)
    with pytest.raises(DfedgeError):
        Session.open(copy, exactly(runtime), tmp_path / "state").learn(image, 3)


# -- a program for ExecuTorch whose tensors have other sizes than its state ------------------------


def run(
    operator: str, words: np.ndarray | None, state_bytes: int, given: list[np.ndarray],
    result: np.ndarray, path: Path,
) -> str | None:  # fmt: skip
    """Why the one call of a program was refused, in ExecuTorch; None: it ran."""
    with quiet():
        from dfedge.exporters.executorch_call import called

        constants = {} if words is None else {"program": torch.from_numpy(words)}
        state = {"state": torch.zeros(state_bytes, dtype=torch.uint8)}
        target = getattr(getattr(torch.ops, NAMESPACE), operator).default
        made = called(target, constants, state, [*map(torch.from_numpy, given)])
        path.write_bytes(planned_program({"forward": made}, 16, alloc_graph_input=False).buffer)
    opened, status = glue.executorch(), ctypes.c_int()
    handle = opened.library.dfe_open(str(path).encode(), ctypes.byref(status))
    assert handle, status.value
    inputs = (Buffer * len(given))(*(Buffer(a.ctypes.data, a.nbytes) for a in given))
    results = (Buffer * 1)(Buffer(result.ctypes.data, result.nbytes))
    code = opened.library.dfe_run(handle, b"forward", inputs, len(given), results, 1)
    opened.library.dfe_close(handle)
    return str(opened.reason(f"error {code}")) if code else None


@pytest.mark.parametrize(
    ("state", "block", "refused"),
    [(0, 0, None), (MORE, 0, SMALL), (-4, 0, SMALL), (0, -4, SMALL), (MORE, MORE, None)],
)
def test_a_state_is_written_only_where_block_and_state_are_large_enough(
    state: int, block: int, refused: str | None, bundle: Bundle, tmp_path: Path
) -> None:
    program = program_of(bundle)
    size, given = len(program.state), np.zeros(len(program.state) + block, np.uint8)
    given[: size + min(block, 0)] = program.state[: size + min(block, 0)]
    words, written = program.table.words, np.zeros(1, np.int32)
    path = tmp_path / "program.pte"
    assert run("write", words, size + state, [given], written, path) == refused
    assert written[0] == (0 if refused else size + state)


@pytest.fixture
def reads_as() -> Iterator[Callable[[int], None]]:
    """Let a program's copy of the state have another size than the state."""

    def to(size: int) -> None:
        torch.library.register_fake(
            f"{NAMESPACE}::read", lambda state: state.new_empty(size, dtype=torch.uint8)
        )

    yield to
    torch.library.register_fake(f"{NAMESPACE}::read", SHAPES["read"])


@pytest.mark.parametrize(("less", "refused"), [(0, None), (1024, SMALL)])
def test_a_state_is_read_only_where_its_copy_is_large_enough(
    less: int, refused: str | None, reads_as: Callable[[int], None], tmp_path: Path
) -> None:
    reads_as(4096 - less)
    copy = np.ones(4096 - less, np.uint8)
    assert run("read", None, 4096, [], copy, tmp_path / "program.pte") == refused
    assert copy.any() == (refused is not None)
