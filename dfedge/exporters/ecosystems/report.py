"""The report of every folder: a program whose printed lines say what a board did, and how fast."""

import zlib
from dataclasses import dataclass
from string import Template

import numpy as np

from dfedge.exporters.ecosystems import Ecosystem
from dfedge.exporters.ecosystems.firmware import Firmware
from dfedge.native.naming import c_string, renamed
from dfedge.native.program import NativeProgram

REPORT = "examples/report"
"""Folder of the program."""
STEPS = 8
STRIDES = 7, 13
"""A sample's values: of the place in it, and of the step, times these, modulo 128."""


@dataclass(frozen=True)
class Gauge:
    """What differs from one board to the next.

    Attributes:
        includes: lines of it.
        board: its name, as far as it is known.
        write: the body of ``write_text``.
        ticks: an expression of the time, and in words of what.
        stack: an expression of the stack that was used; 0: not known.
        main: what calls ``report``.
    """

    includes: str
    board: str
    write: str
    ticks: tuple[str, str]
    stack: str = "0"
    main: str = "int main(void) { return report(); }"


UNKNOWN = "not named"
HOSTED = Gauge(
    "#include <stdio.h>\n#include <time.h>\n",
    UNKNOWN,
    "fputs(text, stdout);",
    ("(uint32_t)clock()", "parts of a second, CLOCKS_PER_SEC to one"),
)
ARDUINO = Gauge(
    "#include <Arduino.h>\n",
    UNKNOWN,
    "Serial.print(text);",
    ("(uint32_t)micros()", "microseconds"),
    main="""void setup() {
    Serial.begin(115200);
    while (!Serial) {
    }
    report();
}

void loop() {}""",
)


def on_board(target: str) -> Gauge:
    """With the startup code that a folder for an emulated board brings."""
    return Gauge(
        '#include "board/board.h"\n',
        f"{target} in QEMU",
        "board_write(text);",
        ("board_ticks()", "ticks of SysTick at the processor's clock"),
        "board_stack_used()",
    )


def expected(program: NativeProgram, named: int) -> int:
    """The CRC-32 of the state after `STEPS` steps, one sample each.

    Args:
        program: at the state that is exported; it learns.
        named: rows that are in use.
    """
    shape, (across, along) = program.plan.input_shape, STRIDES
    places = across * np.arange(np.prod(shape)).reshape(1, *shape)
    for step in range(STEPS):
        x = ((places + along * step) % 128).astype(np.int8)
        program.train(x, np.array([step % named], np.int32))
    return zlib.crc32(program.state.tobytes())


def report(firmware: Firmware, ecosystem: Ecosystem) -> dict[str, str]:
    """Its path and its source, C99 and C++11."""
    if ecosystem.sketches:
        return {f"{REPORT}/report.ino": _source(ARDUINO, firmware)}
    gauge = on_board(firmware.target) if firmware.cpu and ecosystem.startup else HOSTED
    return {f"{REPORT}/main.c": _source(gauge, firmware)}


def _source(gauge: Gauge, firmware: Firmware) -> str:
    text = TEXT.substitute(
        includes=gauge.includes,
        board=c_string(gauge.board),
        write=gauge.write,
        ticks=gauge.ticks[0],
        unit=c_string(gauge.ticks[1]),
        stack=gauge.stack,
        main=gauge.main,
        steps=STEPS,
        across=STRIDES[0],
        along=STRIDES[1],
        expected=f"0x{firmware.checksum:08x}",
    )
    return renamed(text, firmware.prefix)


TEXT = Template("""/* What a board did: send the printed lines back, please.  Made by dfedge export.
 *
 * REPLACE what is marked so; leave the rest as it is. */
$includes
#include "dfedge/config.h"
#include "dfedge/crc32.h"
#include "net.h"

#define BOARD_NAME $board /* REPLACE: board, processor, clock */
#define TICK_UNIT $unit /* REPLACE, with the next: of ticks() */

static uint32_t ticks(void) { return $ticks; }

static void write_text(const char *text) { $write } /* REPLACE: a serial line */

enum { STEPS = $steps, VALUES = NET_HEIGHT * NET_WIDTH * NET_CHANNELS, TICK_BITS = 24 };

static void tell(const char *name, uint32_t value, uint32_t base, const char *after) {
    char digits[12];
    int at = (int)sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    write_text(name);
    write_text(digits + at);
    write_text(after);
}

static uint32_t passed(uint32_t since) { return (ticks() - since) & ((1u << TICK_BITS) - 1); }

/* 0 where the state is the host's, to the last bit. */
static int report(void) {
    static int8_t x[VALUES];
    static net_answer answer;
    const uint32_t on_the_host = $expected;
    uint32_t predicting = 0, learning = 0;
    int failed = 0;
    net_reset();
    for (int32_t step = 0; step < STEPS && !failed; step++) {
        for (int32_t i = 0; i < VALUES; i++) x[i] = (int8_t)((i * $across + step * $along) % 128);
        uint32_t since = ticks();
        failed = net_predict(x, &answer);
        predicting = passed(since);
        since = ticks();
        if (!failed) failed = net_learn(x, step % NET_NAMED, &answer);
        learning = passed(since);
    }
    uint32_t sum = dfe_crc32(0, net_state(), NET_STATE_BYTES);
    write_text("board " BOARD_NAME "\\ncompiler " __VERSION__ "\\nkernels ");
#if DFE_MVE
    write_text("Helium");
#elif DFE_SIMD32
    write_text("SMLAD");
#elif DFE_SCALAR
    write_text("scalar");
#else
    write_text("of a machine with an operating system");
#endif
    tell("\\nbytes of table ", NET_TABLE_BYTES, 10, "");
    tell(", state ", NET_STATE_BYTES, 10, "");
    tell(", arena ", NET_ARENA_BYTES, 10, "");
    tell(", stack ", (uint32_t)$stack, 10, " (0: not measured)\\n");
    tell("a prediction ", predicting, 10, " " TICK_UNIT "\\n");
    tell("a step of learning ", learning, 10, " " TICK_UNIT "\\n");
    tell("failed calls ", (uint32_t)failed, 10, "\\n");
    tell("state after the steps ", sum, 16, ", ");
    write_text(sum == on_the_host ? "the host's\\n" : "NOT the host's\\n");
    return failed || sum != on_the_host;
}

$main
""")
