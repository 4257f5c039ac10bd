"""What the commands do with a bundle that knows what is normal (``dfedge train --task normal``)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfedge.cli.console import percent, print_json, progress, say, table
from dfedge.errors import UsageError

if TYPE_CHECKING:
    from dfedge.data.dataset import Images
    from dfedge.data.judged import Judgeable
    from dfedge.data.streams.drift import Drift
    from dfedge.device.session import Session


def knows_normal(session: "Session") -> bool:
    """Whether a session's bundle does."""
    return session.bundle.manifest.normal is not None


def refuse(session: "Session", **given: Any) -> None:
    """Refuse options that mean nothing here: those that are set, by name.

    Raises:
        UsageError: naming them.
    """
    names = ", ".join(f"--{name.replace('_', '-')}" for name, value in given.items() if value)
    if names:
        raise UsageError(
            f"{names}: {session.bundle.folder} knows what is normal, and samples teach it once "
            "each, without labels; leave these options out"
        )


def load(
    session: "Session", data: str, data_dir: Path | None, split: str | None, shift: str | None,
    wanted: tuple[str, ...],
) -> "Judgeable":  # fmt: skip
    """Samples, normal or not, of the first split that is wanted and there."""
    from dfedge.data.judged import load_judgeable

    own = session.bundle.manifest
    return load_judgeable(
        data, data_dir, own.input, (split,) if split else wanted, shift,
        cut=own.cut, reading=own.reading,
    )  # fmt: skip


def predict(session: "Session", inputs: "list[tuple[str, Images]]", json: bool) -> None:
    """Say of each input whether it is normal, or how far off."""
    import numpy as np

    from dfedge.device.normal import judge

    found = judge(session, session.input(np.stack([x for _, x in inputs])))
    if json:
        rows = [{"file": name, **found.row(i)} for i, (name, _) in enumerate(inputs)]
        used = session.state_name
        print_json({"runtime": session.runtime, "state": used, "predictions": rows})
        return
    for i, (name, _) in enumerate(inputs):
        say(f"{name}: {found.says(i)}")
    say(f"state: {session.state_name}; runtime: {session.runtime}")


def evaluate(
    session: "Session", name: str, data: "Judgeable", shift: str | None, json: bool
) -> None:
    """Tell false alarms, and of labelled anomalies how many are found."""
    from dataclasses import asdict

    from dfedge.device.normal import evaluate_normal, threshold_of

    promised = threshold_of(session.bundle).false_alarms
    with progress() as watch:
        found = evaluate_normal(session, data, lambda done, of: watch("evaluate", done, of))
    if json:
        print_json({
            "runtime": session.runtime, "state": session.state_name, "split": data.split,
            "shift": shift, "promised_false_alarms": promised, **asdict(found),
        })  # fmt: skip
        return
    rows = [["normal samples", f"{found.normal:,}"]]
    if found.false_alarms is not None:
        rows.append(
            ["false alarms", f"{percent(found.false_alarms)} ({percent(promised)} promised)"]
        )
    rows.append(["anomalies", f"{found.anomalies:,}" if found.anomalies else "none is labelled"])
    if found.detected is not None:
        rows.append(["found of them", percent(found.detected)])
    if found.area is not None:
        rows.append(["area under the curve", f"{found.area:.3f}"])
    table(f"{name}, split {data.split}" + (f", {shift}" if shift else ""), ["what", "value"], rows)
    say(f"state: {session.state_name}; runtime: {session.runtime}")


def drifting(stream: str) -> "Drift | None":
    """How samples change as they come; None: not at all.

    Raises:
        UsageError: another stream: what is normal is learned without classes or persons.
    """
    from dfedge.data.streams import parse_stream
    from dfedge.data.streams.drift import Drift

    kind = parse_stream(stream)
    if isinstance(kind, Drift):
        return kind
    if stream != "labelled":
        raise UsageError(
            f"--stream {stream}: what is normal is learned as it comes, or by drift:..."
        )
    return None


def learn(
    session: "Session", data: "Judgeable", stream: str, samples: int | None, json: bool
) -> None:
    """Follow samples in their order, those that are normal teaching, and save."""
    from dfedge.device.follow import follow
    from dfedge.device.normal import threshold_of

    drift, x, odd = drifting(stream), data.x[:samples], data.anomalous[:samples]
    if drift is not None:
        x = drift.over(x, session.bundle.manifest.input)
    with session.store.writing(), progress() as watch:
        found = follow(session, session.input(x), lambda done, of: watch("follow", done, of))
        session.save()
    alarms, taught = ~found.judged.normal, found.taught
    told = {
        "runtime": session.runtime, "state": str(session.folder),
        "state_sha256": session.digest(), "split": data.split, "samples": len(x),
        "taught": int(taught.sum()), "alarms": int(alarms.sum()), "anomalies": int(odd.sum()),
        "anomalies_found": int((alarms & odd).sum()), "moved": round(found.moved, 4),
    }  # fmt: skip
    if json:
        print_json(told)
        return
    promised = percent(threshold_of(session.bundle).false_alarms)
    say(f"judged {len(x):,} samples as they came: {told['taught']:,} were normal and taught, "
        f"{told['alarms']:,} were not ({promised} of normal ones are expected)")  # fmt: skip
    if odd.any():
        say(f"of {told['anomalies']:,} labelled anomalies {told['anomalies_found']:,} were found")
    say(f"what is normal has moved {found.moved:.2f} times as far as the threshold")
    say(f"wrote {session.folder} ({session.record.samples:,} presentations in all)")


def add_mode(session: "Session", name: str, x: "Images", json: bool) -> None:
    """Take samples for a new mode of normal operation, in a spare row, and save."""
    from dfedge.device.classes import add_class, spare_rows
    from dfedge.device.normal import judge

    q = session.input(x)
    before = int(judge(session, q).normal.sum())
    row = add_class(session, name, x)
    after = int(judge(session, q).normal.sum())
    session.save()
    told = {
        "class": session.classes[row], "row": row, "samples": len(x),
        "own_normal": {"before": before, "after": after}, "spare_rows": spare_rows(session),
        "runtime": session.runtime, "state": str(session.folder),
        "state_sha256": session.digest(),
    }  # fmt: skip
    if json:
        print_json(told)
        return
    say(f"'{told['class']}' is mode {row + 1} of normal operation; of its {len(x)} samples {after} "
        f"are normal ({before} before); {told['spare_rows']} spare row(s) left")  # fmt: skip
    say(f"wrote {session.folder}")
