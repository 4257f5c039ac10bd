"""README.md of an exported folder: figures, calls, rules."""

from string import Template

from dfedge.exporters.ecosystems import Ecosystem, figures
from dfedge.exporters.ecosystems.firmware import Firmware
from dfedge.native.instructions.bound import SECTOR
from dfedge.native.instructions.kernels import MEANT, SETS
from dfedge.native.naming import renamed

TEXT = Template("""# $prefix: a net in C that keeps learning

$use
`examples/learn` predicts, learns from a label and saves. `examples/report` prints what your board
did, how fast, and whether its bits are the host's.

| | bytes |
|---|---|
| RAM: arena, what calls work in | $arena |
| RAM: state, what learning changes | $state |
| flash: table and first state | $flash |
$known$code
C99 without allocation, floating point or an operating system, for any build system: how it is to be
compiled stands in `dfedge/config.h`. C++ includes the headers as they are.

| call | does |
|---|---|
| `net_load(&store)` or `net_reset()` | first of all: the state from flash, or as exported |
| `net_predict(x, &answer)` | row of the nearest class, its score, its lead over the runner-up |
| `net_learn(x, row, &answer)` | learns one sample; the answer is that before it |
| `net_begin_learn`, `net_begin_predict`, `net_go()` | the same in slices |
| `net_infer`, `net_step` | the same of several samples at a time, here at most $batch |
| `net_save(&store)` | keeps what was learned, whenever the power goes |
| `net_forget(&store)` | erases what was learned |
| `net_export(write, context)` | what was learned, as a state file for a fleet or dfedge-run |
| `net_import(read, context)` | continues from such a file |
$care
x is int8 [NET_HEIGHT, NET_WIDTH, NET_CHANNELS], values 0..127.$input
`net_labels[row]` is a class's name. $unsure
Calls give a `dfe_status` or a `dfe_store_status`, 0 where it was done; what is refused is refused
before anything changes.

${time}**Threads.** One state and one arena: no call may run beside another of the same net,
whether of a second thread or of an interrupt. There are no locks. Nets of other prefixes may run
at one time.

**Slices.** Call `net_go` until it gives other than `DFE_MORE`; in between a watchdog and a loop of
your own go on. So long the other calls give `DFE_BUSY`, `net_save` gives `DFE_STORE_BUSY`, and
`dfe_learn` is not to be called. `net_load` and `net_reset` give up what was begun.

**Two nets** in one firmware: export each with its own `--prefix`, by one version of dfedge, and
delete `dfedge/` in one of them: the other's serves both.

**Sections.** `NET_ARENA_SECTION`, `NET_STATE_SECTION` and `NET_CONST_SECTION` say where arena,
state and constants lie: `-D'NET_ARENA_SECTION=__attribute__((section(".dtcm")))'`.

${data}**Flash.** Give `store.medium` four functions (read, program, erase, flush), `unit`, the
bytes that are programmed at once, and `slot_bytes`, `NET_SLOT_BYTES(sector, unit)`; it holds two
slots. Each save erases one of them: flash wears, so save seldom. A state of another net is refused
(DFE_STORE_FOREIGN) and not written over; one of an older version of this net continues by
`net_rebase(&store)`.

Licence: `dfedge/` and what calls it Apache-2.0 (LICENSE); the net's numbers are those of whoever
trained it.
""")
SMALL = f"""\
| flash: code, at most | {figures.CODE_BYTES:,} |
| stack of a call, at most | {figures.STACK_BYTES:,} |

Code and stack: {figures.HOW}.
"""
LARGE = """\
| stack of a call | about 32,000 (x86-64): tiles for vectors |

For a microcontroller export with `--target`: then a call needs a tenth of this stack or less.
"""
TIME = """\
**Time.** Instructions of a call, at most: every input other than zero, the sample misjudged, every
weight moved. Computed from the net's plan, for {how}.

| | {meant} |
|{lines}
{rows}
An instruction is not a cycle: a chip's wait states, caches and multiplier decide how long one
takes. Interrupts, and what your functions for flash take, come to it; `net_load` is of two slots of
whole sectors of {sector:,} bytes. Processors of other instruction sets are not counted.

"""
DATA = """\
**Numbers.** An assembler takes them from `net.dfe` and `net_known.bin`, by `net_data.S` and
`net_known_data.S`. It finds them by `-I` of this folder, which the build files here give it. For a
compiler whose objects are not ELF export with `--weights text`.

"""
KNOWN = "| flash: known samples, where net_care is called | {:,} |\n"
CARE = (
    "| `net_care()`, `dfe_learn`, `net_care_end()` | learning that does no harm: `net_known.h` |\n"
    "| `net_add_class(x, count, room, words, &row)` | a class that is new, from a few samples |\n"
)
NORMAL = (
    "| `net_is_normal(x)`, `net_distance`, `net_follow` | how far from normal, and following a "
    "slow drift: `net_normal.h` |\n"
)
UNSURE = (
    "`answer.unsure`: the runner-up is at\nleast a third as probable, as held-out samples showed "
    "at export."
)
GUESS = "`answer.margin` near 0 is\na guess; no threshold comes with the net."


def readme(firmware: Firmware, ecosystem: Ecosystem) -> str:
    """The text."""
    net, known = firmware.net, firmware.known_bytes
    state, made = net.table.state_bytes, net.input.prototype if net.input else ""
    text = TEXT.substitute(
        prefix=firmware.prefix,
        use=ecosystem.use.format(prefix=firmware.prefix),
        arena=f"{net.arena_bytes:,}",
        state=f"{state:,}",
        flash=f"{net.table.words.nbytes + state:,}",
        known=KNOWN.format(known) if known else "",
        code=SMALL if firmware.small else LARGE,
        batch=net.batch,
        time=_time(firmware) if firmware.small else "",
        care=(CARE if known else "") + (NORMAL if firmware.normal else ""),
        unsure=UNSURE if net.unsure_below else GUESS,
        data=DATA if net.binary else "",
        input=f"\n`{made}` makes it of a raw sample." if made else "",
    )
    return renamed(text, firmware.prefix)


def _time(firmware: Firmware) -> str:
    """The bounds of all calls; nothing where there are none."""
    if not firmware.instructions:
        return ""
    rows = []
    for call, by_set in firmware.instructions.items():
        name, _, rest = call.partition(", ")
        said = f"`{name}`" + (f", {rest}" if rest else "")
        rows.append(f"| {said} | {' | '.join(f'{by_set[k.name]:,}' for k in SETS)} |\n")
    return TIME.format(
        how=figures.COMPILER,
        meant=" | ".join(MEANT[k.name] for k in SETS),
        lines="---|" * (len(SETS) + 1),
        rows="".join(rows),
        sector=SECTOR,
    )
