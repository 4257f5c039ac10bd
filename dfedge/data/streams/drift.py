"""Gradual change: a camera that tilts, a sensor that grows old, while it works."""

from itertools import pairwise
from typing import Annotated, Self

import msgspec
import numpy as np
from msgspec import Meta

from dfedge.data.dataset import Images, Split
from dfedge.data.inputs import KINDS, InputRule
from dfedge.data.shift_forms import read
from dfedge.data.streams.stream import Experience, Stream, StreamKind, StreamSource, drawn
from dfedge.errors import UsageError

Positive = Annotated[int, Meta(ge=1)]


class Drift(StreamKind, frozen=True):
    """Every sample is changed a little more than the one before it; all values are the last one's.

    Beside the settings below there is one for each shift of the samples' kind that can come about
    gradually (`dfedge.data.shift_forms`): ``drift:rotate=90``, ``drift:gain=0.5,offset=0.2``.

    Attributes:
        samples: in all, drawn without repetition.
        experiences: into which they are cut; each is tested at the change that it ends with.
        test: test samples of each.
        shifts: name -> numbers apart by ``:``; none: what the kind's `InputRule.drift` says.
    """

    samples: Positive = 5000
    experiences: Positive = 10
    test: Positive = 1000
    shifts: dict[str, str] = {}  # noqa: RUF012  msgspec copies it

    @classmethod
    def read(cls, given: dict[str, str]) -> Self:
        """See `StreamKind.read`."""
        own = {k: v for k, v in given.items() if k in cls.__struct_fields__ and k != "shifts"}
        shifts = {k: v for k, v in given.items() if k not in own}
        known = {rule.samples: gradual(rule) for rule in KINDS.all().values()}
        for name in shifts:
            if not any(name in names for names in known.values()):
                listed = "; ".join(f"of {of} {', '.join(names)}" for of, names in known.items())
                raise UsageError(
                    f"drift: unknown setting '{name}'; known: samples, experiences, test; {listed}"
                )
        return msgspec.convert({**own, "shifts": shifts}, cls, strict=False)

    def make(self, source: StreamSource, seed: int) -> Stream:
        """See `StreamKind.make`."""
        data, rule = source.loaded(seed)
        _, train = data.split("stream", "train")
        steps = self._steps(rule)
        if not self.experiences <= self.samples <= len(train):
            raise UsageError(
                f"drift: {self.samples} samples in {self.experiences} experiences; {source.data} "
                f"has {len(train)}, and each experience needs one"
            )
        train = drawn(train, self.samples, seed)
        test = drawn(data.split("test")[1], self.test, seed)
        moved = self.over(train.x, rule)
        ends = np.linspace(0, self.samples, self.experiences + 1).astype(int)
        found = []
        for start, end in pairwise(ends):
            at = end / self.samples
            found.append(
                Experience(
                    f"{at:.0%}",
                    Split(moved[start:end], train.y[start:end]),
                    Split(changed(test.x, rule, steps, at), test.y),
                )
            )
        return Stream(data.classes, tuple(found), known=test)

    def over(self, x: Images, rule: InputRule) -> Images:
        """Codes [N, H, W, C] in the order of their arrival, each changed a little more.

        Raises:
            UsageError: a shift of another kind of samples.
        """
        steps, count = self._steps(rule), len(x)
        return np.concatenate(
            [changed(x[i : i + 1], rule, steps, (i + 1) / count) for i in range(count)]
        )

    def _steps(self, rule: InputRule) -> dict[str, list[float]]:
        """Shift -> its numbers at the end, in the order of the rule's table.

        Raises:
            UsageError: one of another kind of samples, or with other numbers; none at all.
        """
        known, given = gradual(rule), self.shifts or rule.drift
        other = next((name for name in given if name not in known), None)
        if other is not None or not given:
            what = f"{other} is not of {rule.samples}" if other else "no change is named"
            raise UsageError(f"drift: {what}, which drift by {', '.join(known) or 'nothing'}")
        return {
            name: read(f"{name}:{given[name]}", f"{name}={given[name]}", rule.shifts, rule.samples)[
                1
            ]
            for name in known
            if name in given
        }


def gradual(rule: InputRule | type[InputRule]) -> list[str]:
    """The shifts of a kind that can come about gradually: those with numbers."""
    return [name for name, form in rule.shifts.items() if form.numbers]


def changed(x: Images, rule: InputRule, steps: dict[str, list[float]], at: float) -> Images:
    """Samples as they come when ``at`` (0 to 1) of the change has come about."""
    for name, numbers in steps.items():
        still = rule.shifts[name].still
        now = [still + (number - still) * at for number in numbers]
        if any(number != still for number in now):
            x = rule.shift(name, now)(x)
    return x
