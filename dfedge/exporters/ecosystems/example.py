"""The example of every folder: predict, learn with a label, save."""

from dataclasses import dataclass
from string import Template

from dfedge.native.naming import renamed


@dataclass(frozen=True)
class Shell:
    """What differs from one ecosystem to the next.

    Attributes:
        includes: lines of it.
        tell: the body of ``tell``, which shows an answer.
        main: what calls ``start`` once and ``turn`` again and again.
    """

    includes: str
    tell: str
    main: str


PRINTED = r'printf("%s, ahead by %ld\n", net_labels[answer->row], (long)answer->margin);'
HOSTED = Shell("#include <stdio.h>\n", f"    {PRINTED}", "")
MAIN = """int main(void) {
    int failed = start();
    for (int i = 0; i < 4 && !failed; i++) failed = turn();
    return failed;
}"""


def _bare(include: str, tell: str) -> Shell:
    """For a bare machine, and for a host as well."""
    return Shell(
        f"#if __STDC_HOSTED__\n#include <stdio.h>\n{include}#endif\n",
        f"#if __STDC_HOSTED__\n    {PRINTED}\n#else\n    {tell}\n#endif",
        MAIN,
    )


BARE = _bare("", "(void)answer; /* REPLACE: a serial line, a lamp */")
ON_BOARD = _bare(
    '#else\n#include "board/board.h"\n',
    r"""board_write(net_labels[answer->row]);
    board_write(answer->unsure ? ", unsure\n" : "\n");""",
)
"""With the startup code that a folder for an emulated board brings."""


def example(shell: Shell, prefix: str) -> str:
    """The source, C99 and C++11."""
    return renamed(TEXT.substitute(vars(shell)), prefix)


TEXT = Template("""/* Predict, learn from a label, save: made by dfedge export for you to change. */
#include <string.h>
$includes
#include "net.h"
#include "net_store.h"

/* REPLACE: two slots in your chip's flash. Here they lie in RAM, so that this runs everywhere. */
enum { SECTOR = 4096, UNIT = 8 };
static uint8_t flash[2 * NET_SLOT_BYTES(SECTOR, UNIT)];

static int read_flash(void *context, uint32_t at, void *into, uint32_t bytes) {
    (void)context;
    memcpy(into, flash + at, bytes);
    return 0;
}

static int program_flash(void *context, uint32_t at, const void *from, uint32_t bytes) {
    (void)context;
    memcpy(flash + at, from, bytes);
    return 0;
}

static int erase_flash(void *context, uint32_t at, uint32_t bytes) {
    (void)context;
    memset(flash + at, 0xFF, bytes);
    return 0;
}

static int flush_flash(void *context) { /* wait until the last write is done */
    (void)context;
    return 0;
}

/* REPLACE: one sample, values 0..127, and the row of its class; -1: nobody says it. */
static int32_t sense(int8_t *x) {
    static int32_t turns;
    for (int32_t i = 0; i < NET_HEIGHT * NET_WIDTH * NET_CHANNELS; i++)
        x[i] = (int8_t)((i * 7 + turns) % 128);
    return turns++ % 2 ? 0 : -1;
}

static void tell(const net_answer *answer) {
$tell
}

static dfe_store store;

/* Go on from what was saved; 0 where that is all right. */
static int start(void) {
    store.medium.read = read_flash;
    store.medium.program = program_flash;
    store.medium.erase = erase_flash;
    store.medium.flush = flush_flash;
    store.medium.slot_bytes = NET_SLOT_BYTES(SECTOR, UNIT);
    store.medium.unit = UNIT;
    int status = net_load(&store); /* damaged: no slot is whole, as flash that was never erased */
    return status == DFE_STORE_EMPTY || status == DFE_STORE_DAMAGED ? DFE_STORED : status;
}

/* One sample; 0 where that is all right. A save takes an erase: in a product, seldom. */
static int turn(void) {
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static net_answer answer;
    int32_t row = sense(x);
    int status = row < 0 ? net_predict(x, &answer) : net_learn(x, row, &answer);
    if (status != DFE_OK) return status;
    tell(&answer);
    return row < 0 ? 0 : net_save(&store);
}

$main
""")
