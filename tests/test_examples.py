import subprocess
import sys
from pathlib import Path

from dfedge.learn.spec import load_spec

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_route_example_learns_on_the_device(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "route.py"), str(tmp_path), "12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = (float(line.split(":")[1].split("%")[0]) for line in done.stdout.splitlines())
    assert before < 30
    assert after > 80


def test_example_net_is_a_net() -> None:
    assert len(load_spec(str(EXAMPLES / "own_net.toml")).block) == 2
