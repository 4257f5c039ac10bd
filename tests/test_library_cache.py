"""Compiled libraries are loaded only where they are whole and none but their owner wrote them."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trials.powerloss import Recorder

from dfedge.bundle import Bundle
from dfedge.errors import DfedgeError
from dfedge.native import build, cache, objects

CI = os.environ.get("DFEDGE_CI") == "1"
pytestmark = pytest.mark.skipif(
    build.compiler() is None and not CI, reason="no C compiler; make tools installs one"
)
OTHER = 12345
"""A user that is not this one."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$XDG_CACHE_HOME, which is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Compile a small library into the cache, unless it is there."""
    source = tmp_path / "seven.c"
    source.write_text("int seven(void) { return 7; }\n")
    command = [build.required_compiler(), *build.FLAGS]
    return lambda anew=False: build.once(command, [source], [source], "libseven.so", anew)


def seven(path: Path) -> int:
    """In a process of its own: what was loaded once stays loaded."""
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).seven())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_whole_library_is_compiled_once(made: Callable[..., Path]) -> None:
    path = made()
    first = path.stat().st_mtime_ns, path.stat().st_ino
    assert made() == path
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == first
    assert seven(path) == 7


def test_folders_with_the_same_kernel_compile_it_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = tmp_path / "kernels"
    monkeypatch.setattr(build, "SOURCES", kernels)
    for number, folder in enumerate([kernels, tmp_path / "first", tmp_path / "second"]):
        folder.mkdir()
        (folder / "kernel.c").write_text('#include "kernel.h"\nint kernel(void) { return 7; }\n')
        (folder / "kernel.h").write_text("int kernel(void);\n")
        own = f'#include "kernel.h"\nint seven(void) {{ return kernel() + 0 * {number}; }}\n'
        (folder / f"net{number}.c").write_text(own)
        assert seven(build.library(folder)) == 7
    kept = [path for path in (root / "dfedge/native/objects").iterdir() if path.suffix == ".o"]
    assert len(kept) == 2  # the kernel, and the other source of the package itself


def test_an_object_is_compiled_anew_where_what_it_includes_is_another(
    root: Path, tmp_path: Path
) -> None:
    source, one, two, other = (tmp_path / name for name in ("a.c", "one.h", "two.h", "other.h"))
    source.write_text('#include <stdint.h>\n# include "one.h"\nint32_t a(void) { return TWO; }\n')
    one.write_text('#include"two.h"\n')
    two.write_text("#define TWO 2\n")
    other.write_text("\n")
    command = [build.required_compiler(), *build.FLAGS]

    def made(processor: str = "this", anew: bool = False) -> Path:
        files = [source, one, two, other]
        return objects.made(command, [source], files, processor, anew)[0]

    first = made()
    written = first.stat().st_ino
    other.write_text("#define NOTHING\n")
    assert made() == first and first.stat().st_ino == written
    first.write_bytes(first.read_bytes()[:100])
    assert made() == first and first.stat().st_size > 100  # cut by power
    assert made("another") != first
    two.write_text("#define TWO 22\n")
    assert made() != first
    two.write_text("#error no\n")
    with pytest.raises(objects.RefusedError, match="no"):
        made()


@pytest.mark.parametrize("keep", [0, 1, 4096, -1])
def test_a_library_that_was_cut_is_compiled_anew(made: Callable[..., Path], keep: int) -> None:
    path = made()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert made() == path
    assert seven(path) == 7


def test_every_changed_byte_is_noticed(made: Callable[..., Path]) -> None:
    path = made()
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 200):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not cache.whole(path)
    path.write_bytes(whole)
    assert cache.whole(path)


@pytest.mark.parametrize("hashed", [None, b"", b"0" * 64])
def test_a_library_without_its_hash_is_compiled_anew(
    made: Callable[..., Path], hashed: bytes | None
) -> None:
    """As one that another put there, or an earlier dfedge, is."""
    path = made()
    beside = path.with_name("libseven.so.sha256")
    path.write_bytes(b"planted")
    beside.unlink() if hashed is None else beside.write_bytes(hashed)
    made()
    assert seven(path) == 7
    assert beside.read_text() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_library_that_does_not_load_is_compiled_anew(made: Callable[..., Path]) -> None:
    """Its hash fits: it was made elsewhere."""
    path = made()
    cache.keep(path, b"for another machine")
    assert made() == path

    def load(library: Path) -> int:
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            raise DfedgeError("does not load") from error
        return seven(library)

    assert build.opened(made, load) == 7
    with pytest.raises(DfedgeError, match="never"):
        build.opened(made, never)


def never(_: Path) -> None:
    raise DfedgeError("never")


def test_library_and_hash_are_flushed_before_they_have_their_names(root: Path) -> None:
    disk, place = Recorder(), cache.folder("key") / "lib.so"
    cache.keep(place, b"library", disk)
    assert [(event.kind, (event.target or event.path).name) for event in disk.events] == [
        step
        for name in ("lib.so.sha256", "lib.so")
        for step in (
            ("create", f".{name}.{os.getpid()}.tmp"), ("put", f".{name}.{os.getpid()}.tmp"),
            ("sync", f".{name}.{os.getpid()}.tmp"), ("rename", name), ("sync_folder", "key"),
        )
    ]  # fmt: skip
    assert cache.whole(place)


def test_folders_and_files_are_the_owners_alone_whatever_the_umask(
    root: Path, made: Callable[..., Path]
) -> None:
    before = os.umask(0)
    try:
        path = made()
    finally:
        os.umask(before)
    for place in (root, root / "dfedge", root / "dfedge" / "native", path.parent):
        assert place.stat().st_mode & 0o777 == 0o700, place
    for place in path.parent.iterdir():
        assert place.stat().st_mode & 0o777 == 0o700, place
    assert cache.whole(path)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o775, 0o722])
@pytest.mark.parametrize("part", ["", "dfedge", "dfedge/native"])
def test_a_folder_on_the_way_that_others_may_change_is_refused(
    root: Path, made: Callable[..., Path], part: str, mode: int
) -> None:
    made()
    (root / part).chmod(mode)
    with pytest.raises(DfedgeError) as refused:
        made()
    words = (
        f"because {root / part} may be changed by others (mode {mode:o}); chmod go-w {root / part}"
    )
    assert words in str(refused.value)
    assert "set $XDG_CACHE_HOME" in str(refused.value)
    assert "\n" not in str(refused.value)
    (root / part).chmod(0o755)
    made()


def test_a_library_s_own_folder_that_others_could_write_to_is_never_trusted_again(
    made: Callable[..., Path],
) -> None:
    path = made()
    path.parent.chmod(0o1777)
    with pytest.raises(DfedgeError, match=rf"remove it \(rm -r {path.parent}\)"):
        made()


def test_a_sticky_folder_as_tmp_is_no_danger(root: Path, made: Callable[..., Path]) -> None:
    root.mkdir()
    root.chmod(0o1777)
    assert seven(made()) == 7


def test_a_link_is_followed_to_where_it_leads(
    root: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    """And what lies there is looked at, not what the link says."""
    (tmp_path / "other").mkdir(mode=0o700)
    root.symlink_to(tmp_path / "other")
    path = made()
    assert path.is_relative_to(tmp_path / "other")
    (tmp_path / "other").chmod(0o777)
    with pytest.raises(DfedgeError, match=f"because {tmp_path / 'other'} may be changed by others"):
        made()


def test_a_file_in_the_place_of_a_folder_is_refused(root: Path, made: Callable[..., Path]) -> None:
    root.mkdir(mode=0o700)
    (root / "dfedge").write_bytes(b"")
    with pytest.raises(DfedgeError, match=rf"because {root / 'dfedge'} is not a folder; remove it"):
        made()


@pytest.mark.skipif(os.geteuid() != 0 and not CI, reason="only root can give files away")
@pytest.mark.parametrize("part", ["", "dfedge", "dfedge/native", "key"])
def test_a_folder_of_another_user_is_refused(
    root: Path, made: Callable[..., Path], part: str
) -> None:
    path = made()
    place = path.parent if part == "key" else root / part
    os.chown(place, OTHER, -1)
    words = f"because {place} belongs to user {OTHER}, this process is user 0; set"
    with pytest.raises(DfedgeError) as refused:
        made()
    assert words in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0 and not CI, reason="only root can give files away")
def test_a_library_of_another_user_is_compiled_anew(made: Callable[..., Path]) -> None:
    path = made()
    cache.keep(path, b"planted")
    os.chown(path, OTHER, -1)
    assert made() == path
    assert seven(path) == 7
    assert path.stat().st_uid == 0


def test_without_a_home_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(DfedgeError, match=r"determine home directory.*; set \$XDG_CACHE_HOME"):
        cache.folder("key")


def test_a_command_heals_a_cut_library_and_refuses_an_unsafe_folder_in_one_line(
    root: Path, bundle: Bundle, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    command = [sys.executable, "-m", "dfedge", "predict", str(bundle.folder),
               str(tmp_path / "image.png"), "--state", str(tmp_path / "state"),
               "--json", "--runtime"]  # fmt: skip

    def run(runtime: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, runtime], capture_output=True, text=True, check=False)

    first = run("native")
    assert (first.returncode, first.stderr) == (0, "")
    (library,) = root.glob("dfedge/native/*/libdfedge.so")
    library.write_bytes(library.read_bytes()[:20000])
    healed = run("native")
    assert (healed.returncode, healed.stdout) == (0, first.stdout)
    assert cache.whole(library)
    root.chmod(0o777)
    refused = run("native")
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert (
        f"because {root} may be changed by others (mode 777); chmod go-w {root}" in refused.stderr
    )
    stock = run("onnx")
    assert stock.returncode == 0
    assert "stock rendering, because the native one cannot be used: compiled lib" in stock.stderr
