"""1,000,000 inputs made by atheris for every reader of a stranger's bytes: no fault, no hang.

    pip install atheris
    python examples/experiments/fuzz.py

Each reader of `trials.readers` is fuzzed in a process of its own, guided by the coverage of
dfedge's Python code, from good inputs on.  An input must be taken or refused with one line, within
a second of CPU time.  Writes results/fuzz.json; what failed lies under ``--found``.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

RESULTS = Path(__file__).parent / "results" / "fuzz.json"


def main(
    inputs: Annotated[int, typer.Option(help="In all.")] = 1_000_000,
    reader: Annotated[list[str] | None, typer.Option(help="Only these.")] = None,
    found: Annotated[Path, typer.Option(help="Where failing inputs are kept.")] = Path("out/fuzz"),
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    from trials.readers import READERS

    names = reader or list(READERS)
    runs = -(-inputs // len(names))
    found.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for name in names:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
            report = Path(work) / "report.json"
            command = [sys.executable, __file__, "--one", name, str(runs), work, str(found)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            rows[name] = (
                json.loads(report.read_text())
                if report.exists()
                else {"inputs": 0, "faults": {"the process ended": 1}, "end": done.stderr[-2000:]}
            )
        rows[name]["seconds"] = round(time.perf_counter() - start, 1)
        print(name, rows[name], flush=True)
    summary = {
        "inputs": sum(row["inputs"] for row in rows.values()),
        "faults": sum(sum(row["faults"].values()) for row in rows.values()),
        "slowest_s": max(row.get("slowest_s", 0) for row in rows.values()),
    }
    results.write_text(json.dumps({**summary, "readers": rows}, indent=1) + "\n")
    print(summary)


def one(name: str, runs: int, work: Path, found: Path) -> None:
    """Fuzz one reader in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["dfedge"]):
        from trials.readers import READERS, judge

    corpus = work / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(READERS[name].seeds()):
        (corpus / str(number)).write_bytes(seed)
    path = work / f"input{READERS[name].suffix}"
    count, slowest, faults = 0, 0.0, {}

    def give(data: bytes) -> None:
        nonlocal count, slowest
        count += 1
        start = time.process_time()
        fault = judge(name, data, path)
        slowest = max(slowest, time.process_time() - start)
        if fault is not None:
            if fault.what not in faults and len(faults) < 50:
                (found / f"{name.replace(' ', '-')}.{len(faults)}").write_bytes(fault.data)
            faults[fault.what] = faults.get(fault.what, 0) + 1
        if count % 1000 == 0 or count >= runs:
            row = {"inputs": count, "faults": faults, "slowest_s": round(slowest, 3)}
            (work / "report.json").write_text(json.dumps(row))

    options = [f"-runs={runs}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=8192", "-seed=1",
               "-close_fd_mask=3", f"-artifact_prefix={found}/"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], give)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
    else:
        typer.run(main)
