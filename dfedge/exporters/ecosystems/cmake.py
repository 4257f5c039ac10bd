"""CMake: a library to be linked with a program of one's own."""

from string import Template

from dfedge.exporters.ecosystems.example import BARE, ON_BOARD, example
from dfedge.exporters.ecosystems.firmware import EXAMPLE, Firmware

BOARD = """    set(NET_CPU $cpu CACHE STRING processor)
    include(board/board.cmake)
"""
LISTS = Template("""cmake_minimum_required(VERSION 3.16)
project($prefix $languages)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
if(NOT TARGET dfedge) # one copy of the kernels serves several nets
    file(GLOB kernels $${CMAKE_CURRENT_SOURCE_DIR}/dfedge/*.c)
    add_library(dfedge STATIC $${kernels})
    set_target_properties(dfedge PROPERTIES C_STANDARD 99)
    target_include_directories(dfedge PUBLIC $${CMAKE_CURRENT_SOURCE_DIR})
${board}endif()
add_library($prefix STATIC $own)
set_target_properties($prefix PROPERTIES C_STANDARD 99)
${depends}target_include_directories($prefix PUBLIC $${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries($prefix PUBLIC dfedge)
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
    if(NOT CMAKE_CROSSCOMPILING OR UNIX)
        file(GLOB runner $${CMAKE_CURRENT_SOURCE_DIR}/run/*.c)
        add_executable(dfedge-run $${runner} $${kernels})
        set_target_properties(dfedge-run PROPERTIES C_STANDARD 99)
        target_include_directories(dfedge-run PRIVATE $${CMAKE_CURRENT_SOURCE_DIR}/dfedge)
    endif()
    if(NET_MAIN) # cmake -DNET_MAIN=$example/main.c, or a program of your own
        add_executable(app $${NET_MAIN})
        target_link_libraries(app $prefix)
    endif()
endif()
""")


def files(firmware: Firmware) -> dict[str, str]:
    """CMakeLists.txt and an example for a bare machine or a host."""
    board = Template(BOARD).substitute(cpu=firmware.cpu) if firmware.cpu else ""
    lists = LISTS.substitute(
        prefix=firmware.prefix,
        own=" ".join(firmware.own),
        board=board,
        example=EXAMPLE,
        languages="C ASM" if firmware.assembled else "C",
        depends="".join(
            f"set_source_files_properties({source} PROPERTIES OBJECT_DEPENDS\n"
            f"    ${{CMAKE_CURRENT_SOURCE_DIR}}/{data})\n"
            for source, data in firmware.assembled.items()
        ),
    )
    shell = ON_BOARD if firmware.cpu else BARE
    return {"CMakeLists.txt": lists, f"{EXAMPLE}/main.c": example(shell, firmware.prefix)}
