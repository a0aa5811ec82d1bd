from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets import tar_index
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.sample import Unreadable

DOG, CAT, FISH = "n02085620", "n02123045", "n01440764"
LABELS = {DOG: 20, CAT: 21, FISH: 14}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(file, "JPEG")
    return file.getvalue()


def _folder(path: Path, levels: Iterable[int]) -> None:
    path.mkdir(parents=True)
    for level in levels:
        (path / f"{path.name}_{level}.JPEG").write_bytes(_jpeg(level))


def _tar(path: Path, levels: Iterable[int], form: int = tarfile.USTAR_FORMAT, mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as tar:  # type: ignore[call-overload]
        for level in levels:
            data = _jpeg(level)
            info = tarfile.TarInfo(f"{path.stem}_{level}.JPEG")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _mixed(root: Path) -> Path:
    _tar(root / "train" / f"{CAT}.tar", [60, 50])
    _folder(root / "train" / DOG, [100, 110])
    _folder(root / "train" / FISH, [200])
    return root


def _levels(source: ImageNetSource) -> list[tuple[str, int | None, int]]:
    records = [source.read(i) for i in range(len(source))]
    return [(record.key, record.image_label, round(record.image.mean() / 10) * 10) for record in records]


EXPECTED = [
    (f"{FISH}/{FISH}_200.JPEG", 14, 200),
    (f"{DOG}/{DOG}_100.JPEG", 20, 100),
    (f"{DOG}/{DOG}_110.JPEG", 20, 110),
    (f"{CAT}/{CAT}_50.JPEG", 21, 50),
    (f"{CAT}/{CAT}_60.JPEG", 21, 60),
]


def test_folders_and_tars_together(tmp_path: Path) -> None:
    root = _mixed(tmp_path / "imagenet")
    source = ImageNetSource(root, LABELS)
    assert _levels(source) == EXPECTED
    assert source.kind == "classification"
    assert source.class_names == [FISH, DOG, CAT]
    assert source.classes.tolist() == [0, 1, 1, 2, 2]
    assert source.read(0).boxes_xyxy.shape == (0, 4)
    assert _levels(ImageNetSource(root / "train", LABELS)) == EXPECTED  # the folder of the classes itself
    assert _levels(ImageNetSource(root / "train", LABELS, split=None)) == EXPECTED
    assert ImageNetSource(root).labels.tolist() == [0, 1, 1, 2, 2]  # without a map: numbered


def test_images_in_a_folder_of_their_own(tmp_path: Path) -> None:
    _folder(tmp_path / "train" / DOG / "images", [10, 20])
    (tmp_path / "train" / DOG / "n02085620_boxes.txt").write_text("")
    assert ImageNetSource(tmp_path, LABELS).key(1) == f"{DOG}/images_20.JPEG"


def test_concepts_of_ones_own_are_class_names_too(tmp_path: Path) -> None:
    _folder(tmp_path / "train" / "pallet jack", [10])
    assert ImageNetSource(tmp_path, {"pallet jack": 8}).read(0).image_label == 8


def test_classes_without_a_node_are_all_listed(tmp_path: Path) -> None:
    root = _mixed(tmp_path / "imagenet")
    with pytest.raises(DatasetError, match=f"2 of 3 classes have no node in the label map: {FISH}, {CAT}"):
        ImageNetSource(root, {DOG: 1})
    assert ImageNetSource(root, {DOG: 1}, skip_missing=True).labels.tolist() == [1, 1]


def test_wrong_levels(tmp_path: Path) -> None:
    root = _mixed(tmp_path / "data" / "imagenet")
    with pytest.raises(
        DatasetError, match=r"looked for the folder train/, found imagenet/\. That is too high: pass .*imagenet"
    ):
        ImageNetSource(root.parent, LABELS)
    with pytest.raises(DatasetError, match=r"found train/\. That is one level too high: pass .*train"):
        ImageNetSource(root, LABELS, split=None)
    for split in (None, "train"):
        with pytest.raises(DatasetError, match="one class, one level too low: pass .*train"):
            ImageNetSource(root / "train" / DOG, LABELS, split=split)
    with pytest.raises(
        DatasetError, match="looked for the folder val/.*holds classes itself: move them into a folder of that name"
    ):
        ImageNetSource(root / "train", LABELS, split="val")
    with pytest.raises(DatasetError, match="no such folder"):
        ImageNetSource(tmp_path / "nowhere", LABELS)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DatasetError, match="found nothing"):
        ImageNetSource(tmp_path / "empty", LABELS)
    (tmp_path / "empty" / "train" / DOG).mkdir()
    with pytest.raises(DatasetError, match="1 class folders without an image: .*n02085620 has nothing"):
        ImageNetSource(tmp_path / "empty", LABELS)


def test_a_flat_validation_folder(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for i in range(3):
        (tmp_path / "val" / f"ILSVRC2012_val_0000000{i}.JPEG").write_bytes(_jpeg(i))
    for root, split in ((tmp_path, "val"), (tmp_path / "val", None), (tmp_path / "val", "val")):
        with pytest.raises(DatasetError, match="3 images lie in it without a class.*wnid"):
            ImageNetSource(root, LABELS, split=split)


def test_the_tar_of_the_validation_images(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    _tar(tmp_path / "val" / "ILSVRC2012_img_val.tar", [10])
    for root in (tmp_path, tmp_path / "val", tmp_path / "val" / "ILSVRC2012_img_val.tar"):
        with pytest.raises(DatasetError, match=r"unpack it: .*img_val\.tar -C val.*into a folder named by its wnid"):
            ImageNetSource(root, split="val")


def test_the_tar_of_one_class(tmp_path: Path) -> None:
    root = _mixed(tmp_path)
    tar = next((root / "train").glob("*.tar"))
    with pytest.raises(DatasetError, match="the images of one class: pass the folder of all classes, .*train$"):
        ImageNetSource(tar, LABELS)


def test_the_tar_of_tars(tmp_path: Path) -> None:
    _tar(tmp_path / "inner" / f"{DOG}.tar", [10])
    outer = tmp_path / "ILSVRC2012_img_train.tar"
    with tarfile.open(outer, "w") as tar:
        tar.add(tmp_path / "inner" / f"{DOG}.tar", f"{DOG}.tar")
    for root, split in ((outer, "train"), (tmp_path, "train"), (tmp_path, None)):
        with pytest.raises(DatasetError, match=r"tar -xf ILSVRC2012_img_train\.tar -C train"):
            ImageNetSource(root, LABELS, split=split)
    # under a class's name
    (tmp_path / "train").mkdir()
    outer.rename(tmp_path / "train" / f"{CAT}.tar")
    with pytest.raises(DatasetError, match=r"n02123045\.tar is a tar of tars"):
        ImageNetSource(tmp_path, LABELS)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_all_formats(tmp_path: Path, form: int) -> None:
    data = _jpeg(90)
    path = tmp_path / "train" / f"{DOG}.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w", format=form) as tar:
        for name in ("a" * 90 + "/" + "b" * 60 + ".JPEG", "readme.txt", "Hündchen.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source = ImageNetSource(tmp_path, LABELS)
    assert [source.key(i) for i in range(len(source))] == [f"{DOG}/Hündchen.jpg", f"{DOG}/{'b' * 60}.JPEG"]
    assert [source.read_bytes(i) for i in range(len(source))] == [data, data]


def test_tars_that_cannot_be_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "train" / f"{DOG}.tar"
    _tar(path, [10, 20], mode="w:gz")
    with pytest.raises(DatasetError, match=r"n02085620\.tar.*decompress it first"):
        ImageNetSource(tmp_path, LABELS)
    _tar(path, [10, 20])
    path.write_bytes(path.read_bytes()[:1700])
    with pytest.raises(DatasetError, match=r"n02085620\.tar"):
        ImageNetSource(tmp_path, LABELS)
    path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"n02085620\.tar"):
        ImageNetSource(tmp_path, LABELS)
    with tarfile.open(path, "w"):
        pass
    with pytest.raises(DatasetError, match=r"n02085620\.tar holds no image"):
        ImageNetSource(tmp_path, LABELS)


def test_the_index_is_cached_until_a_tar_changes(tmp_path: Path) -> None:
    _tar(tmp_path / "train" / f"{DOG}.tar", [10, 20])
    _tar(tmp_path / "train" / f"{CAT}.tar", [30])
    read: list[str] = []

    def note(paths: Iterable[Path]) -> Iterable[Path]:
        for path in paths:
            read.append(path.name)
            yield path

    first = _levels(ImageNetSource(tmp_path, LABELS, progress=note))
    assert sorted(read) == [f"{DOG}.tar", f"{CAT}.tar"]
    read.clear()
    assert _levels(ImageNetSource(tmp_path, LABELS, progress=note)) == first
    assert read == []
    _tar(tmp_path / "train" / f"{CAT}.tar", [30, 40])
    assert len(ImageNetSource(tmp_path, LABELS, progress=note)) == 4
    assert read == [f"{CAT}.tar"]
    # same size, another time
    os.utime(tmp_path / "train" / f"{DOG}.tar", (1, 1))
    read.clear()
    ImageNetSource(tmp_path, LABELS, progress=note)
    assert read == [f"{DOG}.tar"]


def test_a_cache_that_is_broken_or_not_writable_is_done_without(tmp_path: Path) -> None:
    _tar(tmp_path / "train" / f"{DOG}.tar", [10, 20])
    cache = tmp_path / "my cache"
    expected = _levels(ImageNetSource(tmp_path, LABELS, cache=cache))
    (kept,) = cache.iterdir()
    kept.write_bytes(b"PK\x03\x04 rubbish")
    assert _levels(ImageNetSource(tmp_path, LABELS, cache=cache)) == expected
    (tmp_path / "a file").write_text("")
    assert _levels(ImageNetSource(tmp_path, LABELS, cache=tmp_path / "a file")) == expected
    assert tar_index.load_members(cache / "absent.npz") == {}


def test_an_image_that_has_gone_is_unreadable(tmp_path: Path) -> None:
    source = ImageNetSource(_mixed(tmp_path / "imagenet"), LABELS)
    (tmp_path / "imagenet" / "train" / FISH / f"{FISH}_200.JPEG").unlink()
    with pytest.raises(Unreadable, match=f"{FISH}/{FISH}_200.JPEG: No such file"):
        source.read(0)
    (tmp_path / "imagenet" / "train" / f"{CAT}.tar").write_bytes(b"short")
    with pytest.raises(Unreadable, match=rf"{CAT}\.tar has changed since it was indexed"):
        source.read(4)


def test_real_tars(shared: Path) -> None:
    root = shared / "data" / "tiny-imagenet"
    wnids = sorted(path.stem for path in (root / "val").glob("*.tar"))
    source = ImageNetSource(root, {wnid: i + 100 for i, wnid in enumerate(wnids)}, split="val")
    assert len(source) == 2848
    assert np.unique(source.labels).tolist() == list(range(100, 157))
    for i in (0, 1000, 2847):
        wnid, name = source.key(i).split("/")
        with tarfile.open(root / "val" / f"{wnid}.tar") as tar:
            member = tar.extractfile(name)
            assert member is not None
            assert member.read() == source.read_bytes(i)
        record = source.read(i)
        assert record.image.shape == (64, 64, 3)
        assert record.image_label == 100 + wnids.index(wnid)
