"""Arduino: a library of the 1.5 format (rev. 2.2), to be put into the folder ``libraries``."""

from dfedge.exporters.ecosystems.example import Shell, example
from dfedge.exporters.ecosystems.firmware import ABOUT, EXAMPLE, Firmware

SKETCH = Shell(
    "#include <Arduino.h>\n",
    """    Serial.print(net_labels[answer->row]);
    Serial.print(", ahead by ");
    Serial.println((long)answer->margin);""",
    """void setup() {
    Serial.begin(115200);
    int failed = start();
    if (failed) Serial.println(failed); /* an enum dfe_store_status: the net is as exported */
}

void loop() {
    int failed = turn();
    if (failed) Serial.println(failed);
    delay(1000);
}""",
)


def files(firmware: Firmware) -> dict[str, str]:
    """library.properties and a sketch."""
    fields = {
        "name": firmware.prefix,
        "version": firmware.release,
        "author": "dfedge export",
        "maintainer": "dfedge export",
        "sentence": ABOUT,
        "paragraph": "Predictions, learning and saving without an operating system or allocation.",
        "category": "Data Processing",
        "url": "",  # of whoever publishes it
        "architectures": "*",
        "includes": f"{firmware.prefix}.h,{firmware.prefix}_store.h",
    }
    properties = "".join(f"{name}={value}\n" for name, value in fields.items())
    sketch = f"{EXAMPLE}/{EXAMPLE.rpartition('/')[2]}.ino"
    return {"library.properties": properties, sketch: example(SKETCH, firmware.prefix)}
