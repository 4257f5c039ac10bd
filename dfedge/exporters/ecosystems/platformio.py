"""PlatformIO: a library by library.json, its sources in src."""

import json

from dfedge.exporters.ecosystems.example import BARE, example
from dfedge.exporters.ecosystems.firmware import ABOUT, EXAMPLE, LICENCE, Firmware


def files(firmware: Firmware) -> dict[str, str]:
    """library.json and an example."""
    manifest = {
        "name": firmware.prefix,
        "version": firmware.release,
        "description": ABOUT,
        "keywords": ["machine learning", "on-device learning"],
        "license": LICENCE,
        "headers": [f"{firmware.prefix}.h", f"{firmware.prefix}_store.h"],
        "frameworks": "*",
        "platforms": "*",
        "examples": [{"name": "learn", "base": EXAMPLE, "files": ["main.c"]}],
        "build": {"srcDir": "src", "includeDir": "src"},
    }
    text = json.dumps(manifest, indent=2) + "\n"
    return {"library.json": text, f"{EXAMPLE}/main.c": example(BARE, firmware.prefix)}
