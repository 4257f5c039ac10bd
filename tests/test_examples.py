import re
import subprocess
import sys
from pathlib import Path

import pytest

from dfedge.bundle import Bundle
from dfedge.data.fsdd import recordings
from dfedge.errors import DfedgeError
from dfedge.learn.spec import load_spec

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_route_example_learns_on_the_device(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "route.py"), str(tmp_path), "12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = (float(line.split(":")[1].split("%")[0]) for line in done.stdout.splitlines())
    assert before < 30
    assert after > 70


def test_example_net_is_a_net() -> None:
    assert len(load_spec(str(EXAMPLES / "own_net.toml")).block) == 2


def shares(text: str) -> list[float]:
    return [float(one) for one in re.findall(r"([0-9.]+)%", text)]


def example(name: str, *args: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_camera_example_follows_the_drift(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(bundle.folder.resolve())
    last = example("camera.py", tmp_path, "digits", 437).splitlines()[-2]
    frozen, learning = shares(last.split("way")[1])
    assert frozen < 30
    assert learning > frozen + 20


def test_new_class_example_learns_it_and_keeps_the_old_ones(tmp_path: Path) -> None:
    before, after, new = (
        shares(line)[0] for line in example("new_class.py", tmp_path, 6).splitlines()
    )
    assert before > 90
    assert after > before - 5
    assert new > 70


def test_speaker_example_runs_on_a_small_slice(tmp_path: Path) -> None:
    try:
        recordings()
    except DfedgeError:
        pytest.skip("the Free Spoken Digit Dataset is not here; set DFEDGE_DATA")
    before, _, after = (shares(line)[0] for line in
                        example("speaker.py", tmp_path, "george", 1).splitlines()[:3])  # fmt: skip
    assert after > before


def test_gesture_example_learns_a_motion_and_keeps_the_old_ones(tmp_path: Path) -> None:
    before, after, new = (
        shares(line)[0] for line in example("gesture.py", tmp_path, 20).splitlines()[-3:]
    )
    assert before > 75
    assert after > before - 10
    assert new > 70


def test_machine_example_follows_the_drift_and_finds_the_fault(tmp_path: Path) -> None:
    first, still, _, after = example("machine.py", tmp_path, 4).splitlines()
    assert shares(first)[0] < 5 < 50 < shares(first)[1]
    assert shares(still)[0] > 80
    assert shares(after)[0] < 10 < 50 < shares(after)[1]
