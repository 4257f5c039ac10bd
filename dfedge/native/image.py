"""``net.dfe``: a net in one file, as dfedge-run reads it; ``run/image.h`` has its layout."""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfedge.native.table import ProgramTable

IMAGE_SUFFIX = ".dfe"
IMAGE = f"net{IMAGE_SUFFIX}"
MAGIC, VERSION = b"\x89DFN", 2
START = struct.Struct("<4sI")
REST = struct.Struct("<IIIII32s")
"""What follows the checksum: words, state bytes, versions of bundle and semantics, 0, lineage."""
HEAD_BYTES = START.size + 4 + REST.size


@dataclass(frozen=True)
class Identity:
    """What a net in C says of the bundle that it is of, as the bundle's manifest has it.

    Attributes:
        lineage: SHA-256, hexadecimal; empty: none.
    """

    lineage: str = ""
    bundle_version: int = 0
    semantics_version: int = 0

    @property
    def lineage_bytes(self) -> bytes:
        """Zeros where there is none."""
        return bytes.fromhex(self.lineage) or bytes(32)


def image(table: ProgramTable, block: NDArray[Any], identity: Identity) -> bytes:
    """The file's bytes.

    Args:
        block: the first state as it lies in memory.
    """
    words = table.words.astype("<i4")
    start = START.pack(MAGIC, VERSION)
    versions = identity.bundle_version, identity.semantics_version
    rest = REST.pack(len(words), block.nbytes, *versions, 0, identity.lineage_bytes)
    rest += words.tobytes() + np.ascontiguousarray(block).tobytes()
    return start + struct.pack("<I", zlib.crc32(start + rest)) + rest
