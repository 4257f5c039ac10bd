"""Ecosystems of firmware: the manifests that make an exported folder one of their own.

A line of `ECOSYSTEMS` is all that names one: what ``--for`` takes, and what its help says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dfedge.errors import unknown_name
from dfedge.exporters.ecosystems import arduino, cmake, esp_idf, make, platformio, zephyr
from dfedge.exporters.ecosystems.firmware import Firmware


@dataclass(frozen=True)
class Ecosystem:
    """One of them.

    Attributes:
        files: what it wants beside the sources: path -> text.
        sources: folder of the sources, with a slash; empty: the folder itself.
        programs: it builds programs too: dfedge-run and startup code come along.
        startup: its build file compiles the startup code of an emulated board.
        sketches: programs are sketches, as of Arduino.
        assembles: it gives the assembler the sources' folder to find data in.
        use: what to do with the folder, one sentence for its README.
    """

    files: Callable[[Firmware], dict[str, str]]
    use: str
    sources: str = ""
    programs: bool = False
    startup: bool = False
    sketches: bool = False
    assembles: bool = True


WEIGHTS = {
    "binary": "data that an assembler includes",
    "text": "arrays of C, for any compiler",
}
"""How the sources hold a net's numbers."""
DEFAULT = "cmake"
ECOSYSTEMS = {
    "cmake": Ecosystem(
        cmake.files,
        "`add_subdirectory` of this folder gives the library `{prefix}`; `cmake -S . -B build "
        "-DNET_MAIN=examples/learn/main.c` builds the example, or a program of your own.",
        programs=True,
        startup=True,
    ),
    "make": Ecosystem(
        make.files,
        "`make` builds `build/lib{prefix}.a` and `build/libdfedge.a`; the head of the Makefile "
        "says how for another compiler.",
        programs=True,
    ),
    "arduino": Ecosystem(
        arduino.files,
        "Copy this folder to `libraries/{prefix}` of the sketchbook; the sketch is under File, "
        "Examples, {prefix}.",
        sources="src/",
        sketches=True,
        assembles=False,
    ),
    "platformio": Ecosystem(
        platformio.files,
        "Copy this folder to `lib/{prefix}` of the project; the example's main.c goes to `src`.",
        sources="src/",
    ),
    "zephyr": Ecosystem(
        zephyr.files,
        "`west build -b BOARD examples/learn`; in an application of your own add this folder to "
        "`ZEPHYR_EXTRA_MODULES`.",
    ),
    "esp-idf": Ecosystem(
        esp_idf.files,
        "Copy this folder to `components/{prefix}` of the project; `idf.py build` in "
        "examples/learn builds the example.",
    ),
}


def ecosystem(name: str) -> Ecosystem:
    """The one of a name.

    Raises:
        UsageError: no such ecosystem.
    """
    if name not in ECOSYSTEMS:
        raise unknown_name("ecosystem", name, list(ECOSYSTEMS))
    return ECOSYSTEMS[name]
