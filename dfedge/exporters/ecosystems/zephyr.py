"""Zephyr: a module, by ZEPHYR_EXTRA_MODULES or by west."""

from string import Template

from dfedge.exporters.ecosystems.example import HOSTED, Shell, example
from dfedge.exporters.ecosystems.firmware import ABOUT, EXAMPLE, Firmware

MODULE = Template("""name: $prefix
build:
  cmake: zephyr
  kconfig: zephyr/Kconfig
""")
KCONFIG = Template("""config DFEDGE_$upper
\tbool "$prefix: a net that learns"
\tdefault y
\thelp
\t  $about
""")
LISTS = Template("""if(CONFIG_DFEDGE_$upper)
    set(net $${CMAKE_CURRENT_SOURCE_DIR}/..)
    if(NOT TARGET dfedge) # one copy of the kernels serves several nets
        file(GLOB kernels $${net}/dfedge/*.c)
        zephyr_library_named(dfedge)
        zephyr_library_sources($${kernels})
    endif()
    zephyr_library_named(dfedge_$prefix)
    zephyr_library_sources($own)
    zephyr_include_directories($${net})
endif()
""")
APPLICATION = Template("""cmake_minimum_required(VERSION 3.20.0)
list(APPEND ZEPHYR_EXTRA_MODULES $${CMAKE_CURRENT_SOURCE_DIR}/../..)
find_package(Zephyr REQUIRED HINTS $$ENV{ZEPHYR_BASE})
project(learn)
target_sources(app PRIVATE src/main.c)
""")
SHELL = Shell(
    "#include <stdio.h>\n#include <zephyr/kernel.h>\n",
    HOSTED.tell,
    """int main(void) {
    int failed = start();
    while (!failed) {
        failed = turn();
        k_sleep(K_SECONDS(1));
    }
    return failed;
}""",
)


def files(firmware: Firmware) -> dict[str, str]:
    """The module's own files, and an application."""
    said = {"prefix": firmware.prefix, "upper": firmware.prefix.upper(), "about": ABOUT}
    own = " ".join(f"${{net}}/{name}" for name in firmware.own)
    return {
        "zephyr/module.yml": MODULE.substitute(said),
        "zephyr/Kconfig": KCONFIG.substitute(said),
        "zephyr/CMakeLists.txt": LISTS.substitute(said, own=own),
        f"{EXAMPLE}/CMakeLists.txt": APPLICATION.substitute(),
        f"{EXAMPLE}/prj.conf": "CONFIG_MAIN_STACK_SIZE=8192\n",
        f"{EXAMPLE}/src/main.c": example(SHELL, firmware.prefix),
    }
