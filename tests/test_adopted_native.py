"""An adopted net, trunk and all, as C: here, and on processors that QEMU emulates."""

import os
import subprocess
from pathlib import Path

import foreign_nets
import numpy as np
import pytest
from conftest import once
from test_on_device import (
    CROSS,
    Host,
    compiled,
    firmware,
    learned_by,
    learned_here,
    needs,
    turned,
    values_of,
)
from trials.board import emulated, instructions, output, ram_bytes
from trials.runner import compile_runner, write_idx

from dfedge.adoption.adopt import AdoptOptions, adopt
from dfedge.bundle import Bundle
from dfedge.data.inputs import to_input
from dfedge.device import latents
from dfedge.device.runners import open_runner
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.run import Run
from dfedge.native import build
from dfedge.verify import verify

pytestmark = needs(build.COMPILERS[0])


@pytest.fixture(scope="session")
def adopted_c(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A little of everything, as C for the Cortex-M4."""
    weights = once(tmp_path_factory, "foreign", lambda folder: folder.mkdir())
    os.environ[foreign_nets.WEIGHTS] = str(weights)
    options = AdoptOptions("foreign_nets:small", "digits")
    run = once(tmp_path_factory, "adopted", lambda folder: adopt(options, folder))

    def make(folder: Path) -> None:
        export(Run.open(run), ExportOptions(("c",), "mps2-an386", batch=1), folder)

    return Bundle.open(once(tmp_path_factory, "adopted-c", make))


@pytest.fixture(scope="session")
def host(adopted_c: Bundle) -> Host:
    return learned_here(adopted_c)


def test_adopted_net_is_the_same_in_c_as_in_pytorch(adopted_c: Bundle) -> None:
    found = verify(adopted_c, 100)
    assert found.identical, found.first_difference
    assert set(found.runtimes) == {"c", "native", "pytorch"}
    assert not found.not_run


def test_a_latent_teaches_what_its_image_does_at_any_batch(adopted_c: Bundle) -> None:
    by_image, by_latent = (open_runner(adopted_c, "native") for _ in range(2))
    golden = adopted_c.golden()
    x, y = golden["x"][:, 0], golden["y"][:, 0]
    first = by_image.train(x, y)
    second = by_latent.train_from(by_latent.features(x)[-1], y)
    assert np.array_equal(first[0], second[0])
    state, other = by_image.get_state(), by_latent.get_state()
    assert all(np.array_equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("most", [latents.MOST_BYTES, 2000, 0])
def test_a_second_pass_begins_behind_the_trunk_and_ends_in_the_same_bytes(
    adopted_c: Bundle, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "MOST_BYTES", most)
    plain, inner = (open_runner(adopted_c, "native") for _ in range(2))
    keeping, seen = latents.LatentRunner(inner, adopted_c), list[int]()
    features = inner.features
    monkeypatch.setattr(inner, "features", lambda x: [seen.append(len(x)), *features(x)][1:])
    golden = adopted_c.golden()
    for _ in range(3):
        for x, y in zip(golden["x"], golden["y"], strict=True):
            wanted, found = plain.train(x, y), keeping.train(x, y)
            assert all(map(np.array_equal, wanted, found))
    state, other = plain.get_state(), keeping.get_state()
    assert all(np.array_equal(state[name], other[name]) for name in state)
    distinct = len(np.unique(golden["x"].reshape(-1, golden["x"][0, 0].size), axis=0))
    assert sum(seen) == distinct if most > 2000 else sum(seen) > distinct
    assert sum(one.nbytes + latents.ENTRY for one in keeping.held.values()) <= most


def test_a_session_keeps_latents_where_the_trunk_is_the_most_of_the_work(
    adopted_c: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, plan = open_runner(adopted_c, "native"), adopted_c.manifest.plan
    above = sum(latents.products(conv) for layer in plan.layers for conv in layer.convs)
    worth = latents.trunk_products(plan) // above
    assert worth > 0
    monkeypatch.setattr(latents, "WORTH", worth)
    assert isinstance(latents.with_latents(runner, adopted_c), latents.LatentRunner)
    monkeypatch.setattr(latents, "WORTH", worth + 1)
    assert latents.with_latents(runner, adopted_c) is runner


def test_dfedge_run_answers_and_learns_above_a_trunk(adopted_c: Bundle, tmp_path: Path) -> None:
    test = turned(adopted_c, "test")
    sources = adopted_c.folder / "c"
    app = compile_runner(tmp_path / "dfedge-run", sources / "run", sources / "dfedge")
    net, native = adopted_c.folder / "c" / "net.dfe", open_runner(adopted_c, "native")
    files = [
        write_idx(tmp_path / "x", test.x[..., 0]),
        write_idx(tmp_path / "y", test.y.astype(np.uint8)),
    ]
    done = subprocess.run([app, "infer", net, files[0]], check=True, capture_output=True, text=True)
    x, y = to_input(test.x), test.y.astype(np.int32)
    assert done.stdout.split() == [str(k) for k in native.infer(x).argmax(1)]
    state = ["--state", tmp_path / "learned", "--batch", "16"]
    subprocess.run([app, "train", net, *files, *state], check=True, capture_output=True)
    for i in range(0, len(x), 16):
        native.train(x[i : i + 16], y[i : i + 16])
    block = native.program.state.tobytes()  # type: ignore[attr-defined]
    assert learned_by(net, tmp_path / "learned") == block


@pytest.mark.slow
@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
def test_microcontroller_learns_above_a_trunk_to_the_same_bytes(
    adopted_c: Bundle, host: Host, tmp_path: Path
) -> None:
    app = firmware(adopted_c, "mps2-an386", tmp_path)
    found = emulated("mps2-an386", app)
    assert bytes.fromhex(found["state"]) == host.program.state.tobytes()
    assert (int(found["before"]), int(found["after"])) == (host.before, host.after)
    assert host.after > host.before
    used = ram_bytes(app) + int(found["stack"])
    constants = sum(value.nbytes for value in adopted_c.constants().values())
    ticks = (found[f"{kind}_ticks"] for kind in ("infer", "step"))
    took = [instructions("mps2-an386", each) for each in ticks]
    print(f"{used:,} B of RAM, {constants:,} B of constants; {took}")
    assert used < 6_400 < constants


@needs(CROSS["s390x"], "qemu-s390x")
def test_big_endian_processor_reads_the_constants_as_numbers(
    adopted_c: Bundle, host: Host, tmp_path: Path
) -> None:
    app = compiled(adopted_c, CROSS["s390x"], tmp_path)
    found = output("qemu-s390x", app)
    assert int(found["little"]) == 0
    assert (int(found["before"]), int(found["after"])) == (host.before, host.after)
    for name, value in values_of(found["state"], host, ">").items():
        assert np.array_equal(value, host.program.read()[name]), name
