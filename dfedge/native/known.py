"""What ``dfedge/care.h`` asks for as C source, beside ``net.c``: samples of what a net knows, to
replay and to judge by, and the rates to begin with.

    net_known.h, net_known.c    these, ``net_care``: all that learning without harm asks for, and
                                ``net_add_class``

A linker takes them into a program that calls ``net_care``, and leaves them out of any other.
"""

from collections.abc import Mapping
from string import Template
from typing import Any

from numpy.typing import NDArray

from dfedge.native.included import Part, assembly
from dfedge.native.instructions.bound import KnownCounts
from dfedge.native.spelled import numbers
from dfedge.state import SHIFTS

FILES = ("net_known.h", "net_known.c")
DATA, PACKED = "net_known_data.S", "net_known.bin"
"""Where samples are included: for the assembler, and what it includes."""
PARTS = ("replay", "judge")
MOST, MAX_BYTES = 64, 1 << 21
"""Samples of each kind in C, and the bytes above which there are fewer."""


def fitting(known: Mapping[str, NDArray[Any]], flash_bytes: int) -> dict[str, NDArray[Any]]:
    """As many samples as C takes and as fit a flash; nothing where none fits.

    Args:
        known: as ``dfedge.bundle.Bundle.known`` gives them: one of each class in turn, so that
            fewer still are of every class.
        flash_bytes: that are left.
    """
    if not known or not all(len(known[f"{part}.y"]) for part in PARTS):
        return {}
    each = known["replay.x"][0].nbytes + 4  # with its row
    count = min(MOST, MAX_BYTES // each, flash_bytes // (len(PARTS) * each))
    if count <= 0:
        return {}
    return {n: values if n in SHIFTS else values[:count] for n, values in known.items()}


def files(known: Mapping[str, NDArray[Any]], binary: bool = False) -> dict[str, str | bytes]:
    """What is written of what `fitting` left, by name; none where there is nothing.

    Args:
        binary: samples are included by an assembler, not spelled out.
    """
    if not known:
        return {}
    header, source = FILES
    found: dict[str, str | bytes] = {header: _header(known), source: _source(known, binary)}
    return found | (_included(known) if binary else {})


def flash_bytes(known: Mapping[str, NDArray[Any]]) -> int:
    """What the samples of `fitting` take; 0 where there are none."""
    parts = [part for part in PARTS if known]
    return sum(known[f"{part}.x"].nbytes + 4 * len(known[f"{part}.y"]) for part in parts)


def counted(known: Mapping[str, NDArray[Any]]) -> KnownCounts | None:
    """How many samples `fitting` left; None where there are none."""
    return KnownCounts(*(len(known[f"{part}.y"]) for part in PARTS)) if known else None


def _header(known: Mapping[str, NDArray[Any]]) -> str:
    flash = flash_bytes(known)
    return f"""/* Made by dfedge export: learning that does no harm; see dfedge/care.h.
 *
 *     net_load(&flash);      of net_store.h, or net_reset()
 *     dfe_care *care = net_care();
 *     dfe_care_begin(care);
 *     dfe_learn(care, x, row, scores);
 *     net_care_end();        before net_save(&flash)
 */
#ifndef NET_KNOWN_H
#define NET_KNOWN_H

#include "dfedge/care.h"
#include "dfedge/new_class.h"
#include "net.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define NET_REPLAYED {len(known["replay.y"])}
#define NET_JUDGING {len(known["judge.y"])}
#define NET_KNOWN_BYTES {flash} /* of flash */

/* New samples that are judged by, at most 8 between two judgements; 0 spares their RAM. */
#ifndef NET_RECENT
#define NET_RECENT 8
#endif

#define NET_CARE_WORDS (NET_CLASSES + NET_LAYERS + (NET_JUDGING + 31) / 32)

/* Of RAM, beside NET_STATE_BYTES and NET_ARENA_BYTES. */
#define NET_CARE_BYTES                                                        \\
    (sizeof(dfe_care) + NET_STATE_BYTES + 4 * (NET_CARE_WORDS + NET_RECENT) + \\
     NET_RECENT * NET_HEIGHT * NET_WIDTH * NET_CHANNELS)

/* Filled in anew for this net, with the memory that it needs and with what net_learned says of
 * learning before; not begun. */
dfe_care *net_care(void);

/* dfe_care_end, and net_learned says what was learned, so that net_save keeps it; what is
 * replayed is not counted. */
int net_care_end(void);

/* Words of room that a new class of so many samples takes. */
#define NET_CLASS_ROOM(count) \\
    ((DFE_NEW_CLASS_BYTES((count) + NET_REPLAYED, NET_JUDGING, NET_SEEN, NET_CLASSES) + 7) / 8)

/* Give `count` samples x of a new class a row, placed among the known samples as dfedge add-class
 * does: the anchors of all classes move, and only the new row's once net_learned counts steps.  Of
 * the samples that judge no more than DFE_LOST in 100 are lost, over all classes that are added.
 * room has NET_CLASS_ROOM(count) words.  A dfe_status; DFE_BAD_LABEL: no row is left (dfedge export
 * --spare-classes).  net_care is to be called anew. */
int net_add_class(const int8_t *x, int32_t count, int64_t *room, size_t room_words, int32_t *row);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _arrays(known: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Samples and their rows by what they are called in C."""
    arrays = {f"net_{part}_{one}": known[f"{part}.{one}"] for part in PARTS for one in "xy"}
    return {name: values.astype(values.dtype.newbyteorder("<")) for name, values in arrays.items()}


def _included(known: Mapping[str, NDArray[Any]]) -> dict[str, str | bytes]:
    """The samples as they lie in memory, and the file by which an assembler takes them."""
    arrays, parts, offset = _arrays(known), [], 0
    for name, values in arrays.items():
        parts.append(Part(name, offset, values.nbytes))
        offset += values.nbytes
    packed = b"".join(values.tobytes() for values in arrays.values())
    return {
        PACKED: packed,
        DATA: assembly("samples of what the net knows", (PACKED, packed), parts),
    }


def _source(known: Mapping[str, NDArray[Any]], binary: bool) -> str:
    lines = [
        "/* Made by dfedge export: what the net knows. */",
        '#include "net_known.h"',
        "",
    ]
    for name, values in _arrays(known).items():
        kind = f"{values.dtype.name}_t"
        if binary:
            lines.append(f"extern const {kind} {name}[];")
        else:
            lines += [f"static const {kind} {name}[] = {{", *numbers(values), "};", ""]
    lines += [""] * binary
    shifts = [name for name in SHIFTS if name in known]
    for name in shifts:
        lines += [f"static const int8_t {name}[] = {{", *numbers(known[name]), "};", ""]
    rates = "".join(f"\n        .{name} = {name}," for name in shifts)
    return "\n".join([*lines, CARE.substitute(rates=rates)])


CARE = Template("""static dfe_care care;
static uint32_t counted; /* of care.samples, in net_learned */
static int32_t good[NET_STATE_BYTES / 4];
static int32_t words[NET_CARE_WORDS];
#if NET_RECENT
static int8_t recent_x[NET_RECENT * NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
static int32_t recent_y[NET_RECENT];
#endif

dfe_care *net_care(void) {
    const net_counts *learned = net_learned();
    const dfe_care filled = {
        .program = net_program(),
        .state = net_state(),
        .good = good,
        .first = net_first(),$rates
        .replay = {net_replay_x, net_replay_y, NET_REPLAYED},
        .judge = {net_judge_x, net_judge_y, NET_JUDGING},
#if NET_RECENT
        .recent_x = recent_x,
        .recent_y = recent_y,
        .recent_most = NET_RECENT,
#endif
        .words = words,
        .arena = net_arena(),
        .arena_bytes = NET_ARENA_BYTES,
        .samples = (uint32_t)learned->samples,
        .doublings = learned->doublings,
        .caution = learned->caution,
    };
    care = filled;
    counted = care.samples;
    return &care;
}

int net_care_end(void) {
    net_counts *learned = net_learned();
    int status = dfe_care_end(&care);
    learned->steps += care.samples - counted;
    learned->samples += care.samples - counted;
    counted = care.samples;
    learned->doublings = care.doublings;
    learned->caution = care.caution;
    return status;
}

int net_add_class(const int8_t *x, int32_t count, int64_t *room, size_t room_words,
                  int32_t *row) {
    if (net_busy()) return DFE_BUSY;
    const int8_t *live = (const int8_t *)net_state() + net_program()->live;
    int32_t spare = NET_NAMED;
    while (spare < NET_CLASSES && live[spare]) spare++;
    const dfe_new_class given = {
        .program = net_program(),
        .state = net_state(),
        .row = spare,
        .own = NET_NAMED,
        .first = net_learned()->steps ? NULL : net_first(),
        .x = x,
        .count = count,
        .known = {net_replay_x, net_replay_y, NET_REPLAYED},
        .judge = {net_judge_x, net_judge_y, NET_JUDGING},
        .lost = DFE_LOST,
        .room = room,
        .room_bytes = 8 * room_words,
        .arena = net_arena(),
        .arena_bytes = NET_ARENA_BYTES,
    };
    int status = dfe_add_class(&given);
    if (status == DFE_OK) *row = spare;
    return status;
}
""")
