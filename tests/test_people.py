"""A table of people on the command line: one of them is met on the device."""

from pathlib import Path

import numpy as np
import pytest
from motion import SPEED, T, wave, write_table


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, two motions; the third moves her arm the other way round."""
    path = tmp_path_factory.mktemp("people") / "worn.csv"
    x, people, motions = [], [], []
    for person in (1, 2, 3):
        for k, name in enumerate(SPEED):
            signs = [1, -1, -1] if person == 3 else [1, 1, 1]
            x.append(wave(name, 20 * T, 10 * person + k) * signs)
            people += [person] * 20 * T
            motions += [name] * 20 * T
    write_table(path, np.concatenate(x), person=people, label=motions)
    return path


def test_one_person_is_learned_and_tested_alone(
    dfedge, motion_bundle: Path, worn: Path, tmp_path: Path
) -> None:
    own = ("--data", worn, "--only", "person:3", "--state", tmp_path / "s", "--json")
    before = dfedge("evaluate", motion_bundle, *own).json
    done = dfedge("finetune", motion_bundle, *own, "--samples", 128, "--replace").json
    after = dfedge("evaluate", motion_bundle, *own).json
    assert (before["split"], done["split"]) == ("test of person:3", "train of person:3")
    assert after["accuracy"] >= before["accuracy"]
    everybody = dfedge("evaluate", motion_bundle, "--data", worn, "--json").json
    assert everybody["samples"] > 3 * before["samples"]
    for only, said in (("person:9", "unknown person of"), ("x", "unknown group of")):
        refused = dfedge("evaluate", motion_bundle, "--data", worn, "--only", only)
        assert refused.code == 2
        assert said in refused.err and refused.err.count("error:") == 1


@pytest.mark.parametrize(
    ("stream", "experiences"),
    [
        ("new-user:who=person:3", ["person:3"]),
        ("new-user", ["person:1", "person:2", "person:3"]),
        ("drift:gain=0.5,offset=0.3,samples=40,experiences=2,test=20", ["50%", "100%"]),
        ("labelled:samples=40", ["labelled"]),
    ],
)
def test_streams_of_signals_are_learned(
    stream: str, experiences: list[str], dfedge, motion_bundle: Path, worn: Path, tmp_path: Path
) -> None:
    found = dfedge("continual", motion_bundle, "--data", worn, "--stream", stream, "--runtime",
                   "native", "--state", tmp_path / "s", "--json").json  # fmt: skip
    assert found["experiences"] == experiences
    assert (tmp_path / "s" / "report.html").is_file()


def test_a_drift_of_another_kind_of_samples_is_one_line(
    dfedge, motion_bundle: Path, worn: Path, tmp_path: Path
) -> None:
    done = dfedge("continual", motion_bundle, "--data", worn, "--stream", "drift:rotate=90",
                  "--state", tmp_path / "s")  # fmt: skip
    assert done.code == 2
    assert done.err.endswith(
        "error: drift: rotate is not of the windows, which drift by gain, offset, noise, turn, "
        "stretch\n"
    )
    assert not (tmp_path / "s").exists()
