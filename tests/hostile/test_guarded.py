"""A file that kills its decoder, or never lets it go, costs itself; the run goes on, and other images are the same."""

from __future__ import annotations

import hashlib
import io
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree
from yolo9000.datasets.errors import DatasetError, Unreadable
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import PackedImageNet, write_pack
from yolo9000.datasets.unreadable import UnreadableCounter, read_or_next
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.inference.sources import open_sources
from yolo9000.models.tree_classes import TreeClasses

WNID = "n02085620"
DYING = """
import os, signal, time
from yolo9000.datasets.lean_child import Reader, main

class Dying(Reader):
    def decode(self, said, data):
        for word, act in ACTS.items():
            if word in said["key"]:
                act()
        return super().decode(said, data)

    def next_frame(self, said, data):
        self.frames = getattr(self, "frames", 0) + 1
        if self.frames == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().next_frame(said, data)

    def pack(self, said, data):
        os.kill(os.getpid(), signal.SIGSEGV)

ACTS = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda: time.sleep(3600),
    "greed": lambda: bytearray(1 << 40),
    "leave": lambda: os._exit(3),
}
main(Dying())
"""
SAYS = {"crash": "signal 11", "hang": "took too long", "greed": "more memory", "leave": "status 3"}


def dying(folder: Path, seconds: float = 10.0) -> LeanChild:
    (folder / "dying.py").write_text(DYING)
    return LeanChild(seconds, program=[str(folder / "dying.py")])


def write_images(root: Path, number: int, bad: dict[int, str]) -> None:
    folder = root / "train" / WNID
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(number):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:05d}{bad.get(index, '')}.JPEG")


def check_survival(root: Path, number: int, bad: dict[int, str], caplog: pytest.LogCaptureFixture) -> LeanChild:
    """Read all images, of which some kill or hold up their decoder; return the process, for its deaths."""
    write_images(root, number, bad)
    plain, source = (ImageNetSource(root, {WNID: 0}) for _ in range(2))
    source.guard = dying(root)
    counter = UnreadableCounter({source.name: number})
    with caplog.at_level(logging.WARNING):
        for index in range(number):
            record, replaced = read_or_next(source, index)
            counter.add(replaced)
            if index in bad:
                assert replaced[0].key == plain.key(index)
                assert SAYS[bad[index]] in replaced[0].reason
            else:
                assert replaced == ()
                assert np.array_equal(record.image, plain.read(index).image)
    assert counter.keys[source.name] == {plain.key(index) for index in bad}
    assert caplog.text.count("cannot be read") == len(bad)
    source.guard.close()
    return source.guard


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for the process in /proc")
def test_signals_to_all_processes_of_a_job_leave_the_decoder_to_its_parent() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())  # of other tests in this process
    with LeanChild() as child:
        child.decode(file.getvalue(), "a.png")
        (pid,) = (int(word) for word in set(children.read_text().split()) - before)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        assert child.decode(file.getvalue(), "a.png").shape == (2, 3, 3)
        assert child.deaths == 0


def test_images_that_kill_their_decoder_cost_themselves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    guard = check_survival(tmp_path, 24, {3: "crash", 8: "hang", 15: "greed", 20: "leave"}, caplog)
    assert guard.deaths == 3  # who asks for too much memory is refused, and lives on


@pytest.mark.slow
def test_a_hundred_of_ten_thousand(tmp_path: Path, caplog: pytest.LogCaptureFixture, hours: bool) -> None:
    """Or ten of a thousand, where there is no time for more."""
    every = 100 if hours else 10
    bad = {50 + 100 * number: "crash" if number % 10 else "hang" for number in range(every)}
    assert check_survival(tmp_path, 100 * every, bad, caplog).deaths >= every


def test_a_video_that_kills_its_decoder_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 32))  # type: ignore[attr-defined]
    for number in range(6):
        film.write(np.full((32, 32, 3), 40 * number, np.uint8))
    film.release()
    whole = open_sources(tmp_path / "a.avi")
    frames = list(whole)
    assert [frame.name for frame in frames] == [f"{tmp_path / 'a.avi'}#{number}" for number in range(6)]
    assert [round(frame.image.mean() / 40) for frame in frames[1:]] == [1, 2, 3, 4, 5]
    assert whole.rates == {str(tmp_path / "a.avi"): 5.0}
    monkeypatch.setattr("yolo9000.inference.sources.LeanChild", lambda: dying(tmp_path))
    broken = open_sources(tmp_path / "a.avi")
    assert len(list(broken)) == 2
    assert "signal 11" in broken.unreadable[0].reason


def test_a_pack_that_kills_hdf5_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 2, {})
    write_pack(ImageNetSource(tmp_path, {WNID: 0}), tmp_path / "pack.h5")
    monkeypatch.setattr("yolo9000.datasets.packed_imagenet.LeanChild", lambda **_: dying(tmp_path))
    with pytest.raises(DatasetError, match="not a readable pack: its decoder ended .signal 11."):
        PackedImageNet(tmp_path / "pack.h5", {WNID: 0})


def test_the_process_writes_no_file_and_dies_with_us(tmp_path: Path) -> None:
    (tmp_path / "writing.py").write_text(
        "from yolo9000.datasets.lean_child import Reader, main\n"
        "class Writing(Reader):\n"
        "    def decode(self, said, data):\n"
        "        with open(said['key'], 'w') as file:\n"
        "            file.write('x' * 10)\n"
        "        return {}, b''\n"
        "main(Writing())\n"
    )
    with LeanChild(program=[str(tmp_path / "writing.py")]) as child, pytest.raises(Unreadable):
        child.decode(b"", str(tmp_path / "stolen"))
    assert not (tmp_path / "stolen").exists() or (tmp_path / "stolen").stat().st_size == 0


# --------------------------------------------------------------------------------------- several readers of one file


def digests(source: Any) -> list[str]:
    return [hashlib.sha256(source.read(index).image.tobytes()).hexdigest() for index in range(len(source))]


def give_digests(source: Any, queue: Any) -> None:
    queue.put(digests(source))


def of_pack(root: Path) -> PackedImageNet:
    write_images(root, 12, {})
    write_pack(ImageNetSource(root, {WNID: 0}), root / "pack.h5")
    return PackedImageNet(root / "pack.h5", {WNID: 0})


def of_tar(root: Path) -> ImageNetSource:
    (root / "train").mkdir()
    with tarfile.open(root / "train" / f"{WNID}.tar", "w") as tar:
        for number in range(12):
            file = io.BytesIO()
            Image.new("RGB", (8, 6), (number * 20, 0, 0)).save(file, "PNG")
            member = tarfile.TarInfo(f"../../{number}.png")  # a name is a key, and no path that is gone to
            member.size = file.tell()
            file.seek(0)
            tar.addfile(member, file)
    return ImageNetSource(root, {WNID: 0}, cache=root / "cache")


@pytest.mark.parametrize("make", [of_pack, of_tar])
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_read_one_file(make: Callable[[Path], Any], method: str, tmp_path: Path) -> None:
    source = make(tmp_path)
    expected = digests(source)
    assert len(set(expected)) == 12
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    processes = [context.Process(target=give_digests, args=(source, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=300) for _ in processes] == [expected] * 3
    for process in processes:
        process.join()
    source.guard = LeanChild()
    assert digests(pickle.loads(pickle.dumps(source))) == expected


def test_names_in_a_tar_lead_nowhere(tmp_path: Path) -> None:
    source = of_tar(tmp_path)
    assert source.key(0) == f"{WNID}/0.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "train"]


@pytest.mark.parametrize("make", [of_pack, of_tar])
def test_what_changed_since_it_was_opened_is_named(make: Callable[[Path], Any], tmp_path: Path) -> None:
    source = make(tmp_path)
    file = source.place(0)[0]
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(Unreadable, match="has changed since it was (opened|indexed)"):
        source.read(0)


def test_the_option_guards_the_sources_of_a_training(tmp_path: Path) -> None:
    write_images(tmp_path, 4, {})
    tree = WordTree((WNID,), ("dog",), (-1,))
    config = DataConfig(sets=(("imagenet", str(tmp_path)),), guarded=True)
    source = load_data(config, TreeClasses(tree)).classification
    assert isinstance(source, ImageNetSource)
    assert source.guard is not None
    plain = ImageNetSource(tmp_path, {WNID: 0})
    assert digests(source) == digests(plain)
