"""A picture file is read as its file says, or refused by what it says; a folder as a person means
it.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refused
from PIL import Image, ImageCms, PngImagePlugin

from dfedge.data.files import load_path
from dfedge.data.inputs.image import ImageRule, common_rule, look_at

HEIGHT, WIDTH = 12, 20
GREY, COLOUR = ImageRule(HEIGHT, WIDTH, 1), ImageRule(HEIGHT, WIDTH, 3)
UNDONE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""EXIF orientation -> how a camera lays down a picture that a viewer turns back by it."""


def picture(seed: int = 0) -> np.ndarray:
    """Smooth and not symmetric, with black and white in it."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, WIDTH)[None] * np.linspace(1, 0.3, HEIGHT)[:, None]
    ramp[:3, :5] = 255
    return np.clip(ramp + rng.normal(0, 2, ramp.shape), 0, 255).round().astype(np.uint8)


def deep(image: Image.Image) -> np.ndarray:
    """Of 16 bits."""
    return np.asarray(image).astype(np.uint16) * 257


def exif(orientation: int) -> Any:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def png(**chunks: bytes) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, data in chunks.items():
        info.add(name.encode(), data)
    return info


Saved = Callable[[Image.Image, Path], None]
SAME: dict[str, tuple[str, Saved, int]] = {
    "8 bits": ("png", lambda i, p: i.save(p), 0),
    "16 bits": ("png", lambda i, p: Image.fromarray(deep(i)).save(p), 0),
    "16 bits, portable": ("pgm", lambda i, p: p.write_bytes(
        b"P5 %d %d 65535\n" % i.size + deep(i).astype(">u2").tobytes()), 0),
    "palette": ("png", lambda i, p: i.convert("P").save(p), 0),
    "colour": ("png", lambda i, p: i.convert("RGB").save(p), 0),
    "opaque": ("png", lambda i, p: i.convert("LA").save(p), 0),
    "opaque colour": ("webp", lambda i, p: i.convert("RGBA").save(p, lossless=True), 0),
    "one frame": ("gif", lambda i, p: i.save(p), 0),
    "bitmap": ("bmp", lambda i, p: i.save(p), 0),
    "photo": ("jpg", lambda i, p: i.save(p, quality=98), 6),
    "four inks": ("jpg", lambda i, p: i.convert("CMYK").save(p, quality=98), 8),
    "colours of sRGB": ("png", lambda i, p: i.convert("RGB").save(
        p, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), 0),
    "a broken profile": ("png", lambda i, p: i.convert("RGB").save(p, icc_profile=b"no"), 0),
    "the gamma of sRGB": ("png", lambda i, p: i.save(p, pnginfo=png(gAMA=struct.pack(">I", 45455))),
                          0),
    **{f"orientation {n}": ("jpg", lambda i, p, n=n: i.transpose(UNDONE[n]).save(
        p, quality=98, exif=exif(n)), 6)
       for n in UNDONE},
    "orientation of a png": ("png", lambda i, p: i.transpose(UNDONE[6]).save(p, exif=exif(6)), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_the_same_picture_is_read_from_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    suffix, save, within = SAME[kind]
    path, wanted = tmp_path / f"a.{suffix}", picture()
    save(Image.fromarray(wanted), path)
    for rule in (GREY, COLOUR):
        found = rule.read(path)[0]
        assert found.shape == rule.shape
        assert np.abs(found.astype(int) - wanted[..., None]).max() <= within
    size = common_rule(look_at([path]))
    assert (size.height, size.width) == (HEIGHT, WIDTH)


def test_what_is_transparent_is_white_whatever_lies_under_it(tmp_path: Path) -> None:
    ink = picture()
    hidden = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    hidden[..., 3] = ink  # black ink as far as it is opaque
    Image.fromarray(hidden).save(tmp_path / "a.png")
    assert np.abs(GREY.read(tmp_path / "a.png")[0, ..., 0].astype(int) - (255 - ink)).max() <= 1
    two = Image.fromarray((ink > 128).astype(np.uint8), "P")
    two.putpalette([0, 0, 0, 90, 90, 90])
    two.save(tmp_path / "b.png", transparency=0)
    found = GREY.read(tmp_path / "b.png")[0, ..., 0]
    assert np.array_equal(found, np.where(ink > 128, 90, 255))


def test_a_png_of_another_gamma_is_brought_to_that_of_others(tmp_path: Path) -> None:
    light = picture()
    chunk = png(gAMA=struct.pack(">I", 100_000))  # proportional to light
    Image.fromarray(light).save(tmp_path / "a.png", pnginfo=chunk)
    wanted = 255 * (light / 255) ** (1 / 2.2)
    assert np.abs(GREY.read(tmp_path / "a.png")[0, ..., 0] - wanted).max() <= 1


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(seed)) for seed in range(3)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert "an animation of 3 pictures; allowed: one" in refused(lambda: GREY.read(path))


def test_real_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + picture().astype("<f4").tobytes())
    assert "real numbers; allowed: 8 or 16 bits" in refused(lambda: GREY.read(path))


def folder_of(place: Path, **classes: int) -> Path:
    for name, count in classes.items():
        (place / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(picture(i)).save(place / name / f"{i}.png")
    return place


def test_hidden_folders_and_files_are_no_classes_and_no_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder_of(tmp_path / "d", cat=3, dog=4)
    folder_of(place, **{".ipynb_checkpoints": 2, "__MACOSX": 2})
    (place / "cat" / "._0.png").write_bytes(b"a resource fork")
    (place / "dog" / "notes.txt").write_text("good dogs")
    caplog.set_level("INFO", "dfedge")
    found = load_path(place, None, None)
    assert found.classes == ("cat", "dog") and len(found.splits["all"]) == 7
    assert "skipped folders that are hidden: .ipynb_checkpoints, __MACOSX" in caplog.text
    assert "skipped 1 files that are not images (.txt)" in caplog.text


@pytest.mark.parametrize(
    ("held", "why"), [((), "no files"), (("a.heic", "b.HEIC", "c.txt"), "3 files of other kinds")]
)
def test_a_class_without_an_image_stops_the_command(
    held: tuple[str, ...], why: str, tmp_path: Path, dfedge
) -> None:
    place = folder_of(tmp_path / "d", cat=3, dog=0)
    for name in held:
        (place / "dog" / name).write_bytes(b"")
    found = dfedge("train", "--data", place, "--out", tmp_path / "run")
    assert found.code == 1 and f"dog: a class without an image: {why}" in found.err
    assert not (tmp_path / "run").exists()


def test_pictures_that_shrink_by_more_than_half_are_told_of(tmp_path: Path, dfedge) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(4):
            big = Image.fromarray(picture(i)).resize((200 + i, 120))
            big.save(tmp_path / "d" / name / f"{i}.png")
    found = dfedge("train", "--data", tmp_path / "d", "--epochs", 1, "--out", tmp_path / "run")
    assert (
        "note: pictures of 120 x 200 to 120 x 203 pixels are read as 32 x 32 (crop); --image HxW"
        in found.err
    )
    assert found.code == 0
    run, out = tmp_path / "run", tmp_path / "bundle"
    assert dfedge("calibrate", run).code == 0
    assert dfedge("export", run, "--format", "c", "--out", out).code == 0  # with so few samples
