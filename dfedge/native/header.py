"""What is written of a net as C source, and its header: sizes and calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dfedge.data.inputs.rule import InC
from dfedge.native.image import Identity
from dfedge.native.naming import NET
from dfedge.native.table import ProgramTable


@dataclass(frozen=True)
class NetSources:
    """What is written of a net.

    Attributes:
        shape: [H, W, C] of a sample.
        state: the first.
        classes: names of the rows that are in use.
        batch: the most samples of one call.
        arena_bytes: that it works in.
        unsure_below: the lead over the runner-up below which an answer is unsure; 0: not known.
        input: how a sample is made into x.
        prefix: what names and files begin with.
        binary: numbers are included by an assembler (`dfedge.native.included`), not spelled out.
    """

    shape: tuple[int, int, int]
    table: ProgramTable
    state: Mapping[str, NDArray[Any]]
    classes: tuple[str, ...]
    batch: int
    arena_bytes: int
    identity: Identity
    unsure_below: int = 0
    input: InC | None = None
    prefix: str = NET
    binary: bool = False


def header(net: NetSources) -> str:
    """``net.h``."""
    table, identity = net.table, net.identity
    height, width, channels = net.shape
    lineage = [f"0x{byte:02x}" for byte in identity.lineage_bytes]
    row = ", \\\n      "
    rows = row.join(", ".join(lineage[i : i + 8]) for i in range(0, len(lineage), 8))
    return f"""/* Made by dfedge export; see dfedge/dfedge.h for what the calls do and refuse.
 *
 * One net, one state, one arena: no call may run beside another, whether of a second thread or of
 * an interrupt; no call waits or allocates. */
#ifndef NET_H
#define NET_H

#include "dfedge/dfedge.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define NET_HEIGHT {height}
#define NET_WIDTH {width}
#define NET_CHANNELS {channels}
#define NET_CLASSES {table.program["classes"]}
#define NET_NAMED {len(net.classes)} /* of the rows; those above are kept for classes to come */
#define NET_LAYERS {table.program["layers"]}
#define NET_SEEN {_seen(table)} /* bytes that dfe_features gives of a sample, without its latent */
#define NET_BATCH {net.batch}
#define NET_TABLE_BYTES {table.words.nbytes}
#define NET_STATE_BYTES {table.state_bytes}
#define NET_ARENA_BYTES {net.arena_bytes}
#define NET_UNSURE_BELOW {net.unsure_below} /* of a margin; 0: no held-out samples set it */

/* A dfe_record of this net, for dfe_identify: see dfedge/rebase.h and dfedge/store.h. */
#define NET_RECORD \\
    {{0, 0, \\
     {{{rows}}}, \\
     {identity.bundle_version}, {identity.semantics_version}, 0, 0, 0, 0}}

/* Names of the classes, UTF-8; empty: a row that is kept for a class to come. */
extern const char *const net_labels[NET_CLASSES];

/* The table, with a trunk's constants, and the state in memory: what training changes. */
const dfe_program *net_program(void);
void *net_state(void);

/* Back to the state that was exported; the first thing to call. That state lies in flash. */
void net_reset(void);
const void *net_first(void);

/* What all calls below work in, NET_ARENA_BYTES. */
void *net_arena(void);

/* At most NET_BATCH samples; a dfe_status. */
int net_infer(int32_t batch, const int8_t *x, int32_t *scores);
int net_step(int32_t batch, const int8_t *x, const int32_t *y, int32_t *scores, int32_t *active);

typedef struct {{
    int32_t row;    /* of the nearest class: net_labels[row] */
    int32_t score;  /* larger is nearer; to be compared within one sample */
    int64_t margin; /* lead over the runner-up: near 0 it is a guess */
    int unsure;     /* margin < NET_UNSURE_BELOW: the runner-up is at least a third as probable */
    int32_t scores[NET_CLASSES];
}} net_answer;

/* One sample, and the same with its class's row, from which it learns: the answer is that before.
 * A dfe_status; where it is not DFE_OK the answer is of no use. */
int net_predict(const int8_t *x, net_answer *answer);
int net_learn(const int8_t *x, int32_t row, net_answer *answer);

/* The same in slices, for a loop that has other work to do: begin, then call net_go until it gives
 * something else than DFE_MORE.  x and answer stay where they are until then; the bits are the
 * same.  Until it is done the calls above give DFE_BUSY, and net_save DFE_STORE_BUSY; net_reset and
 * net_load give it up. */
int net_begin_predict(const int8_t *x, net_answer *answer);
int net_begin_learn(const int8_t *x, int32_t row, net_answer *answer);
int net_go(void);
int net_busy(void);

/* What was learned since the export, for a record: counted by net_step and net_learn. */
typedef struct {{
    uint64_t steps, samples;
    int32_t doublings, caution; /* of dfe_care */
}} net_counts;

net_counts *net_learned(void);
{_input_declared(net.input)}
#ifdef __cplusplus
}}
#endif

#endif
"""


def _seen(table: ProgramTable) -> int:
    anchors = (t.shape for name, t in table.tensors.items() if name.endswith(".anchors"))
    return sum(features for _, features in anchors)


def _input_declared(input: InC | None) -> str:
    return f"\n/* {input.says} */\n{input.prototype};\n" if input else ""
