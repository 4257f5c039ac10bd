"""A rule's ``net_input`` in C, compiled alone, so that undefined behaviour ends the test."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from trials.board import PROGRAMS, built, emulated, instructions

from dfedge.data.inputs import InputRule
from dfedge.device.session import Session
from dfedge.native.build import SOURCES, required_compiler
from dfedge.native.sources import input_defined

FLAGS = [
    "-std=c99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-shared",
    "-fsanitize=undefined",
]
TRAP = "-fsanitize-undefined-trap-on-error"


def compiled(rule: InputRule, folder: Path) -> Callable[..., np.ndarray]:
    """From arguments as C takes them (arrays, numbers) to x, int8 of the rule's shape."""
    given = rule.in_c()
    assert given is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dfedge").symlink_to(SOURCES)
    (folder / "input.c").write_text("#include <stdint.h>\n" + input_defined(given))
    kernels = [SOURCES / name.replace(".h", ".c") for name in (*given.includes, "loudness.h")]
    made = folder / "input.so"
    subprocess.run([required_compiler(), *FLAGS, TRAP, "-I", folder, "-o", made,
                    folder / "input.c", *kernels], check=True)  # fmt: skip
    library = ctypes.CDLL(str(made))

    def net_input(*arguments: np.ndarray | int) -> np.ndarray:
        x = np.full(rule.shape, 99, np.int8)
        words = [one.ctypes.data_as(ctypes.c_void_p) if isinstance(one, np.ndarray) else one
                 for one in (*arguments, x)]  # fmt: skip
        library.net_input(*words)
        return x

    return net_input


def learned_on_chip(session: Session, target: str, folder: Path, declared: str) -> dict[str, str]:
    """What hear.c prints on an emulated board, which must end in the session's own state.

    Args:
        session: native, that learned the same sample as class 1.
        declared: the sample in C, and SAMPLE.
    """
    (folder / "data.h").write_text(f"#include <stdint.h>\n#define LABEL 1\n{declared}\n")
    app = built(session.bundle.folder / "c", folder, PROGRAMS / "hear.c", target)
    found = emulated(target, app)
    assert bytes.fromhex(found["state"]) == session.runner.program.state.tobytes()
    took = instructions(target, found["ticks"])
    print(f"{folder.name}: {took:,} instructions, stack {found['stack']} B")
    return found
