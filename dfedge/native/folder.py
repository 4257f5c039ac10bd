"""The files of an exported net that a C compiler takes: what is written, and what is compared.

    dfedge/         the kernels and the interpreter, as they lie in `dfedge.native`
    net.h, net.c    `dfedge.native.header`, `dfedge.native.sources`
    net.dfe         the same as one image (`dfedge.native.image`)
    net_data.S      perhaps: by which an assembler takes its numbers from there
    net_store.*     `dfedge.native.net_store`
    net_known.*     perhaps: samples of what the net knows (`dfedge.native.known`)
    net_normal.*    perhaps: how far from normal a sample is (`dfedge.native.normal`)

They are written for a net that is called ``net`` and get its own name here (`naming.renamed`).
"""

from collections.abc import Mapping
from pathlib import Path

from dfedge.native import build, included, net_store
from dfedge.native.header import NetSources, header
from dfedge.native.image import IMAGE, IMAGE_SUFFIX, image
from dfedge.native.layout import block_of
from dfedge.native.naming import renamed
from dfedge.native.sources import source

CONFIG = "config.h"
"""Of the kernels: how they are compiled."""

SETS = {
    False: (
        "avx2.c",
        "avx2_tile.c",
        "avx512.c",
        "avx512_tile.c",
        "neon.c",
        "neon_tile.c",
        "neon_vectors.h",
        "dotprod_tile.c",
        "portable.c",
        "vector_tile.h",
        "vector_depthwise.h",
        "tile.c",
        "tile.h",
        "kept.c",
    ),
    True: ("scalar.c", "cortex_m.c", "cortex_m_packed.c", "simd32.h", "mve.c"),
}
"""Hot loops for single instruction sets and what only they use, of a machine with an operating
system and of a microcontroller; config.h says by the compiler's macros which of the latter is
used."""


def config(small: bool) -> bytes:
    """`CONFIG` for a microcontroller, or for a machine with an operating system."""
    text = (build.SOURCES / CONFIG).read_bytes()
    return text.replace(b"define DFE_SMALL 0", b"define DFE_SMALL 1") if small else text


def is_small(folder: Path) -> bool:
    """Whether the kernels of an exported folder are a microcontroller's."""
    return (folder / "dfedge" / SETS[True][0]).is_file()


def compiled(net: NetSources, small: bool) -> dict[str, bytes]:
    """Every file that becomes the library, by its path in the folder."""
    paths = sorted(path for path in build.SOURCES.iterdir() if path.name not in SETS[not small])
    kernels = {f"dfedge/{path.name}": path.read_bytes() for path in paths}
    kernels[f"dfedge/{CONFIG}"] = config(small)
    own: dict[str, str | bytes] = {"net.h": header(net), "net.c": source(net), **net_store.FILES}
    packed = image(net.table, block_of(net.table.tensors, net.state), net.identity)
    own[IMAGE] = packed
    if net.binary:
        own[included.DATA] = included.data(net.table, packed)
    return kernels | named(own, net.prefix)


def in_flash(name: str) -> bool:
    """Whether a file of `compiled` counts as flash: the image or a kernel."""
    return name.startswith("dfedge/") or name.endswith(IMAGE_SUFFIX)


def is_binary(folder: Path, prefix: str) -> bool:
    """Whether an exported folder's numbers are included by an assembler."""
    return (folder / renamed(included.DATA, prefix)).is_file()


def named(files: Mapping[str, str | bytes], prefix: str) -> dict[str, bytes]:
    """Files of a net that is called ``net``, of one of another name."""
    return {
        renamed(name, prefix): one if isinstance(one, bytes) else renamed(one, prefix).encode()
        for name, one in files.items()
    }


def differing(folder: Path, wanted: Mapping[str, bytes]) -> str | None:
    """The first file under a folder that is not as wanted, or that would be compiled as well."""
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            return name
    found = (path.relative_to(folder) for path in build.compiled_files(folder))
    return next((path.as_posix() for path in found if path.as_posix() not in wanted), None)
