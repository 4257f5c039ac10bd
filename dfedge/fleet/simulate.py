"""A fleet on one machine: every device has its own data, state folder and deltas, as files.

    FOLDER/plan.json             what is simulated; another plan needs another folder
    FOLDER/devices/NAME          a device's state folder
    FOLDER/round-0001/*.delta    what devices sent
    FOLDER/base-0001             the base of the next round, with its fractions
    FOLDER/step-0001             what brings it to the devices
    FOLDER/report.json           a row for each round that is done

What a device does in a round is a function of the base and of its own data, and files appear whole
or not at all.  So a simulation that is stopped, called again, goes on with the device that it came
to, and ends in the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.care import Care
from dfedge.device.evaluate import evaluate
from dfedge.device.session import Session
from dfedge.device.store import Store
from dfedge.errors import DfedgeError, chosen
from dfedge.fleet.base import Base, read_base, write_base
from dfedge.fleet.device import Task, check_learns, round_of
from dfedge.fleet.difference import Shared, step
from dfedge.fleet.merge import Merged, merge
from dfedge.fleet.privacy import Privacy, for_simulation
from dfedge.fleet.rules import RULES
from dfedge.fleet.shares import Member
from dfedge.fleet.take import taken
from dfedge.progress import Progress
from dfedge.regular import read_bytes

Sent = Callable[[int, str, bytes], bytes]
"""Round, device and delta -> what arrives: experiments put faults here."""


class SimulationPlan(msgspec.Struct, frozen=True):
    """What is simulated.

    Attributes:
        bundle_sha256: that all devices have.
        data: in words, and the devices' names.
        steps, batch: that a device learns in a round.
        learn: ``all`` that the bundle lets learn, or ``anchors`` alone.
        rule, bits, late: of the merge.
        share, personal: what travels (`dfedge.fleet.parts`).
        pace, slower: see `Task`.
        replay, guard, replace: the devices' care (`dfedge.device.care.Care`).
        drop: the fraction of devices that do not answer, drawn anew each round.
        privacy: of the merge; its noise comes from the seed, so that a simulation hides nothing.
    """

    bundle_sha256: str
    data: str
    devices: list[str]
    steps: int = 8
    batch: int = 16
    learn: str = "all"
    rule: str = "mean"
    bits: int = 8
    late: int = 0
    share: tuple[str, ...] = ("all",)
    personal: tuple[str, ...] = ()
    pace: int | None = None
    slower: int = 0
    replay: bool = False
    guard: bool = False
    replace: bool = True
    drop: float = 0.0
    seed: int = 0
    privacy: Privacy | None = None

    @property
    def shared(self) -> Shared:
        """What travels."""
        return Shared(self.share, self.personal)


class Round(msgspec.Struct, frozen=True):
    """A round that is done.

    Attributes:
        base_sha256: of the next base.
        accuracy: of it on the common test; -1: there is none.
        own: device -> accuracy on its own test of the state that it goes on from.
        bytes_up, bytes_down: of all deltas; of the step to every device that answered.
        passed: device -> why its delta was not merged.
        silent: devices that did not answer.
        epsilon: of all rounds so far; None: no noise.
    """

    round: int
    base_sha256: str
    accuracy: float
    own: dict[str, float]
    merged: int
    bytes_up: int
    bytes_down: int
    passed: dict[str, str]
    silent: list[str]
    epsilon: float | None = None


class FleetReport(msgspec.Struct, frozen=True):
    """report.json: ``before`` are the figures of the bundle's own state."""

    before: float
    before_own: dict[str, float]
    rounds: list[Round]


def silent_in(names: list[str], drop: float, seed: int, number: int) -> list[str]:
    """The devices that do not answer in a round: a function of seed and round."""
    count = min(round(drop * len(names)), len(names) - 1)
    drawn = np.random.default_rng([seed, number]).permutation(len(names))[:count]
    return [names[i] for i in sorted(drawn)]


@dataclass
class Simulation:
    """A fleet and how far it is.

    Attributes:
        test: samples that no device learns; None: each device has its own.
    """

    bundle: Bundle
    plan: SimulationPlan
    members: list[Member]
    test: Split | None
    folder: Path
    runtime: str | None = None
    sent: Sent = lambda _round, _name, raw: raw

    def run(
        self,
        rounds: int,
        watch: Progress = lambda *_: None,
        told: Callable[[Round], None] = lambda _: None,
    ) -> FleetReport:
        """Simulate up to so many rounds in all; those that are done are not done again.

        Args:
            told: called with every round once it is done, those of earlier calls first.

        Raises:
            UsageError: a plan that cannot be, or a bundle that learns no classes.
            DfedgeError: a folder of another plan, or no delta of a round can be merged.
            ResourceError: a file cannot be written.
        """
        chosen("rule", self.plan.rule, list(RULES))
        if self.plan.privacy:
            self.plan.privacy.check(self.plan.rule, self.plan.late)
            self.plan.privacy.epsilon(())  # that the accountant is there
        check_learns(self.bundle)
        self.plan.shared.names(self.bundle.initial_state())
        self._claim()
        judge = Session.open(self.bundle, self.runtime, self.folder / "judge", read_only=True)
        report = self._read() or FleetReport(self._judged(judge), self._each(judge, None), [])
        for done in report.rounds:
            told(done)
        for number in range(len(report.rounds) + 1, rounds + 1):
            done = self._round(number, judge, watch)
            report = msgspec.structs.replace(report, rounds=[*report.rounds, done])
            write_file(self.folder / "report.json", msgspec.json.encode(report))
            told(done)
        return report

    def base(self, number: int) -> Path | None:
        """The base that a round leaves; None of round 0: the bundle's own."""
        return self.folder / self._base_name(number) if number else None

    def _base_name(self, number: int) -> str:
        return f"base-{number:04}"

    def _round(self, number: int, judge: Session, watch: Progress) -> Round:
        base = read_base(self.bundle, self.base(number - 1), self.plan.bits)
        folder = self.folder / f"round-{number:04}"
        folder.mkdir(exist_ok=True)
        names = [one.name for one in self.members]
        silent = silent_in(names, self.plan.drop, self.plan.seed, number)
        answering = [one for one in self.members if one.name not in silent]
        files = []
        for i, member in enumerate(answering):
            watch(f"round {number}: devices", i, len(answering))
            path = folder / f"{member.name}.delta"
            if not path.exists():
                state = self.folder / "devices" / member.name
                raw = round_of(self.bundle, base.stored, member.learns, self._task(member), state,
                               member.name, self.runtime)  # fmt: skip
                write_file(path, self.sent(number, member.name, raw))
            files.append((member.name, read_bytes(path)))
        merged = merge(self.bundle, base, files, self.plan.rule, self.plan.late,
                       privacy=self.plan.privacy,
                       below=for_simulation(self.plan.seed, number))  # fmt: skip
        write_base(merged.base, self.folder / self._base_name(number))
        raw = step(self.bundle, merged.base.stored, base.stored)
        write_file(self.folder / f"step-{number:04}", raw)
        judge.runner.set_state(merged.base.state)
        return self._told(number, merged, len(raw), silent, judge)

    def _task(self, member: Member) -> Task:
        plan = self.plan
        number = [one.name for one in self.members].index(member.name)
        return Task(
            plan.steps, plan.batch, plan.learn == "anchors", plan.shared, plan.pace, plan.slower,
            plan.seed * 100_003 + number, Care(plan.replay, plan.guard, plan.replace),
        )  # fmt: skip

    def _told(
        self, number: int, merged: Merged, step_bytes: int, silent: list[str], judge: Session
    ) -> Round:
        passed = {one.name: one.why for one in merged.passed}
        up = sum(len(one.raw) for one in merged.taken)
        privacy = self.plan.privacy
        return Round(
            number, merged.base.sha256, self._judged(judge), self._each(judge, merged.base),
            len(merged.taken), up, step_bytes * (len(merged.taken) + len(passed)), passed, silent,
            privacy.epsilon(merged.base.spent) if privacy else None,
        )  # fmt: skip

    def _judged(self, judge: Session) -> float:
        return evaluate(judge, self.test).accuracy if self.test is not None else -1.0

    def _each(self, judge: Session, base: Base | None) -> dict[str, float]:
        """Of every device that has a test of its own; with its personal parts where it has any."""
        found = {}
        for member in self.members:
            if member.tested is None:
                continue
            if base is not None and self.plan.shared != Shared():
                folder = self.folder / "devices" / member.name
                own = Store(folder, read_only=True).load(self.bundle) or base.stored
                now = taken(self.bundle, own, base.stored, folder, self.plan.shared)
                judge.runner.set_state(now.state)
            found[member.name] = evaluate(judge, member.tested).accuracy
        if base is not None:
            judge.runner.set_state(base.state)
        return found

    def _claim(self) -> None:
        """Refuse a folder in which something else is simulated."""
        path = self.folder / "plan.json"
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise DfedgeError(f"{self.folder} holds other files; choose another --out")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(path, msgspec.json.encode(self.plan))
            return
        try:
            found = msgspec.json.decode(read_bytes(path), type=SimulationPlan)
        except (msgspec.DecodeError, ValueError) as error:
            raise DfedgeError(f"{path}: cannot be read ({error}); remove the folder") from error
        if found != self.plan:
            other = [name for name in SimulationPlan.__struct_fields__
                     if getattr(found, name) != getattr(self.plan, name)]  # fmt: skip
            raise DfedgeError(
                f"{self.folder} simulates another plan (of {', '.join(other)}); choose another "
                "--out, or repeat the command that began it"
            )

    def _read(self) -> FleetReport | None:
        path = self.folder / "report.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(read_bytes(path), type=FleetReport)
        except (msgspec.DecodeError, ValueError) as error:
            raise DfedgeError(f"{path}: cannot be read ({error}); remove the folder") from error
