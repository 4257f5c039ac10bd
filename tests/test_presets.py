"""The shipped presets on a slice of their data: what each says of net, strategy and memory."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from dfedge.data.sources import load
from dfedge.errors import DfedgeError
from dfedge.presets import PRESETS, load_preset

SHORT = {
    "camera": "drift:rotate=90,samples=64,experiences=2,test=20",
    "classes": "class-incremental:each=2,samples=32,test=20",
    "digits": "drift:rotate=90,samples=64,experiences=2,test=20",
    "speaker": "new-user:speaker=george,utterances=1+2,test=2",
}


def test_every_preset_is_tested() -> None:
    assert sorted(SHORT) == sorted(path.stem for path in PRESETS.glob("*.toml"))


def shortened(name: str, folder: Path) -> Path:
    """The preset, 320 images to train on for two epochs, and a short stream of the same kind."""
    preset, raw = load_preset(name), tomllib.loads((PRESETS / f"{name}.toml").read_text())
    assert SHORT[name].split(":")[0] == preset.settings.stream.split(":")[0]
    try:
        data = load(preset.data)
        load(preset.settings.data)
    except DfedgeError:
        pytest.skip(f"{preset.data} or {preset.settings.data} is not here; set DFEDGE_DATA")
    few = data.splits["train"]
    np.savez(folder / "few.npz", x=few.x[:320], y=few.y[:320], classes=np.array(data.classes))
    net = raw.get("net") or {"camera": "mnist", "speaker": "speech"}.get(name, name)
    top = {k: v for k, v in raw.items() if k not in ("settings", "train")}
    top |= {"data": str(folder / "few.npz"), "net": net}
    settings = raw["settings"] | {"stream": SHORT[name]}
    lines = [f"{k} = {v!r}" for k, v in top.items()]
    lines += ["[train]", "epochs = 1", "qat_epochs = 1", "[settings]"]
    lines += [f"{k} = {v!r}" for k, v in settings.items()]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", SHORT)
def test_preset_learns_its_stream_with_its_own_memory(name: str, dfedge, tmp_path: Path) -> None:
    path = shortened(name, tmp_path)
    args = ["continual", "--preset", path, "--runtime", "native", "--out", tmp_path, "--json"]
    done = dfedge(*args)
    assert done.code == 0, done.err
    found, settings = done.json, load_preset(name).settings
    for field in ("strategy", "budget", "bits", "replayed", "remember", "passes", "offset"):
        assert found[field] == getattr(settings, field), field
    assert found["runtime"] == "native"
    assert found["samples"] == {"classes": 160, "speaker": 20}.get(name, 64) * settings.passes
    assert (found["replay_bytes"] > 0) == (settings.strategy == "balanced")
    assert Path(found["report"]).is_file()
    assert dfedge(*args).json["state_sha256"] == found["state_sha256"]
