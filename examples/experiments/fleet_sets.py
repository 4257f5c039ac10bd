"""The fleets of `fleet.py`: which bundle all devices have, what each learns, and what tests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dfedge.bundle import Bundle
from dfedge.data import fsdd, idx, watch
from dfedge.data.dataset import Dataset, Split
from dfedge.data.signals import Signals
from dfedge.data.sources import OWN, DataSource, load_split, open_data
from dfedge.exporters.write import ExportOptions, export
from dfedge.fleet.shares import Member, by_group, shared_out
from dfedge.learn.run import Run
from dfedge.learn.train import TrainOptions, train

WATCHED, SPOKEN = ("1", "2", "3"), ("george", "jackson")
"""Who the net knows before there is a fleet."""
MNIST_NET, MNIST_SHARED = 10_000, 4_000
MNIST_SMALL = "examples/mcu_net.toml"
SHORT = {"epochs": 6, "qat_epochs": 2}
"""Of that net, whose 50 epochs are meant for 1,200 digits."""


@dataclass(frozen=True)
class Fleet:
    """Devices over one bundle.

    Attributes:
        run: the float net trained by back-propagation, for the rival.
        test: all devices' common test; None: each has its own.
        chosen_on: samples on which settings are chosen: none of them is in a test.
    """

    bundle: Bundle
    run: Run
    members: list[Member]
    test: Split | None
    chosen_on: Split


def mnist_parts(data_dir: Path | None) -> Dataset:
    """Ten thousand to train the net, four thousand others for devices, two thousand tested."""
    whole, draw = idx.mnist(data_dir), np.random.default_rng(0)
    order = draw.permutation(len(whole.splits["train"]))
    cut = MNIST_NET, MNIST_NET + MNIST_SHARED
    test = draw.permutation(len(whole.splits["test"]))[:2000]
    splits = {
        "train": whole.splits["train"].take(order[: cut[0]]),
        "stream": whole.splits["train"].take(order[cut[0] : cut[1]]),
        "test": whole.splits["test"].take(test),
    }
    return replace(whole, splits=splits)


def watch_of(data_dir: Path | None, *people: str) -> Signals:
    """Recordings of some people."""
    found = watch.load(data_dir)
    kept = tuple(one for one in found.recordings["all"] if one.groups["person"] in people)
    return replace(found, recordings={"all": kept})


def fsdd_of(data_dir: Path | None, *speakers: str) -> fsdd.Spoken:
    """Recordings of some speakers; the official takes are tested."""
    found = fsdd.recordings(data_dir)
    own = np.isin(found.speaker, [fsdd.SPEAKERS.index(name) for name in speakers])
    kept = fsdd.Recordings(found.x[own], found.y[own], found.speaker[own], found.take[own])
    return fsdd.Spoken("fsdd-of", kept)


OWN["fleet-mnist"] = DataSource("fleet_sets:mnist_parts", "mnist")
OWN["fleet-watch"] = DataSource("fleet_sets:watch_of", "imu", WATCHED)
OWN["fleet-fsdd"] = DataSource("fleet_sets:fsdd_of", "speech", SPOKEN)


def nets(
    data: str, home: Path, data_dir: Path | None, seed: int, net: str | None = None
) -> tuple[Bundle, Run]:
    """The bundle, and the float net trained by back-propagation; made once."""
    if not (home / "bundle").exists():
        short = SHORT if net == MNIST_SMALL else None
        options = TrainOptions(data, data_dir, net, qat=True, seed=seed, settings=short)
        run = train(options, home / "run")
        export(run, ExportOptions(("c",), batch=16), home / "bundle")
        options = replace(options, rule="bp", qat=False, keep=False)
        train(options, home / "bp")
    return Bundle.open(home / "bundle"), Run.open(home / "bp")


def turned(data: str, devices: int, split: str, net: str | None = None) -> Callable[..., Fleet]:
    """Images turned by 90 degrees, which the net never saw."""

    def make(home: Path, data_dir: Path | None, seed: int) -> Fleet:
        bundle, run = nets(data, home, data_dir, seed, net)
        own = bundle.manifest

        def part(name: str) -> Split:
            return load_split(data, data_dir, own.input, own.classes, (name,), "rotate:90")[1]

        members = shared_out(part("stream"), split, devices, seed)
        return Fleet(bundle, run, members, part("test"), part("train").take(np.arange(400)))

    return make


def people(base: str, data: str, known: tuple[str, ...]) -> Callable[..., Fleet]:
    """A device for everybody whom the net does not know."""

    def make(home: Path, data_dir: Path | None, seed: int) -> Fleet:
        bundle, run = nets(base, home, data_dir, seed)
        rule, classes = bundle.manifest.input, bundle.manifest.classes
        found = open_data(data, data_dir, classes)
        every = by_group(found, rule, seed)
        strangers = [one for one in every if one.name.split("-")[1] not in known]
        x = np.concatenate([one.learns.x for one in strangers])
        y = np.concatenate([one.learns.y for one in strangers])
        return Fleet(bundle, run, strangers, None, Split(x, y))

    return make


FLEETS: dict[str, Callable[..., Fleet]] = {
    "digits": turned("digits", 10, "equal"),
    "digits, two classes each": turned("digits", 10, "classes:2"),
    "mnist, 100 devices": turned("fleet-mnist", 100, "equal", MNIST_SMALL),
    "mnist, 100 devices, two classes each": turned("fleet-mnist", 100, "classes:2", MNIST_SMALL),
    "watch": people("fleet-watch", "watch", WATCHED),
    "fsdd": people("fleet-fsdd", "fsdd", SPOKEN),
}
HOMES = {name: name.split(",")[0] for name in FLEETS}
"""Fleets of one home have one bundle."""
