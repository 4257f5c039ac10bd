"""A folder of C drops into each ecosystem: its manifest is one, and its example builds and runs.

make and CMake are the real ones.  Of the others stand-ins do what their documentation says of the
files that are read: which sources are compiled, with which folders, and what calls the example.
"""

import configparser
import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from firmware import CLASSES, STRICT, Made, Wish, archive, made, run
from test_on_device import needs

from dfedge.exporters.ecosystems import ECOSYSTEMS
from dfedge.native import build

pytestmark = needs(build.COMPILERS[0], "g++", "ar")
SEMVER = re.compile(r"\d+\.\d+\.\d+")
LINES = re.compile(r"(digit \d, ahead by \d+\n){4}")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled once: they are the same in every folder."""
    folder = tmp_path_factory.mktemp("kernels")
    return archive(made(folder / "net", Wish()).kernels(), folder)


def dropped(ecosystem: str, folder: Path) -> Made:
    return made(folder / "eye", Wish(prefix="eye", ecosystem=ecosystem, target="nrf52840"))


@pytest.mark.parametrize("ecosystem", ECOSYSTEMS)
def test_every_folder_says_what_it_is_and_under_which_licence(
    ecosystem: str, tmp_path: Path
) -> None:
    net = dropped(ecosystem, tmp_path)
    readme = (net.folder / "README.md").read_text()
    assert f"| RAM: state, what learning changes | {net.program.table.state_bytes:,} |" in readme
    for words in ("eye_predict(x, &answer)", "EYE_ARENA_SECTION", "**Threads.**"):
        assert words in readme
    assert not re.search(r"\bnet_|\bNET_", readme)
    assert "Apache License" in (net.folder / "LICENSE").read_text()
    for path in re.findall(r"(?<=`)examples/\w+", readme):
        assert (net.folder / path).is_dir()


# -- make and CMake --------------------------------------------------------------------------------


@needs("make")
def test_make_builds_both_archives_and_the_example(tmp_path: Path) -> None:
    net = dropped("make", tmp_path)
    checked = "-fsanitize=address,undefined -fno-sanitize-recover"
    run("make", "-s", "-C", net.folder, "example", f"CFLAGS=-O0 -Wall -Wextra -Werror {checked}")
    assert LINES.fullmatch(run(net.folder / "build" / "learn"))
    assert (net.folder / "build" / "libeye.a").is_file()


@needs("make", "arm-none-eabi-gcc")
def test_make_builds_by_the_line_at_the_head_of_the_makefile(tmp_path: Path) -> None:
    net = dropped("make", tmp_path)
    head = (net.folder / "Makefile").read_text()
    said = re.search(r"make (CC=arm.*?) \\\n# +(CFLAGS=.*)\n", head)
    assert said is not None
    run("sh", "-c", f"make -s -C {net.folder} {said[1]} {said[2]}")
    assert "dfe_step" in run("arm-none-eabi-nm", net.folder / "build" / "libdfedge.a")


@needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
def test_example_learns_and_saves_on_a_bare_microcontroller(tmp_path: Path) -> None:
    net = made(tmp_path / "eye", Wish(prefix="eye"))
    run("cmake", "-S", net.folder, "-B", tmp_path / "b", "-DNET_MAIN=examples/learn/main.c",
        f"-DCMAKE_TOOLCHAIN_FILE={net.folder}/board/toolchain.cmake")  # fmt: skip
    run("cmake", "--build", tmp_path / "b")
    qemu = "qemu-system-arm -M mps2-an386 -nographic -semihosting -kernel"
    told = run("sh", "-c", f"{qemu} {tmp_path}/b/app 2>&1").splitlines()
    assert len(told) == 4 and {line.removesuffix(", unsure") for line in told} <= {*CLASSES}


@needs("make", "cmake")
@pytest.mark.parametrize("ecosystem", ["make", "cmake"])
def test_a_build_takes_other_numbers_of_the_same_net(ecosystem: str, tmp_path: Path) -> None:
    """As of a bundle that learned on: every file but the numbers has its time and its text."""
    wish = Wish(prefix="eye", ecosystem=ecosystem, target="nrf52840")
    net = made(tmp_path / "eye", wish)
    other = made(tmp_path / "other", dataclasses.replace(wish, seed=1))

    def archived() -> bytes:
        if ecosystem == "make":
            run("make", "-s", "-C", net.folder)
            return (net.folder / "build" / "libeye.a").read_bytes()
        built(net.folder, tmp_path / "b")
        return (tmp_path / "b" / "libeye.a").read_bytes()

    first, second = (one.program.state.tobytes() for one in (net, other))
    assert first in archived()
    path = net.sources / "eye.dfe"
    before = path.stat().st_mtime
    path.write_bytes((other.sources / "eye.dfe").read_bytes())
    os.utime(path, (before + 100, before + 100))
    again = archived()
    assert second in again and first not in again


# -- Arduino and PlatformIO: everything under src is compiled --------------------------------------

ARDUINO = """#pragma once
#include <stdint.h>
#include <stdio.h>
struct Printer {
    void begin(long) {}
    void print(const char *text) { fputs(text, stdout); }
    void println(const char *text) { puts(text); }
    void println(long value) { printf("%ld\\n", value); }
};
static Printer Serial;
inline void delay(unsigned long) {}
"""
SKETCH = '#include <Arduino.h>\n#include "learn.ino"\n'
LOOP = "int main() {\n    setup();\n    for (int i = 0; i < 4; i++) loop();\n}\n"
CATEGORIES = {"Display", "Communication", "Signal Input/Output", "Sensors", "Device Control",
              "Timing", "Data Storage", "Data Processing", "Other"}  # fmt: skip


def properties(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.read_string("[library]\n" + path.read_text())
    return dict(parser["library"])


def own_objects(net: Made, folder: Path) -> list[Path]:
    (folder / "o").mkdir()
    run("gcc", *STRICT, f"-I{net.sources}", "-c", *net.own(), cwd=folder / "o")
    return sorted((folder / "o").iterdir())


def test_arduino_library_is_one_and_its_sketch_runs(kernels: Path, tmp_path: Path) -> None:
    net = dropped("arduino", tmp_path)
    found = properties(net.folder / "library.properties")
    for name in ("name", "author", "maintainer", "sentence", "paragraph", "architectures"):
        assert found[name]
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\- ]{0,62}", found["name"])
    assert SEMVER.fullmatch(found["version"])
    assert found["category"] in CATEGORIES
    assert all((net.sources / name).is_file() for name in found["includes"].split(","))
    assert net.sources == net.folder / "src"
    assert not [path for path in net.folder.glob("*.[ch]*") if path.is_file()]
    sketch = net.folder / "examples" / "learn" / "learn.ino"
    assert sketch.stem == sketch.parent.name
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    (tmp_path / "sketch.cpp").write_text(SKETCH + LOOP)
    run("g++", "-std=c++11", *STRICT, f"-I{net.sources}", f"-I{tmp_path}", f"-I{sketch.parent}",
        "-o", tmp_path / "app", tmp_path / "sketch.cpp", *own_objects(net, tmp_path),
        kernels)  # fmt: skip
    assert LINES.fullmatch(run(tmp_path / "app"))


def test_platformio_library_is_one_and_its_example_runs(kernels: Path, tmp_path: Path) -> None:
    net = dropped("platformio", tmp_path)
    found = json.loads((net.folder / "library.json").read_text())
    assert found["name"] == "eye"
    assert SEMVER.fullmatch(found["version"])
    assert found["license"] == "Apache-2.0"
    assert found["frameworks"] == found["platforms"] == "*"
    assert net.folder / found["build"]["srcDir"] == net.sources
    assert all((net.sources / name).is_file() for name in found["headers"])
    (example,) = found["examples"]
    main = net.folder / example["base"] / example["files"][0]
    run("gcc", *STRICT, f"-I{net.folder / found['build']['includeDir']}", "-o", tmp_path / "app",
        main, *own_objects(net, tmp_path), kernels)  # fmt: skip
    assert LINES.fullmatch(run(tmp_path / "app"))


# -- Zephyr and ESP-IDF: stand-ins for their CMake functions ---------------------------------------

STOPS = "static int turns;\nif (++turns == 4) exit(0);"
ZEPHYR = """set(CONFIG_DFEDGE_EYE y)
add_library(zephyr INTERFACE)
function(zephyr_include_directories)
    target_include_directories(zephyr INTERFACE ${ARGN})
endfunction()
function(zephyr_library_named name)
    add_library(${name} STATIC)
    target_link_libraries(${name} PUBLIC zephyr)
    target_link_libraries(app PRIVATE ${name})
    set(ZEPHYR_CURRENT_LIBRARY ${name} PARENT_SCOPE)
endfunction()
function(zephyr_library_sources)
    target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
macro(project name)
    _project(${name} C ASM)
    add_executable(app)
    target_include_directories(app PRIVATE $ENV{STAND_IN})
    foreach(module ${ZEPHYR_EXTRA_MODULES})
        add_subdirectory(${module}/$ENV{MODULE_CMAKE} modules)
    endforeach()
    get_target_property(made app LINK_LIBRARIES)
    target_link_libraries(app PRIVATE zephyr ${made})
endmacro()
"""


@needs("cmake")
def test_zephyr_module_is_one_and_its_application_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = dropped("zephyr", tmp_path)
    module = yaml.safe_load((net.folder / "zephyr" / "module.yml").read_text())
    assert module == {"name": "eye", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    kconfig = (net.folder / module["build"]["kconfig"]).read_text()
    assert re.fullmatch(r'config DFEDGE_EYE\n\tbool ".+"\n\tdefault y\n\thelp\n\t  .+\n', kconfig)
    stand_in = tmp_path / "zephyr"
    (stand_in / "zephyr").mkdir(parents=True)
    (stand_in / "ZephyrConfig.cmake").write_text(ZEPHYR)
    (stand_in / "zephyr" / "kernel.h").write_text(
        f"#include <stdlib.h>\n#define K_SECONDS(n) (n)\nstatic void k_sleep(int s) {{\n{STOPS}\n"
        "(void)s;\n}\n"
    )
    monkeypatch.setenv("ZEPHYR_BASE", str(stand_in))
    monkeypatch.setenv("STAND_IN", str(stand_in))
    monkeypatch.setenv("MODULE_CMAKE", module["build"]["cmake"])
    app = built(net.folder / "examples" / "learn", tmp_path / "b", f"-DZephyr_DIR={stand_in}")
    assert LINES.fullmatch(run(app / "app"))


IDF = """function(idf_component_register)
    cmake_parse_arguments(its "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
    get_filename_component(name ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    add_library(${name} STATIC ${its_SRCS})
    target_include_directories(${name} PUBLIC ${its_INCLUDE_DIRS} $ENV{IDF_PATH}/stand_in)
endfunction()
macro(project name)
    _project(${name} C ASM)
    add_subdirectory($ENV{COMPONENT} component)
    add_subdirectory(main)
    target_link_libraries(main PUBLIC eye)
    add_executable(app $ENV{IDF_PATH}/stand_in/main.c)
    target_link_libraries(app main)
endmacro()
"""
FREERTOS = "#include <stdlib.h>\n#define pdMS_TO_TICKS(ms) (ms)\n"
TASK = f"static void vTaskDelay(int ticks) {{\n{STOPS}\n(void)ticks;\n}}\n"


@needs("cmake")
def test_esp_idf_component_is_one_and_its_project_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = dropped("esp-idf", tmp_path)
    manifest = yaml.safe_load((net.folder / "idf_component.yml").read_text())
    assert set(manifest) == {"version", "description", "license", "dependencies"}
    assert SEMVER.fullmatch(manifest["version"])
    assert set(manifest["dependencies"]) == {"idf"}
    example = net.folder / "examples" / "learn"
    needed = yaml.safe_load((example / "main" / "idf_component.yml").read_text())["dependencies"]
    assert (example / "main" / needed["eye"]["path"]).resolve() == net.folder
    idf = tmp_path / "idf"
    (idf / "tools" / "cmake").mkdir(parents=True)
    (idf / "tools" / "cmake" / "project.cmake").write_text(IDF)
    (idf / "stand_in" / "freertos").mkdir(parents=True)
    (idf / "stand_in" / "freertos" / "FreeRTOS.h").write_text(FREERTOS)
    (idf / "stand_in" / "freertos" / "task.h").write_text(TASK)
    (idf / "stand_in" / "main.c").write_text(
        "void app_main(void);\nint main(void) { app_main(); }\n"
    )
    monkeypatch.setenv("IDF_PATH", str(idf))
    monkeypatch.setenv("COMPONENT", str(net.folder))
    app = built(example, tmp_path / "b")
    assert LINES.fullmatch(run(app / "app"))


def built(project: Path, folder: Path, *words: str) -> Path:
    run("cmake", "-S", project, "-B", folder, "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror", *words)
    run("cmake", "--build", folder)
    return folder
