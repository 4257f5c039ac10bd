"""Flower carries the files: a strategy for its ServerApp, and a ClientApp's answer.

Messages hold bytes, as a device and a server would hand each other files: a base goes out, a delta
comes back, and all sums are `dfedge.fleet.merge`'s.  (Flower's own averaging would turn int8 into
float64.)  After every round the base lies in the server's folder, so that a run that is started
again goes on from it.  https://flower.ai, the package flwr.
"""

from collections.abc import Iterable
from logging import INFO, WARNING
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from flwr.serverapp.strategy.strategy_utils import sample_nodes

from dfedge.atomic import write_file
from dfedge.bundle import Bundle
from dfedge.data.dataset import Split
from dfedge.device.store import StoredState, exchange
from dfedge.errors import DfedgeError
from dfedge.fleet import gateway
from dfedge.fleet.base import Base, read_base, read_stored, write_base
from dfedge.fleet.device import Task, round_of
from dfedge.fleet.merge import merge

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
BASE, DELTA, ROUND = "base", "delta", "server-round"


def record_of(files: dict[str, bytes]) -> ArrayRecord:
    """Bytes, by name, as Flower carries them."""
    return ArrayRecord({name: Array(np.frombuffer(raw, np.uint8)) for name, raw in files.items()})


def bytes_of(message: Message) -> dict[str, bytes]:
    """What `record_of` made, by name.

    Raises:
        DfedgeError: something else is there.
    """
    found = {}
    try:
        for name, array in message.content.array_records[ARRAYS].items():
            found[name] = array.numpy()
    except (KeyError, ValueError, TypeError) as error:
        raise DfedgeError("a message without bytes") from error
    for name, values in found.items():
        if values.dtype != np.uint8:
            raise DfedgeError(f"{name}: {values.dtype}, not bytes")
    return {name: values.tobytes() for name, values in found.items()}


class IntegerMean(Strategy):  # type: ignore[misc]  # flwr is not there where this is checked
    """Rounds of a fleet.

    Attributes:
        base: the last, as the server has it.
        devices: how many must be there before a round begins; all that are there take part.
        speaks_for: deltas that a node may send; a gateway sends many.
    """

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        devices: int = 2,
        rule: str = "mean",
        bits: int = 8,
        late: int = 0,
        keys: list[Path] | None = None,
        speaks_for: int = 1,
    ) -> None:
        self.bundle, self.folder, self.devices = bundle, folder, devices
        self.speaks_for = speaks_for
        self.rule, self.late, self.keys = rule, late, keys
        folder.mkdir(parents=True, exist_ok=True)
        kept = sorted(one for one in folder.glob("base-*") if not one.suffix)
        self.base: Base = read_base(bundle, kept[-1] if kept else None, bits)

    def arrays(self) -> ArrayRecord:
        """The base, for `start`."""
        return record_of({BASE: exchange.write(self.base.state, self.base.record)})

    def summary(self) -> None:
        """See `Strategy`."""
        log(INFO, "\tbase %s, round %d, rule %s", self.base.sha256[:12], self.base.round, self.rule)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The base, to every device that is there."""
        there = sample_nodes(grid, self.devices, self.devices)[1]
        config[ROUND] = self.base.round + 1
        content = RecordDict({ARRAYS: self.arrays(), CONFIG: config})
        return [Message(content=content, message_type="train", dst_node_id=node) for node in there]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next base; where nothing came that can be merged, the base stays."""
        files = []
        for reply in replies:
            name = f"node {reply.metadata.src_node_id}"
            if reply.has_error():
                log(WARNING, "\t%s: no answer (%s)", name, reply.error.reason)
                continue
            try:
                files += self._sent(name, reply)
            except DfedgeError as error:
                log(WARNING, "\t%s: refused: %s", name, error)
        try:
            found = merge(self.bundle, self.base, files, self.rule, self.late, self.keys)
        except DfedgeError as error:
            log(WARNING, "\tround %d: %s", self.base.round + 1, error)
            return None, None
        for one in found.passed:
            log(WARNING, "\t%s: %s: %s", one.name, one.kind, one.why)
        for device in found.capped:
            log(WARNING, "\t%s: claims more samples than it may weigh", device)
        self.base = found.base
        write_base(self.base, self.folder / f"base-{self.base.round:04}")
        log(INFO, "\tround %d: base %s", self.base.round, self.base.sha256)
        up = sum(len(one.raw) for one in found.taken)
        return self.arrays(), MetricRecord({"merged": len(found.taken), "bytes-up": up})

    def _sent(self, node: str, reply: Message) -> list[tuple[str, bytes]]:
        sent = bytes_of(reply)
        if len(sent) > self.speaks_for:
            raise DfedgeError(f"{len(sent)} deltas; it may speak for {self.speaks_for}")
        return [(f"{node}, {name}", raw) for name, raw in sent.items()]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Devices are not asked how well they do."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """See `configure_evaluate`."""
        return None


def answer(
    message: Message,
    bundle: Bundle,
    learns: Split,
    task: Task,
    folder: Path,
    name: str,
    runtime: str | None = None,
) -> Message:
    """A ClientApp's reply to a base: what the device learned of its own samples.

    Args:
        others: as `dfedge.fleet.device.round_of`.

    Raises:
        DfedgeError: as `round_of`; Flower then tells the server that there is no answer.
    """
    raw = round_of(
        bundle, base_in(message, bundle, folder), learns, task, folder / "state", name, runtime
    )  # fmt: skip
    return _reply(message, {DELTA: raw}, len(learns))


def gathered(
    message: Message, bundle: Bundle, folder: Path, devices: int = 1, seconds: float = 600
) -> Message:
    """A ClientApp's reply for many devices that know files alone (`dfedge.fleet.gateway`).

    Args:
        folder: of the gateway.
        devices, seconds: it waits for so many, and no longer; the server's timeout must be longer.

    Raises:
        DfedgeError: nobody answered; Flower then tells the server so.
    """
    base = base_in(message, bundle, folder)
    home = gateway.put_out(bundle, base, message.content[CONFIG][ROUND], folder)
    log(INFO, "%s: waiting for %d devices", home, devices)
    found = gateway.waited(bundle, base, home, devices, seconds)
    for name, why in found.faults.items():
        log(WARNING, "%s: left out: %s", name, why)
    return _reply(message, found.deltas, len(found.deltas))


def _reply(message: Message, deltas: dict[str, bytes], count: int) -> Message:
    size = sum(len(raw) for raw in deltas.values())
    metrics = MetricRecord({"num-examples": count, "bytes": size})
    content = RecordDict({ARRAYS: record_of(deltas), METRICS: metrics})
    return Message(content=content, reply_to=message)


def base_in(message: Message, bundle: Bundle, folder: Path) -> StoredState:
    """The base that a message brings; it lies in the folder afterwards.

    Raises:
        DfedgeError: none, damaged, or of another bundle.
    """
    sent = bytes_of(message)
    if set(sent) != {BASE}:
        raise DfedgeError("a message without a base")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "base.safetensors"
    write_file(path, sent[BASE])
    return read_stored(bundle, path)
