"""An update of the program: what was learned with one bundle is carried over to another.

A state belongs to one bundle, because to another program its integers may mean something else.  Not
so where two bundles are of one lineage (`dfedge.learn.lineage`): they come of one trained net with
one set of scales.

    carried    what learning moved, with the rows of added classes; how far the dither and the
               running error are; the record: presentations, replayed ones, the job, the guard's
    not        the rates: they are the program's, so they are the new bundle's; a guard halves them
               as often as it had found it right
               from another semantics, also the dither and the running error: they begin anew;
               what steered learning there and no longer does is left behind

Samples that the new bundle brings to be judged by are scored before and after.  Where the old
bundle is not there, or of a semantics that this dfedge does not run, there is no "before": in one
semantics the scores are the same bits anyway, and from another one the new bundle's own state is
what the carried one is compared with.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from dfedge.bundle import Bundle, read_head
from dfedge.device.batches import parts
from dfedge.device.known import Known, judging_samples
from dfedge.device.rates import RATES
from dfedge.device.runners import Runner, open_best
from dfedge.device.store import Store, StoredState, belonging, check_rollback, default_folder
from dfedge.device.store.transfer import check_values
from dfedge.errors import DfedgeError
from dfedge.manifest import SEMANTICS_VERSION
from dfedge.state import MOVED, State, check_same_layout, digest

MOST_LOST = 50
"""One in so many of the known samples may be lost, unless it is forced."""
RUNNING = ("phase", "error")
"""The state that one semantics goes on from and another begins anew."""


@dataclass(frozen=True)
class Rebased:
    """A state that was carried over.

    Attributes:
        stored: as it belongs to the new bundle.
        judged: known samples that were scored.
        before: fraction of them recognised with the old bundle; None: it could not be run.
        after: the same with the new one.
        own: the same with the new one at its own first state.
        carried, renewed: tensors by name: taken along, and taken from the new bundle.
        semantics: versions, of the old bundle and of the new one.
    """

    stored: StoredState
    judged: int
    before: float | None
    after: float
    own: float
    carried: tuple[str, ...]
    renewed: tuple[str, ...]
    semantics: tuple[int, int]

    @property
    def known(self) -> float:
        """Fraction of the known samples that the carried state should recognise."""
        if self.before is not None:
            return self.before
        return self.after if len(set(self.semantics)) == 1 else self.own

    @property
    def lost(self) -> int:
        """How many known samples fewer it does."""
        return round((self.known - self.after) * self.judged)

    def told(self, where: Path, bundle: Bundle) -> str:
        """What was done, in one line."""
        before = "" if self.before is None else f"{_percent(self.before)} before and "
        return (
            f"{where}: carried over to {bundle.folder}; it recognises {before}"
            f"{_percent(self.after)} now of {self.judged} known samples (the bundle's own state: "
            f"{_percent(self.own)})"
        )


def rebased(
    stored: StoredState,
    bundle: Bundle,
    runner: Runner,
    where: Path,
    old: Bundle | None = None,
    force: bool = False,
) -> Rebased:
    """Carry a state over to a bundle; nothing is written.

    Args:
        stored: the state as another bundle has left it.
        bundle, runner: the new one, and its programs; they are left at any state.
        where: the state lies, for errors.
        old: the bundle that it belongs to, where it is there and can be run.
        force: whatever is lost.

    Raises:
        DfedgeError: of another lineage, of other classes or another layout, of a higher version, or
            more of what was known would be lost than `MOST_LOST` says.
    """
    first, semantics = bundle.initial_state(), bundle.manifest.semantics_version
    names = bundle.manifest.state_names
    _check_lineage(stored, bundle, where, old)
    check_rollback(stored.record, bundle, where)
    remedy = "export the run with the options of that bundle: --rule, --spare-classes"
    steered = {*RATES, *(n for n in stored.state if "." not in n and n not in first)}
    learned, shape = ({n: s[n] for n in s if n not in steered} for s in (stored.state, first))
    check_same_layout(learned, shape, where, remedy)
    check_values(stored.state, where)
    begun = stored.record.semantics_version or semantics  # an older dfedge's, that `old` has shown
    anew = RATES if begun == semantics else (*RATES, *RUNNING)
    state = {name: first[name] if name in anew else stored.state[name] for name in first}
    known = judging_samples(bundle)
    before = None
    if old is not None:
        before = _recognised(old, open_best(old, None).runner, stored.state, known)
    record = msgspec.structs.replace(belonging(bundle, stored.record), guarded=False)
    done = Rebased(
        replace(stored, state=state, record=record),
        len(known[1]),
        before,
        _recognised(bundle, runner, state, known),
        _recognised(bundle, runner, first, known),
        tuple(name for name in names if name not in anew),
        tuple(name for name in names if name in anew),
        (begun, semantics),
    )
    if done.lost * MOST_LOST > done.judged and not force:
        raise DfedgeError(
            f"{where}: with {bundle.folder} it would recognise {_percent(done.after)} of "
            f"{done.judged} known samples, and should {_percent(done.known)}; 1 in {MOST_LOST} may "
            "be lost; nothing was written; to rebase it anyway: dfedge state rebase "
            "--force"
        )
    return done


def rebase(
    bundle: Bundle,
    old: Path | None = None,
    state: Path | None = None,
    out: Path | None = None,
    runtime: str | None = None,
    require_signature: str | Path | None = None,
    force: bool = False,
) -> tuple[Store, Rebased]:
    """Carry a state folder over to a bundle, and save it as the newest in the bundle's own.

    Args:
        bundle: the new one.
        old: folder of the bundle that the state belongs to; None: it is no longer there.
        state: folder of the state; None: beside the old bundle, else beside the new one.
        out: folder that is written; None: beside the new bundle.
        runtime: that judges; None: the first that is installed.

    Raises:
        UsageError, DfedgeError: nothing was learned there, ``out`` holds what was learned with the
            new bundle, or as `rebased`.
        ResourceError: it cannot be saved.
    """
    target = Store(out or default_folder(bundle))
    source = Store(state or default_folder(old or bundle), read_only=True)
    if source.folder.resolve() == target.folder.resolve():
        source = target
    yardstick = _runnable(old, require_signature) if old else None
    stored = source.load(bundle, foreign=True)
    if stored is None:
        raise DfedgeError(
            f"{source.folder} holds nothing that was learned; use {bundle.folder} as it is"
        )
    if stored.record.bundle_sha256 == bundle.sha256:
        raise DfedgeError(f"{source.folder} belongs to {bundle.folder} already; nothing to carry")
    if old and stored.record.bundle_sha256 != read_head(old)[1]:
        raise DfedgeError(f"{source.folder} does not belong to {old}; give its own bundle")
    if target is not source and target.load(bundle) is not None:
        raise DfedgeError(
            f"{target.folder} holds what was learned with {bundle.folder}; choose another --out, "
            f"or delete it: dfedge state reset {bundle.folder}"
        )
    runner = open_best(bundle, runtime).runner
    done = rebased(stored, bundle, runner, source.folder, yardstick, force)
    target.save(done.stored)
    return target, done


def _runnable(folder: Path, require_signature: str | Path | None) -> Bundle | None:
    """The old bundle, which may be of any version; None: of a semantics that this dfedge lost."""
    if read_head(folder)[0].semantics_version < SEMANTICS_VERSION:
        return None
    return Bundle.open(folder, require_signature, min_version=0)


def _check_lineage(stored: StoredState, bundle: Bundle, where: Path, old: Bundle | None) -> None:
    manifest = bundle.manifest
    found = stored.record.lineage or (old.manifest.lineage if old is not None else "")
    if not found and old is None:
        raise DfedgeError(
            f"{where} names no lineage, because an older dfedge saved it; name its bundle too: "
            f"dfedge state rebase OLD --onto {bundle.folder}"
        )
    if old is not None and old.manifest.classes != manifest.classes:
        raise DfedgeError(
            f"{bundle.folder} has other classes than {old.folder} ({', '.join(manifest.classes)}; "
            f"{', '.join(old.manifest.classes)}); what was learned cannot be carried over"
        )
    same = found == manifest.lineage if found else old is not None and _alike(old, bundle)
    if not same:
        raise DfedgeError(
            f"{bundle.folder} is of another lineage ({manifest.lineage[:12] or 'none'}, {where} is "
            f"of {found[:12] or 'none'}): it comes from another run, or its run was calibrated "
            "anew; export the run of the old bundle, with its calibration"
        )


def _alike(old: Bundle, new: Bundle) -> bool:
    """Whether two bundles begin with the same weights: of those that name no lineage."""
    return _weights(old.initial_state()) == _weights(new.initial_state())


def _weights(state: State) -> str:
    return digest({n: v for n, v in state.items() if n.endswith(MOVED) or n == "planes"})


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _recognised(bundle: Bundle, runner: Runner, state: State, known: Known) -> float:
    """Fraction of samples that the state recognises in the bundle's programs."""
    runner.set_state(state)
    q, rows = known
    cut = parts(bundle.manifest.batches("infer"), len(q), f"{bundle.folder}: its programs")
    scores = np.concatenate([runner.infer(q[part]) for part in cut])
    return float((scores.argmax(1) == rows).mean())
