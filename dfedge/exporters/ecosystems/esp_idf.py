"""ESP-IDF: a component, to be put into the folder ``components`` of a project."""

from string import Template

from dfedge.exporters.ecosystems.example import HOSTED, Shell, example
from dfedge.exporters.ecosystems.firmware import ABOUT, EXAMPLE, LICENCE, Firmware

MANIFEST = Template("""version: "$release"
description: $about
license: $licence
dependencies:
  idf: ">=5.0"
""")
LISTS = Template("""file(GLOB kernels $${CMAKE_CURRENT_SOURCE_DIR}/dfedge/*.c)
idf_component_register(SRCS $own $${kernels} INCLUDE_DIRS .)
""")
PROJECT = Template("""cmake_minimum_required(VERSION 3.16)
include($$ENV{IDF_PATH}/tools/cmake/project.cmake)
project(learn)
""")
MAIN = "idf_component_register(SRCS main.c)\n"
NEEDED = Template("""dependencies:
  $prefix:
    version: "*"
    path: ../../..
""")
SHELL = Shell(
    '#include <stdio.h>\n#include "freertos/FreeRTOS.h"\n#include "freertos/task.h"\n',
    HOSTED.tell,
    """void app_main(void) {
    int failed = start();
    while (!failed) {
        failed = turn();
        vTaskDelay(pdMS_TO_TICKS(1000));
    }
}""",
)


def files(firmware: Firmware) -> dict[str, str]:
    """The component's own files, and a project."""
    manifest = MANIFEST.substitute(release=firmware.release, about=ABOUT, licence=LICENCE)
    return {
        "idf_component.yml": manifest,
        "CMakeLists.txt": LISTS.substitute(own=" ".join(firmware.own)),
        f"{EXAMPLE}/CMakeLists.txt": PROJECT.substitute(),
        f"{EXAMPLE}/main/CMakeLists.txt": MAIN,
        f"{EXAMPLE}/main/idf_component.yml": NEEDED.substitute(prefix=firmware.prefix),
        f"{EXAMPLE}/main/main.c": example(SHELL, firmware.prefix),
    }
