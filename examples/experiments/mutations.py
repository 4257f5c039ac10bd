"""10,000 bundles and state folders with changed files: no changed byte is ever used.

    python examples/experiments/mutations.py out/demo/bundle

Bits flipped, files cut, lengthened, overwritten, moved within, missing, doubled, linked, or with
another's content.  A bundle must be refused in one line; a store must open on an untouched slot and
say so, or refuse.  Writes results/mutations.json.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from trials.mutate import BAD, mutate_bundles, mutate_slots

from dfedge.bundle import Bundle
from dfedge.device.session import Session

RESULTS = Path(__file__).parent / "results" / "mutations.json"


def main(
    bundle: Path,
    trials: int = 10_000,
    seed: int = 0,
    results: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(bundle, root / "bundle")
        found = {"bundles": mutate_bundles(root / "bundle", trials // 2, seed)}
        opened = Bundle.open(root / "bundle")
        session = Session.open(opened, state=root / "state")
        golden = opened.golden()
        for step in range(2):
            session.runner.train(golden["x"][step], golden["y"][step])
            session.save()
        found["slots"] = mutate_slots(root / "state", opened, trials // 2, seed)
    total = sum((row for rows in found.values() for row in rows.values()), Counter())
    report = {
        "trials": total.total(),
        "outcomes": dict(total),
        "bad": sum(total[name] for name in BAD),
        "seconds": round(time.perf_counter() - start, 1),
        **found,
    }
    results.write_text(json.dumps(report, indent=1) + "\n")
    print({name: report[name] for name in ("trials", "outcomes", "bad", "seconds")})


if __name__ == "__main__":
    typer.run(main)
