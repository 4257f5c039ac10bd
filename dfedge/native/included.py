"""The table and the first state of a net, and known samples, as an assembler includes them.

    net.dfe             the image that dfedge-run reads (`dfedge.native.image`)
    net_data.S          takes the table and the first state from it
    net_known.bin       samples of what the net knows
    net_known_data.S    takes them from it

A compiler reads no number of theirs, and a folder holds them once.  What is included lies as it
does in the memory of a little-endian processor, and the lines around it are of ELF: for others
numbers are spelled out (`dfedge.native.spelled`).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from dfedge.native.image import HEAD_BYTES, IMAGE
from dfedge.native.table import ProgramTable

DATA = "net_data.S"
SUFFIX = ".S"
"""Of what an assembler reads, behind the preprocessor of C."""

DECLARED = """/* They lie in net_data.S. */
typedef struct {
    int32_t words[NET_STATE_BYTES / 4];
} net_state_type;

extern const union {
    dfe_program program;
    int32_t words[NET_TABLE_BYTES / 4];
} net_table;
extern const net_state_type net_state_first;"""
"""What ``net.c`` says of the table and the first state."""

HEAD = """/* Made by dfedge export: {what}, out of {file}, CRC-32 {sum:08x}. */
#ifndef __ELF__
#error "this object format has no place for binary data; run: dfedge export --weights text"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the data are of little-endian processors; run: dfedge export --weights text"
#endif
"""
PLACED = """
/* So that NET_CONST_SECTION says in one way for C and for this file where constants lie. */
#define section(name) name
#define NET_ATTRIBUTE(one) one
#define __attribute__(list) NET_ATTRIBUTE list
#ifndef NET_CONST_SECTION
#define NET_CONST_SECTION .rodata
#endif
    .section NET_CONST_SECTION, "a"
"""
READ_ONLY = '\n    .section .rodata, "a"\n'
ALIGNMENT = 16
"""Of every symbol, bytes: a load of a vector is not split."""
SYMBOL = """
    .balign {alignment}
    .global {name}
    .type {name}, %object
    .size {name}, {bytes}
{name}:
    .incbin "{file}", {offset}, {bytes}
"""
NO_STACK = """
#ifdef __linux__ /* or its linker takes the stack for code */
    .section .note.GNU-stack, "", %progbits
#endif
"""


@dataclass(frozen=True)
class Part:
    """What a symbol stands for: so many bytes of a file."""

    name: str
    offset: int
    bytes: int


def data(table: ProgramTable, packed: bytes) -> str:
    """``net_data.S``, of the bytes of ``net.dfe``."""
    words = table.words.nbytes
    parts = (
        Part("net_table", HEAD_BYTES, words),
        Part("net_state_first", HEAD_BYTES + words, table.state_bytes),
    )
    return assembly("the table and the first state", (IMAGE, packed), parts, PLACED)


def assembly(
    what: str, included: tuple[str, bytes], parts: Sequence[Part], section: str = READ_ONLY
) -> str:
    """The text of a file for the assembler.

    A checksum stands in it: a build that compares texts would keep the object of other data.

    Args:
        what: it is, for its first line.
        included: the name of the file that is, and its bytes.
        section: the lines that say where the symbols lie.
    """
    file, content = included
    symbols = [
        SYMBOL.format(
            alignment=ALIGNMENT, name=part.name, bytes=part.bytes, file=file, offset=part.offset
        )
        for part in parts
    ]
    return "".join(
        [HEAD.format(what=what, file=file, sum=zlib.crc32(content)), section, *symbols, NO_STACK]
    )
