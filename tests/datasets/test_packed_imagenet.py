from __future__ import annotations

import errno
import importlib.util
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import PackedImageNet, PackError, write_pack
from yolo9000.datasets.sample import Unreadable

DOG, CAT = "n02085620", "n02123045"


@pytest.fixture
def source(tmp_path: Path) -> ImageNetSource:
    rng = np.random.default_rng(0)
    for wnid, n in ((DOG, 3), (CAT, 2)):
        (tmp_path / "train" / wnid).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (8 + i, 9, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / wnid / f"{wnid}_{i}.JPEG")
    return ImageNetSource(tmp_path, {DOG: 1, CAT: 2})


def _first_pixels(packed: PackedImageNet, queue: Any) -> None:
    queue.put(packed.read(4).image.tolist())


def test_a_pack_gives_what_the_folders_give(source: ImageNetSource, tmp_path: Path) -> None:
    write_pack(source, tmp_path / "pack.h5")
    packed = PackedImageNet(tmp_path / "pack.h5", {DOG: 7, CAT: 5})
    assert len(packed) == 5
    for i in range(5):
        a, b = source.read(i), packed.read(i)
        assert np.array_equal(a.image, b.image)
        assert (a.key, source.read_bytes(i)) == (b.key, packed.read_bytes(i))
    assert packed.labels.tolist() == [7, 7, 7, 5, 5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pack.h5", "train"]
    assert len(pickle.loads(pickle.dumps(packed))) == 5


def test_labelled_images_are_upright(tmp_path: Path) -> None:
    """From a folder, from a tar and from a pack, which holds the bytes of the file and turns them when it is read."""
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, :8] = 255  # the left third as it is stored; upright, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "train" / DOG).mkdir(parents=True)
    file = tmp_path / "train" / DOG / "lying.JPEG"
    Image.fromarray(pixels).save(file, quality=95, exif=exif)
    with tarfile.open(tmp_path / "train" / f"{CAT}.tar", "w") as tar:
        tar.add(file, "lying.JPEG")
    source = ImageNetSource(tmp_path, {DOG: 1, CAT: 2}, cache=tmp_path)
    write_pack(source, tmp_path / "pack.h5")
    packed = PackedImageNet(tmp_path / "pack.h5", {DOG: 1, CAT: 2})
    for record in (source.read(0), source.read(1), packed.read(0), packed.read(1)):
        assert record.image.shape == (24, 8, 3)
        assert [int(record.image[y].mean()) > 127 for y in (4, 12, 20)] == [True, False, False]
    assert packed.read_bytes(0) == file.read_bytes()
    stored = ImageNetSource(tmp_path, {DOG: 1, CAT: 2}, cache=tmp_path, upright=False)
    assert stored.read(0).image.shape == (8, 24, 3)


def test_writing_in_several_pieces(source: ImageNetSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolo9000.datasets.packed_imagenet._CHUNK", 700)
    write_pack(source, tmp_path / "pack.h5")
    packed = PackedImageNet(tmp_path / "pack.h5", {DOG: 7, CAT: 5})
    assert [packed.read_bytes(i) for i in range(5)] == [source.read_bytes(i) for i in range(5)]


def test_a_pack_is_read_in_other_processes(source: ImageNetSource, tmp_path: Path) -> None:
    write_pack(source, tmp_path / "pack.h5")
    packed = PackedImageNet(tmp_path / "pack.h5", {DOG: 7, CAT: 5})
    expected = packed.read(4).image.tolist()
    context = multiprocessing.get_context("fork" if sys.version_info < (3, 12) else "spawn")
    queue = context.Queue()
    process = context.Process(target=_first_pixels, args=(packed, queue))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join()
    assert packed.read(4).image.tolist() == expected


def test_classes_without_a_node(source: ImageNetSource, tmp_path: Path) -> None:
    write_pack(source, tmp_path / "pack.h5")
    with pytest.raises(DatasetError, match=f"1 of 2 classes have no node in the label map: {DOG}"):
        PackedImageNet(tmp_path / "pack.h5", {CAT: 5})
    packed = PackedImageNet(tmp_path / "pack.h5", {CAT: 5}, skip_missing=True)
    assert [packed.key(i) for i in range(len(packed))] == [f"{CAT}/{CAT}_0.JPEG", f"{CAT}/{CAT}_1.JPEG"]
    assert np.array_equal(packed.read(1).image, source.read(4).image)


def test_nothing_is_overwritten_unasked(source: ImageNetSource, tmp_path: Path) -> None:
    path = tmp_path / "pack.h5"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"pack\.h5"):
        write_pack(source, path)
    assert path.read_text() == "precious"
    write_pack(source, path, overwrite=True)
    assert len(PackedImageNet(path, {DOG: 0, CAT: 1})) == 5


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        PackedImageNet(tmp_path / "pack.h5", {})
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DatasetError, match="not a readable pack"):
        PackedImageNet(tmp_path / "text.h5", {})
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = [1, 2]
    with pytest.raises(DatasetError, match="no pack made by"):
        PackedImageNet(tmp_path / "other.h5", {})


def test_a_pack_that_another_program_changed(source: ImageNetSource, tmp_path: Path) -> None:
    write_pack(source, tmp_path / "pack.h5")
    whole = (tmp_path / "pack.h5").read_bytes()
    packed = PackedImageNet(tmp_path / "pack.h5", {DOG: 7, CAT: 5})
    (tmp_path / "pack.h5").write_bytes(whole[: packed._blob + 10])
    with pytest.raises(Unreadable, match=f"{CAT}_1.JPEG: pack.h5 has changed since it was opened"):
        packed.read(4)
    (tmp_path / "pack.h5").unlink()
    with pytest.raises(Unreadable, match="No such file"):
        packed.read(4)
    (tmp_path / "pack.h5").write_bytes(whole)
    with h5py.File(tmp_path / "pack.h5", "r+") as file:
        blob = file["blob"][:]
        del file["blob"]
        file.create_dataset("blob", data=blob, chunks=True, compression="gzip")
    with pytest.raises(DatasetError, match="lie in chunks. Make it again"):
        PackedImageNet(tmp_path / "pack.h5", {DOG: 7, CAT: 5})


def test_a_small_disk(source: ImageNetSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 99, 1))
    with pytest.raises(PackError, match=r"needs 0\.0 GB, the disk has 0\.0 GB left"):
        write_pack(source, tmp_path / "pack.h5")
    assert not (tmp_path / "pack.h5").exists()


def test_a_disk_that_fills_up_leaves_nothing(
    source: ImageNetSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("Can't synchronously write data (file write failed: error message = 'No space left on device')")

    monkeypatch.setattr("yolo9000.datasets.packed_imagenet._write", full)
    with pytest.raises(PackError, match="the disk is full") as caught:
        write_pack(source, tmp_path / "pack.h5")
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["train"]


def test_an_interrupt_leaves_nothing(source: ImageNetSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(index: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "read_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_pack(source, tmp_path / "pack.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["train"]


def test_the_tool(source: ImageNetSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "pack_imagenet.py"
    spec = importlib.util.spec_from_file_location("pack_imagenet_tool", tool)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = str(tmp_path / "pack.h5")
    assert module.main([str(tmp_path), out]) == 0
    assert "5 images of 2 classes" in capsys.readouterr().out
    assert module.main([str(tmp_path), out]) == 2
    assert "pass --force" in capsys.readouterr().err
    assert module.main([str(tmp_path), out, "--force"]) == 0
    assert module.main([str(tmp_path / "train" / DOG), str(tmp_path / "x.h5")]) == 2
    assert "one level too low" in capsys.readouterr().err
    assert module.main([str(tmp_path), str(tmp_path / "nowhere" / "x.h5")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_tool_runs_from_anywhere(source: ImageNetSource, tmp_path: Path) -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "pack_imagenet.py"
    done = subprocess.run(
        [sys.executable, str(tool), ".", "pack.h5"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
