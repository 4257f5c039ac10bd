"""Streams of people: a net knows some, and the others come one after the other.

Speakers of FSDD say digits, wearers of a watch do exercises.  The net is trained by dfedge on the
first of them and exported with its last layer learning, behind 64 int8 of latent.  All ways begin
with what is known: the program as it was exported, the float layer fitted to the same people's
samples, and both memories filled with as many of these samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from continual_nets import Given
from harm_data import windows

from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.data.fsdd import CLASSES, SPEAKERS, TEST_TAKES, recordings
from dfedge.data.streams import Experience, Stream
from dfedge.exporters.write import ExportOptions, export
from dfedge.learn.train import TrainOptions, train

Halves = tuple[Split, Split]
"""What one person gives to learn and to judge by."""
NET = """anchors = 1
counted = 1
[train]
epochs = 15
qat_epochs = 3
shift = 0
flip = false
[[block]]
channels = 24
pool = true
[[block]]
channels = 32
pool = true
[[block]]
channels = 64
mean = true
[[block]]
kind = "linear"
channels = 64
"""


def speaker(who: int, data_dir: Path) -> Halves:
    """Judged by the official test takes."""
    found = recordings(data_dir)
    own, test = found.speaker == who, found.take < TEST_TAKES
    return found.where(own & ~test), found.where(own & test)


def wearer(who: int, data_dir: Path) -> Halves:
    """Learned is the first half of each recording in time."""
    found = windows(data_dir)
    own = found.person == who
    return found.between(own, 0, 0.5), found.between(own, 0.5, 1)


def joined(splits: list[Split]) -> Split:
    return Split(np.concatenate([s.x for s in splits]), np.concatenate([s.y for s in splits]))


@dataclass(frozen=True)
class People:
    """As `continual_latent.Case`.

    Attributes:
        person: what one of them gives.
        known, many: people that the net is trained on, the first; and all.
        samples: of each person, at most.
        remember: samples of the known people that a memory begins with.
        budgets: bytes of replay memory, of which all fit into the second.
    """

    data: str
    person: Callable[[int, Path], Halves]
    known: int
    many: int
    names: tuple[str, ...]
    samples: int = 1000
    remember: int = 100
    budgets: tuple[int, int] = (4096, 65536)
    each: int = 1

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.names)

    def base(self, given: Given) -> Halves:
        """Of the known people."""
        assert given.data_dir is not None
        found = [self.person(who, given.data_dir) for who in range(self.known)]
        learned, judged = (joined([one[part] for one in found]) for part in (0, 1))
        order = np.random.default_rng(0).permutation(len(learned))
        return learned.take(order), judged

    def bundle(self, given: Given) -> Bundle:
        """Trained and exported, the first time."""
        folder = given.out / f"people-{self.data}-bundle"
        if folder.exists():
            return Bundle.open(folder)
        given.out.mkdir(parents=True, exist_ok=True)
        own, net = given.out / f"people-{self.data}.npz", given.out / f"people-{self.data}.toml"
        learned = self.base(given)[0]
        np.savez(own, x=learned.x, y=learned.y, classes=np.array(self.names))
        net.write_text(NET)
        run = train(
            TrainOptions(str(own), net=str(net), qat=True), given.out / f"people-{self.data}"
        )
        return export(run, ExportOptions(("c",), batch=16, train_layers="last:1"), folder)

    def stream(self, given: Given, samples: int, seed: int) -> Stream:
        """The other people in a drawn order."""
        assert given.data_dir is not None
        rng, experiences = np.random.default_rng(seed), []
        for who in rng.permutation(np.arange(self.known, self.many)):
            learned, judged = self.person(int(who), given.data_dir)
            few = learned.take(rng.permutation(len(learned))[:samples])
            experiences.append(Experience(f"person {who}", few, judged))
        learned, judged = self.base(given)
        return Stream(self.names, tuple(experiences), known=judged, past=learned)


PEOPLE = {
    "speakers": People("speakers", speaker, 2, len(SPEAKERS), CLASSES),
    "wearers": People("wearers", wearer, 4, 10, tuple(f"exercise {k}" for k in range(7))),
}
