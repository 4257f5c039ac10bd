import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfedge.data.dataset import Dataset, Split
from dfedge.data.inputs import to_input
from dfedge.data.inputs.image import ImageRule
from dfedge.data.order import shuffled
from dfedge.data.picture_shifts import SHIFTS
from dfedge.data.shift import parse_shift
from dfedge.data.shift_forms import IMAGES, SIGNALS
from dfedge.data.signal_shifts import CHANGES
from dfedge.data.sources import load, load_split
from dfedge.errors import DfedgeError, UsageError


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def mnist_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for prefix, count in (("train", 6), ("t10k", 4)):
        images = np.arange(count * 28 * 28).reshape(count, 28, 28) % 256
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        labels = gzip.compress(idx(np.arange(count) % 10))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(labels)
    return tmp_path


def test_digits_splits_are_disjoint_and_complete() -> None:
    digits = load("digits")
    sizes = {name: len(split) for name, split in digits.splits.items()}
    assert sizes == {"train": 1000, "stream": 437, "test": 360}
    rows = np.concatenate([s.x.reshape(len(s), -1) for s in digits.splits.values()])
    assert len(rows) == 1797
    from sklearn.datasets import load_digits

    original = np.round(load_digits().images * (255 / 16)).reshape(1797, -1)
    assert sorted(map(bytes, rows)) == sorted(map(bytes, original.astype(np.uint8)))


def test_mnist_is_read_plain_or_gzipped(mnist_dir: Path) -> None:
    data = load("mnist", mnist_dir)
    assert data.splits["train"].x.shape == (6, 28, 28, 1)
    assert data.splits["test"].x[1, 0, :3, 0].tolist() == [16, 17, 18]  # 784 mod 256 = 16
    assert data.splits["test"].y.tolist() == [0, 1, 2, 3]


def test_environment_variable_names_the_data_folder(
    mnist_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFEDGE_DATA", str(mnist_dir))
    assert len(load("mnist").splits["train"]) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-1], "truncated or damaged: 4,719 bytes, its header asks for 4,720"),
        (lambda raw: raw + b"x", "truncated or damaged"),
        (lambda raw: b"\0\0\x0d\x03" + raw[4:], "starts with 00000d03, should be 00000803"),
        (lambda raw: b"", "starts with nothing"),
        (lambda raw: raw[:9], "truncated or damaged"),
    ],
)
def test_damaged_idx_is_one_clear_error(mnist_dir: Path, change, message: str) -> None:
    path = mnist_dir / "mnist" / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DfedgeError, match=message):
        load("mnist", mnist_dir)


def test_damaged_gzip_is_one_clear_error(mnist_dir: Path) -> None:
    path = mnist_dir / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DfedgeError, match="fetch the file again"):
        load("mnist", mnist_dir)


def test_labels_out_of_range_are_refused(mnist_dir: Path) -> None:
    labels = idx(np.array([0, 1, 2, 10, 4, 200]))
    (mnist_dir / "mnist" / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(DfedgeError, match=r"label 10 at sample 3; allowed: 0 to 9 \(2 of 6"):
        load("mnist", mnist_dir)


def test_missing_set_says_where_it_looked_what_for_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DfedgeError) as caught:
        load("cifar10", tmp_path)
    for part in (str(tmp_path), "data_batch_1.bin", "cs.toronto.edu", "--data-dir", "DFEDGE_DATA"):
        assert part in str(caught.value)


def cifar10_dir(folder: Path, labels: list[int]) -> Path:
    folder.mkdir(parents=True)
    record = b"".join(bytes([label]) + bytes(range(256)) * 12 for label in labels)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (folder / name).write_bytes(record)
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    return folder


def test_cifar10_channels_come_last(tmp_path: Path) -> None:
    cifar10_dir(tmp_path / "cifar-10-batches-bin", [3, 9])
    data = load("cifar10", tmp_path)
    assert data.splits["train"].x.shape == (10, 32, 32, 3)
    # Pixel (0, 1): offsets 1, 1024 + 1 and 2048 + 1 of the record, each 1 modulo 256.
    assert data.splits["test"].x[0, 0, 1].tolist() == [1, 1, 1]
    assert data.splits["test"].y.tolist() == [3, 9]


def test_truncated_cifar_is_refused(tmp_path: Path) -> None:
    folder = cifar10_dir(tmp_path / "cifar10", [1])
    (folder / "data_batch_3.bin").write_bytes(b"\1" * 100)
    with pytest.raises(DfedgeError, match=r"data_batch_3.*not a multiple of a record's 3,073"):
        load("cifar10", tmp_path)


def test_cifar_label_out_of_range_is_refused(tmp_path: Path) -> None:
    cifar10_dir(tmp_path / "cifar10", [1, 10])
    with pytest.raises(DfedgeError, match="label 10 at sample 1"):
        load("cifar10", tmp_path)


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.bin").write_bytes(bytes([7, 42]) + bytes(3072))
    (folder / "fine_label_names.txt").write_text("\n".join(f"c{i}" for i in range(100)))
    assert load("cifar100", tmp_path).splits["test"].y.tolist() == [42]


def test_unknown_name_lists_the_known_ones() -> None:
    said = r"unknown data set 'digit' \(did you mean 'digits'\?\); known: basic-motions, cifar10"
    with pytest.raises(UsageError, match=said):
        load("digit")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 8, 8), np.uint8)}, "expected: x and y"),
        ({"x": np.zeros((2, 8, 8, 2, 1), np.uint8), "y": np.zeros(2, int)}, r"2, 1\); allowed"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.zeros(3, int)}, r"shape \(2,\)"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.zeros(2)}, "expected: integers"),
        ({"x": np.full((2, 8, 8), 1.5), "y": np.zeros(2, int)}, "0 to 1 of floats"),
        ({"x": np.full((2, 8, 8), 300), "y": np.zeros(2, int)}, "allowed: 0 to 255 of"),
        ({"x": np.full((2, 8, 8), np.nan), "y": np.zeros(2, int)}, "0 to 1 of floats"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.array([0, -1])}, "label -1 at sample 1"),
        ({"x": np.zeros((0, 8, 8), np.uint8), "y": np.zeros(0, int)}, "shape"),
    ],
)
def test_unusable_npz_is_one_clear_error(tmp_path: Path, arrays, message: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DfedgeError, match=message):
        load(str(tmp_path / "data.npz"))


def test_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(DfedgeError, match=r"cannot be read as \.npz"):
        load(str(path))


def test_npz_in_one_piece_is_cut_by_seed_into_disjoint_parts(tmp_path: Path) -> None:
    x = np.arange(10, dtype=np.uint8)[:, None, None] + np.zeros((10, 4, 4), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(10) % 2)
    data = load(str(tmp_path / "d.npz"))
    cut = data.cut(0)
    train, test = (set(cut.splits[name].x[:, 0, 0, 0].tolist()) for name in ("train", "test"))
    assert (len(train), len(test), train & test) == (8, 2, set())
    assert data.cut(0).splits["test"].y.tolist() == cut.splits["test"].y.tolist()


def test_floats_in_0_to_1_become_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([[[0.0, 0.5], [1.0, 0.1]]]), y=np.array([0]))
    assert load(str(tmp_path / "d.npz")).splits["all"].x[0, :, :, 0].tolist() == [
        [0, 128],
        [255, 26],
    ]


def image_folder(root: Path, mode: str, size: tuple[int, int]) -> Path:
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for i in range(3):
                Image.new(mode, size, 40 * label + i).save(root / part / name / f"{i}.png")
    return root


def test_image_folder_keeps_its_own_small_common_size(tmp_path: Path) -> None:
    data = load(str(image_folder(tmp_path, "L", (12, 10))))
    assert data.shape == (10, 12, 1)
    assert data.classes == ("cat", "dog")
    assert data.splits["train"].x[:, 0, 0, 0].tolist() == [0, 1, 2, 40, 41, 42]
    assert data.splits["test"].y.tolist() == [0, 0, 0, 1, 1, 1]


def test_large_colour_images_are_brought_to_32_by_32(tmp_path: Path) -> None:
    assert load(str(image_folder(tmp_path, "RGB", (100, 80)))).shape == (32, 32, 3)


def test_images_follow_a_trained_models_rule_and_classes(tmp_path: Path) -> None:
    folder = str(image_folder(tmp_path, "RGB", (20, 20)))
    rule, classes = ImageRule(8, 8, 1), ("dog", "cat", "bird")
    name, split = load_split(folder, None, rule, classes, ("test",), None)
    assert (name, split.x.shape[1:], split.y.tolist()) == ("test", (8, 8, 1), [1, 1, 1, 0, 0, 0])
    with pytest.raises(DfedgeError, match="class 'cat' is unknown to the model; known: dog"):
        load(folder, None, rule, ("dog",))


def test_broken_image_is_named(tmp_path: Path) -> None:
    image_folder(tmp_path, "L", (8, 8))
    (tmp_path / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(DfedgeError, match=r"1\.png: cannot be read as an image"):
        load(str(tmp_path))


def test_program_input_is_the_byte_halved() -> None:
    x = np.array([0, 1, 2, 127, 254, 255], np.uint8)
    assert to_input(x).tolist() == [0, 0, 1, 63, 127, 127]


RULE = ImageRule(2, 2, 1)


def test_quarter_turns_move_pixels_and_change_none() -> None:
    x = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    assert parse_shift("rotate:90", RULE)(x)[0, :, :, 0].tolist() == [[1, 3], [0, 2]]
    assert parse_shift("rotate:90+rotate:270", RULE)(x).tolist() == x.tolist()
    assert parse_shift("invert", RULE)(x).ravel().tolist() == [255, 254, 253, 252]


WRONG = ("rotate", "rotate:x", "rotate:nan", "blur:-1", "", "invert:2", "melt:3", "cast:1:1")


@pytest.mark.parametrize("text", WRONG)
def test_unknown_shift_lists_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="known: rotate:DEGREES, invert"):
        parse_shift(text, RULE)


def test_blur_spreads_a_point_and_keeps_what_is_even() -> None:
    x = np.zeros((2, 9, 9, 1), np.uint8)
    x[0, 4, 4], x[1] = 255, 77
    point, even = parse_shift("blur:1.5", RULE)(x)
    assert 0 < point[4, 5, 0] < point[4, 4, 0] < 100
    assert (even == 77).all()


def test_a_cast_tints_colour_images_alone() -> None:
    x = np.full((1, 1, 1, 3), 200, np.uint8)
    assert parse_shift("cast:0.5:1:2", ImageRule(1, 1, 3))(x).ravel().tolist() == [100, 200, 255]
    with pytest.raises(UsageError, match="three channels; these have 1"):
        parse_shift("cast:1:1:1", RULE)


def test_every_form_of_shift_is_applied_and_told(dfedge) -> None:
    assert SHIFTS.keys() == IMAGES.keys()
    assert CHANGES.keys() == SIGNALS.keys()
    told = " ".join(dfedge("evaluate", "--help").out.split())
    assert "cast:RED:GREEN:BLUE" in told


def test_order_depends_on_position_alone() -> None:
    whole = shuffled(7, seed=3, start=0, size=40)
    pieces = [shuffled(7, 3, start, 5) for start in range(0, 40, 5)]
    assert np.concatenate(pieces).tolist() == whole.tolist()
    assert sorted(whole[7:14]) == list(range(7))
    assert shuffled(7, 4, 0, 7).tolist() != whole[:7].tolist()


def test_missing_split_lists_those_that_are_there() -> None:
    split = Split(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int64))
    data = Dataset("mine", ("a",), {"all": split})
    with pytest.raises(UsageError, match="unknown split of mine 'test'; known: all"):
        data.split("test")
