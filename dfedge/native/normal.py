"""What a net in C says of normal operation, as C source beside ``net.c``.

    net_normal.h, net_normal.c      how far from normal a sample is, and following a slow drift

A linker takes them into a program that calls them, and leaves them out of any other.
"""

from typing import NamedTuple

FILES = ("net_normal.h", "net_normal.c")
RATE = 3
"""Right shift by which a normal sample moves its mode's anchors: an eighth of the way."""
REACH = 8
"""How many times as far as the threshold a mode may move from where it was at first."""


class NormalRule(NamedTuple):
    """``dfe_normal`` of C: squared distances, and a shift."""

    threshold: int
    reach: int
    rate: int = RATE


def rule_of(threshold: int) -> NormalRule:
    """The rule of a bundle's threshold, a squared distance."""
    return NormalRule(threshold, REACH**2 * threshold)


def files(threshold: int) -> dict[str, str]:
    """The content of `FILES`."""
    return dict(zip(FILES, (HEADER, _source(threshold)), strict=True))


def _source(threshold: int) -> str:
    fields = ", ".join(f".{name} = {value}" for name, value in rule_of(threshold)._asdict().items())
    return SOURCE.replace("@FIELDS", fields)


HEADER = """/* Made by dfedge export: what is normal; see dfedge/normal.h.
 *
 *     net_reset();
 *     if (!net_is_normal(x)) alarm();
 *     else net_follow(x);    a slow drift is learned
 */
#ifndef NET_NORMAL_H
#define NET_NORMAL_H

#include "dfedge/normal.h"
#include "net.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Threshold and rates. */
const dfe_normal *net_normal(void);

/* Of one sample x: squared distance to the nearest mode of normal operation, whose number is
 * written where mode is not NULL; less a dfe_status where the sample is refused. */
int64_t net_distance(const int8_t *x, int32_t *mode);
int net_is_normal(const int8_t *x);

/* Let one sample teach if it is normal; 1 where it did. */
int net_follow(const int8_t *x);

#ifdef __cplusplus
}
#endif

#endif
"""

SOURCE = """/* Made by dfedge export: what is normal. */
#include "net_normal.h"

static const dfe_normal normal = {@FIELDS};
static int8_t seen[NET_SEEN]; /* RAM beside the state and the arena */

static int look(const int8_t *x) {
    if (net_busy()) return DFE_BUSY;
    return dfe_features(net_program(), net_state(), 1, x, seen, NULL, net_arena(), NET_ARENA_BYTES);
}

const dfe_normal *net_normal(void) { return &normal; }

int64_t net_distance(const int8_t *x, int32_t *mode) {
    int status = look(x);
    return status == DFE_OK ? dfe_distance(net_program(), net_state(), seen, mode) : -status;
}

int net_is_normal(const int8_t *x) {
    int64_t far = net_distance(x, NULL);
    return far >= 0 && far <= normal.threshold;
}

int net_follow(const int8_t *x) {
    if (look(x) != DFE_OK) return 0;
    return dfe_follow(net_program(), &normal, net_state(), net_first(), seen);
}
"""
