"""Images in tars of webdataset's kind, at URLs: what is read, what is refused, and what happens when a server fails.

It is one file because each case is a few lines on the same few tars.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import io
import json
import os
import pickle
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from yolo9000.datasets import remote, tar_shards
from yolo9000.datasets.box_tars import BoxTars
from yolo9000.datasets.decode import decode
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.loader import make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Unreadable
from yolo9000.datasets.unreadable import read_or_next

DOG, CAT = "n02084071", "n02121620"
NODES = {DOG: 20, CAT: 21, "dog": 20, "cat": 21}


@pytest.fixture(autouse=True)
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A cache of its own, an empty memory, and the waits that were asked for, none of which is waited."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    waited: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    return waited


def picture(level: int, form: str = "JPEG", size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(file, form)
    return file.getvalue()


def boxes(*rows: list[float], labels: list[str | int] | None = None, **more: Any) -> bytes:
    found = {"width": 40, "height": 30, "boxes": list(rows), "labels": labels or ["dog"] * len(rows)}
    return json.dumps(found | more).encode()


def tar(members: Mapping[str, bytes | tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                made.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def put(url: str, data: bytes) -> None:
    fs, path = fsspec.core.url_to_fs(url)
    fs.pipe_file(path, data)


def labels(level: int = 0) -> dict[str, bytes]:
    return {
        "b/1.jpg": picture(level + 10),
        "b/1.cls": DOG.encode(),
        "a/2.JPEG": picture(level + 20),
        "a/2.cls": f"{CAT}\n".encode(),
        "a/2.txt": b"a cat on a mat",
    }


def levels(source: LabelTars) -> list[tuple[str, int | None, int]]:
    records = [source.read(i) for i in range(len(source))]
    return [(record.key, record.image_label, round(record.image.mean() / 10) * 10) for record in records]


# ------------------------------------------------------------------------------------------------------- names of tars


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{009..011}", ["009", "010", "011"]),
        ("{0..2}", ["0", "1", "2"]),
        ("a-{0..10}", [f"a-{number}" for number in range(11)]),
        ("{1..010}", [f"{number:03}" for number in range(1, 11)]),
        ("x{a,b}{0..1}y", ["xa0y", "xa1y", "xb0y", "xb1y"]),
        ("{train-{00..01},val-0}.tar", ["train-00.tar", "train-01.tar", "val-0.tar"]),
    ],
)
def test_braces_are_written_out(pattern: str, expected: list[str]) -> None:
    assert remote.expand(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a{0..1", "not closed"),
        ("{a}", "a range such as"),
        ("{3..1}", "a range goes up"),
        ("{0..999999999}", "100,000 files at most"),
        ("{0..999}{0..999}", "more than 100,000 files"),
    ],
)
def test_braces_that_mean_nothing_are_refused(pattern: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        remote.expand(pattern)


def test_a_split_is_a_word_of_the_name_or_the_folder() -> None:
    for name in ("x-train-0.tar", "x-train-1.tar", "x-val-0.tar", "x-training-0.tar"):
        put(f"memory://d/{name}", tar(labels()))
    url = "memory://d/x-{train-{0..1},val-0,training-0}.tar"
    assert len(LabelTars(url, NODES)) == 4
    assert len(LabelTars(url, NODES, split="val")) == 2
    assert len(LabelTars("memory://d/x-*.tar", NODES, split="")) == 8
    with pytest.raises(
        DatasetError, match="none of its 4 files has the word test in its name, or lies in a folder test/"
    ):
        LabelTars(url, NODES, split="test")
    put("memory://d/test/0.tar", tar(labels()))
    assert len(LabelTars("memory://d/*/0.tar", NODES, split="test")) == 2


def test_what_is_not_there_or_not_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    put("memory://d/train-0.tar", tar(labels()))
    with pytest.raises(DatasetError, match=r"memory:///d/train-1\.tar: no such file"):
        LabelTars("memory://d/train-{0..1}.tar", NODES)
    with pytest.raises(DatasetError, match="no file fits it"):
        LabelTars("memory://d/nowhere-*.tar", NODES)
    with pytest.raises(DatasetError, match="names files twice"):
        LabelTars("memory://d/train-{0,0}.tar", NODES)
    with pytest.raises(DatasetError, match=r"nosuch://a/train\.tar: cannot be opened: .*nosuch"):
        LabelTars("nosuch://a/train.tar", NODES)
    if importlib.util.find_spec("s3fs") is None:
        with pytest.raises(DatasetError, match=r"s3://a/train\.tar: fsspec needs another package.*s3fs"):
            LabelTars("s3://a/train.tar", NODES)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DatasetError, match=r"not installed: pip install 'yolo9000\[remote\]'"):
        LabelTars("memory://d/train-0.tar", NODES)


# ------------------------------------------------------------------------------------------------------ what is in them


def test_images_with_a_label_in_the_order_of_the_tars() -> None:
    put("memory://d/train-0.tar", tar(labels()))
    put("memory://d/train-1.tar", tar({"c.png": picture(90, "PNG"), "c.json": b'{"label": "dog", "width": 40}'}))
    source = LabelTars("memory://d/train-{0..1}.tar", NODES)
    assert levels(source) == [
        ("train-0.tar/b/1.jpg", 20, 10),
        ("train-0.tar/a/2.JPEG", 21, 20),
        ("train-1.tar/c.png", 20, 90),
    ]
    assert (source.class_names, source.classes.tolist()) == ([DOG, CAT, "dog"], [0, 1, 2])
    assert source.labels.tolist() == [20, 21, 20]
    left = LabelTars("memory://d/train-{0..1}.tar", {CAT: 7}, skip_missing=True)
    assert levels(left) == [("train-0.tar/a/2.JPEG", 7, 20)]
    with pytest.raises(DatasetError, match=f"labels have no node in the label map: {CAT}"):
        LabelTars("memory://d/train-{0..1}.tar", {DOG: 1, "dog": 1})


def test_numbers_are_lines_of_a_text() -> None:
    put(
        "memory://d/train-0.tar",
        tar({"1.jpg": picture(1), "1.cls": b"1", "2.jpg": picture(2), "2.json": b'{"label":0}'}),
    )
    said = (
        r"2 labels are wrong; .*\n  memory:///d/train-0\.tar: 1\.jpg: label 1 is the number of a line of classes\.txt, "
    )
    said += "which is not there"
    with pytest.raises(DatasetError, match=said):
        LabelTars("memory://d/train-0.tar", NODES)
    put("memory://d/classes.txt", b"dog\ncat\n")
    assert LabelTars("memory://d/train-0.tar", NODES).labels.tolist() == [21, 20]
    put("memory://d/train/0.tar", tar({"1.jpg": picture(1), "1.cls": b"0"}))
    assert LabelTars("memory://d/train/0.tar", NODES).labels.tolist() == [20]  # beside the folder of the split
    put("memory://d/classes.txt", b"dog\n")
    with pytest.raises(DatasetError, match=r"label 1 .* has 1 lines, and the first is 0"):
        LabelTars("memory://d/train-0.tar", NODES)
    put("memory://d/classes.txt", b"dog\ncat\n \n\n")
    assert LabelTars("memory://d/train-0.tar", NODES).labels.tolist() == [21, 20]
    put("memory://d/classes.txt", b"dog\n\ncat\n")  # which label 1 is nobody knows
    with pytest.raises(DatasetError, match=r"train-0\.tar: line 2 of classes\.txt beside it is empty; .* put a name"):
        LabelTars("memory://d/train-0.tar", NODES)
    put("memory://d/classes.txt", bytes(2 << 20))
    with pytest.raises(DatasetError, match=r"classes\.txt: has more than 1 MB"):
        LabelTars("memory://d/train-0.tar", NODES)


def test_images_with_boxes(caplog: pytest.LogCaptureFixture) -> None:
    members = {
        "1.jpg": picture(10),
        "1.json": boxes([1, 2, 30, 20], [0.5, 1.5, 50, 20], labels=["dog", 1], ignore=[0, 1]),
        "1.cls": b"not looked at",
        "2.png": picture(20, "PNG"),
        "2.json": boxes(),
    }
    put("memory://d/train-0.tar", tar(members))
    put("memory://d/classes.txt", b"dog\ncat\n")
    source = BoxTars("memory://d/train-0.tar", NODES)
    first, second = source.read(0), source.read(1)
    assert (first.key, first.boxes_xyxy.tolist(), first.labels.tolist()) == (
        "train-0.tar/1.jpg",
        [[1, 2, 30, 20]],
        [20],
    )
    assert first.ignore_boxes_xyxy.tolist() == [[0.5, 1.5, 40, 20]]  # clipped, and counted
    assert source.index.dropped == {"clipped to the image": 1}
    assert (second.key, len(second.labels), second.image.shape) == ("train-0.tar/2.png", 0, (30, 40, 3))
    assert (source.nodes, source.class_names, source.labels.tolist()) == ([20, 21], {20: "dog", 21: "cat"}, [20, 21])
    left = BoxTars("memory://d/train-0.tar", {"cat": 3}, skip_missing=True)
    assert (left.labels.tolist(), left.index.dropped["without a node"]) == ([3], 1)


def test_an_image_of_another_size_than_stated_is_unreadable() -> None:
    put("memory://d/train-0.tar", tar({"1.jpg": picture(1, size=(50, 30)), "1.json": boxes()}))
    with pytest.raises(Unreadable, match=r"train-0\.tar/1\.jpg: 50 x 30 pixels, but its boxes are for 40 x 30"):
        BoxTars("memory://d/train-0.tar", NODES).read(0)


def test_a_guard_decodes() -> None:
    put("memory://d/train-0.tar", tar(labels()))
    asked: list[str] = []

    class Guard:
        def decode(self, data: bytes, key: str, **options: Any) -> Any:
            asked.append(key)
            return decode(data, key, **options)

    source = LabelTars("memory://d/train-0.tar", NODES)
    source.guard = Guard()  # type: ignore[assignment]
    assert [source.read(1).image_label, asked] == [21, ["train-0.tar/a/2.JPEG"]]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_same_as_from_folders(tmp_path: Path, form: int) -> None:
    """Order and pixels, with long names and names that are not ASCII in all formats of tars."""
    names = {DOG: ["a" * 90 + "/" + "b" * 60, "Hündchen"], CAT: ["c"]}
    for wnid, stems in names.items():
        for stem in stems:
            file = tmp_path / "folders" / wnid / f"{stem.replace('/', '_')}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(len(stem)))
    folders = ImageNetSource(tmp_path / "folders", NODES, split=None)
    members: dict[str, bytes] = {}
    for index in range(len(folders)):
        stem = next(
            stem
            for stem in names[folders.key(index).split("/")[0]]
            if folders.key(index).endswith(f"{stem.replace('/', '_')}.jpg")
        )
        members |= {
            f"./{stem}.jpg": folders.read_bytes(index),
            f"./{stem}.cls": folders.key(index).split("/")[0].encode(),
        }
    (tmp_path / "train.tar").write_bytes(tar(members, form))
    tars = LabelTars(str(tmp_path / "train.tar"), NODES)
    assert len(tars) == len(folders) == 3
    for index in range(3):
        ours, theirs = tars.read(index), folders.read(index)
        assert np.array_equal(ours.image, theirs.image)
        assert ours.image_label == theirs.image_label


# ---------------------------------------------------------------------------------------------------------- the index


def test_a_tar_is_read_through_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put("memory://d/train-0.tar", tar(labels()))
    put("memory://d/train-1.tar", tar({**labels(100), "x.cls": b"dog"}))
    read: list[str] = []
    whole = tar_shards.read_shard
    monkeypatch.setattr(
        tar_shards, "read_shard", lambda file, where, length: (read.append(where), whole(file, where, length))[1]
    )
    url = "memory://d/train-{0..1}.tar"
    first = LabelTars(url, NODES)
    assert sorted(read) == ["memory:///d/train-0.tar", "memory:///d/train-1.tar"]
    read.clear()
    again = LabelTars(url, NODES)
    assert (read, levels(again), again.shards.others) == ([], levels(first), [("memory:///d/train-1.tar", "x.cls")])
    put("memory://d/train-1.tar", tar(labels(50)))
    third = LabelTars(url, NODES)
    assert read == ["memory:///d/train-1.tar"]
    assert [level for _, _, level in levels(third)] == [10, 20, 60, 70]
    (tmp_path / "a file").write_text("")
    assert levels(LabelTars(url, NODES, cache=tmp_path / "a file")) == levels(third)  # nothing can be kept there


def test_a_tar_that_changes_under_a_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(tar(labels()))
    source = LabelTars(str(tmp_path / "train-0.tar"), NODES)
    source.read(0)
    (tmp_path / "train-0.tar").write_bytes(tar(labels(100)))
    with pytest.raises(Unreadable, match=r"train-0\.tar/b/1\.jpg: .*train-0\.tar has changed since it was indexed"):
        source.read(0)
    (tmp_path / "train-0.tar").unlink()
    with pytest.raises(Unreadable, match="No such file"):
        source.read(0)


def test_a_header_that_is_another_is_noticed_between_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked about a tar now and then only; each answer brings the member's header along."""
    put("memory://d/train-0.tar", tar(labels()))
    source = LabelTars("memory://d/train-0.tar", NODES)
    source.read(0)
    put("memory://d/train-0.tar", tar({"c/1.jpg": picture(10), "c/1.cls": b"cat"}))
    with pytest.raises(Unreadable, match="has changed since it was indexed: its header is another"):
        source.read(0)
    monkeypatch.setattr(tar_shards, "RECHECK", 0.0)
    with pytest.raises(Unreadable, match="has changed since it was indexed$"):
        source.read(0)
    put("memory://d/train-0.tar", b"")
    monkeypatch.setattr(tar_shards, "RECHECK", 300.0)
    with pytest.raises(Unreadable, match="gave 0 bytes for"):
        source.read(0)


# ----------------------------------------------------------------------------------------------------- hostile members


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def sparse(name: str) -> bytes:
    info = member(name, tarfile.GNUTYPE_SPARSE)
    info.size = 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" + b"00000001000\0"
    header[483:495] = b"00000100000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(10_240)


def with_size(data: bytes, size: int) -> bytes:
    """The first member says that it has another size."""
    header = bytearray(data[:512])
    header[124:136] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


GOOD = tar(labels())
with tarfile.open(fileobj=io.BytesIO(GOOD)) as _good:
    SECOND = _good.getmembers()[1]
HOSTILE: dict[str, tuple[bytes, str]] = {
    "out of the folder": (tar({"../../a.jpg": picture(1)}), r"'\.\./\.\./a\.jpg' leads out of the folder"),
    "from the root": (tar({"/etc/a.cls": b"dog", **labels()}), r"'/etc/a\.cls' leads out of the folder"),
    "inside and out": (tar({"a/../../b.json": b"{}", **labels()}), r"'a/\.\./\.\./b\.json' leads out"),
    "symbolic link": (
        tar({"x": member("a.jpg", tarfile.SYMTYPE, "/etc/passwd"), **labels()}),
        "'a.jpg' is a link to '/etc/passwd'",
    ),
    "hard link": (
        tar({**labels(), "x": member("c.json", tarfile.LNKTYPE, "b/1.cls")}),
        "'c.json' is a link to 'b/1.cls'",
    ),
    "sparse": (sparse("a.jpg"), "a.jpg is stored with holes"),
    "twice": (tar({**labels(), "b/1.png": picture(2, "PNG")}), r"'b/1\.png': another member is of the same image"),
    "twice with a dot": (tar({**labels(), "./b/1.cls": b"cat"}), r"'\./b/1\.cls': another member is of the same image"),
    "cut off in an image": (GOOD[:700], "not a tar file that can be read|truncated"),
    "cut off between members": (GOOD[: SECOND.offset], "truncated"),
    "cut off in a label": (
        GOOD[: SECOND.offset_data + 3],
        "truncated|end of",
    ),
    "longer than the tar": (with_size(GOOD, 1 << 32), "not a tar file that can be read|truncated"),
    "shorter than it is": (with_size(GOOD, 3), "truncated or damaged after 1 members"),
    "a label of a megabyte": (
        tar({**labels(), "c.cls": bytes(1 << 20)}),
        r"'c\.cls' has 1,048,576 bytes; a \.cls has 4,096",
    ),
    "a JSON of two megabytes": (tar({"c.json": b" " * (2 << 20), **labels()}), r"'c\.json' has 2,097,152 bytes"),
    "compressed": (b"\x1f\x8b" + bytes(1024), "it is compressed"),
    "of tars": (tar({"train.tar": GOOD}), "holds no image; found train.tar"),
    "names alone": (tar({"a.b.jpg": picture(1)}), "holds no image"),
    "empty": (b"", "not a tar file that can be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", [LabelTars, BoxTars])
def test_a_hostile_tar_is_refused_by_name(name: str, kind: Callable[..., Any]) -> None:
    data, said = HOSTILE[name]
    put("memory://d/train-7.tar", data)
    with pytest.raises(DatasetError, match=said) as caught:
        kind("memory://d/train-7.tar", NODES)
    assert "memory:///d/train-7.tar" in str(caught.value)


DEEP = b'{"label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("suffix", "data", "said"),
    [
        ("cls", b"", "it has no label"),
        ("cls", b" \n", "holds no label"),
        ("cls", b"dog\ncat", "holds no label, but 'dog.ncat'"),
        ("cls", b"\xff\xfe", "no text in UTF-8"),
        ("cls", b"7", "is the number of a line of classes.txt"),
        ("txt", b"dog", "it has no label"),
        ("json", b"{", "no JSON that can be read"),
        ("json", b"[]", "an object with keys is needed"),
        ("json", b'{"name": "dog"}', "no key label, but name"),
        ("json", b'{"label": true}', "neither a name nor a number"),
        ("json", b'{"label": NaN}', "NaN is no number"),
        ("json", b'{"label": ' + b"9" * 5_000 + b"}", "no JSON that can be read"),
        ("json", b'{"label": ' + b"9" * 401 + b"}", "neither a name nor a number"),
        ("json", DEEP, "too deeply"),
    ],
)
def test_a_wrong_label_is_named_with_tar_and_member(suffix: str, data: bytes, said: str) -> None:
    put("memory://d/train-0.tar", tar({"1.jpg": picture(1), f"1.{suffix}": data, "2.jpg": picture(2), "2.cls": b"dog"}))
    with pytest.raises(DatasetError, match=f"^memory:///d/train-0.tar: 1.jpg: .*{said}") as caught:
        LabelTars("memory://d/train-0.tar", NODES)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no .json belongs to it"),
        (b"null", "an object with keys is needed"),
        (DEEP, "too deeply"),
        (b'{"width": 40}', "no height and no boxes and no labels"),
        (boxes(width=0), "width must be a whole number"),
        (boxes(height="30"), "height must be a whole number"),
        (boxes(width=2**40), "width must be a whole number"),
        (boxes(boxes={}), "boxes must be a list"),
        (boxes([1, 2, 3, 4], labels=["dog", "cat"]), "1 boxes, 2 labels"),
        (boxes([1, 2, 3, 4], ignore=[0, 1]), "and 2 of ignore"),
        (boxes([1, 2, 3, 4], ignore=["0"]), "ignore holds 0 and 1 alone"),
        (boxes([1, 2, 3, 4], labels=[[]]), "a label is a name or a number"),
        (boxes([1, 2, 3, 4], labels=[9]), "is the number of a line"),
        (boxes([1, 2, 3]), "four finite numbers"),
        (boxes(["1", 2, 3, 4]), "four finite numbers"),
        (boxes([1, 2, 10**400, 4]), "four finite numbers"),
        (boxes([1, 2, float("nan"), 4]), "NaN is no number"),
        (boxes([1, 2, float("inf"), 4]), "Infinity is no number"),
        (boxes([1, 2, 3, 4]).replace(b"[1,", b"[1e999,"), "four finite numbers"),
        (boxes([30, 20, 10, 10]), "the right and lower edge come last"),
    ],
)
def test_a_wrong_box_is_named_with_tar_and_member(data: bytes, said: str) -> None:
    put(
        "memory://d/train-0.tar", tar({"a/1.jpg": picture(1), "a/1.json": data, "2.jpg": picture(2), "2.json": boxes()})
    )
    with pytest.raises(DatasetError, match=f"^memory:///d/train-0.tar: a/1.jpg: .*{said}") as caught:
        BoxTars("memory://d/train-0.tar", NODES)
    assert len(str(caught.value)) < 700


def test_many_wrong_annotations_are_counted() -> None:
    members: dict[str, bytes] = {}
    for i in range(9):
        members |= {f"{i}.jpg": picture(i), f"{i}.json": b"{"}
    put("memory://d/train-0.tar", tar(members))
    with pytest.raises(
        DatasetError, match=r"(?s)9 annotations are wrong; KEY\.json has .*:\n  memory.*\n  and 4 more$"
    ):
        BoxTars("memory://d/train-0.tar", NODES)


def test_a_broken_image_costs_itself() -> None:
    put("memory://d/train-0.tar", tar({**labels(), "c.jpg": picture(50)[:200], "c.cls": b"dog"}))
    source = LabelTars("memory://d/train-0.tar", NODES)
    record, replaced = read_or_next(source, 2)
    assert (record.key, [each.key for each in replaced]) == ("train-0.tar/b/1.jpg", ["train-0.tar/c.jpg"])


# ------------------------------------------------------------------------------------------------ a server that fails


class Failing(MemoryFileSystem):
    """It fails so often before it answers."""

    protocol = "failing"
    left: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("failing://", "memory://")))

    def _fail(self) -> None:
        if Failing.left > 0:
            Failing.left -= 1
            raise ConnectionResetError(104, "Connection reset by peer")

    def info(self, path: str, **more: Any) -> Any:
        self._fail()
        return super().info(path, **more)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> Any:
        self._fail()
        return super().cat_file(path, start=start, end=end, **more)

    def _open(self, path: str, *given: Any, **more: Any) -> Any:
        self._fail()
        return super()._open(path, *given, **more)


def test_a_server_that_fails_for_a_moment_is_asked_again(waits: list[float]) -> None:
    fsspec.register_implementation("failing", Failing, clobber=True)
    put("memory://d/train-0.tar", tar(labels()))
    Failing.left = 3
    source = LabelTars("failing://d/train-0.tar", NODES)
    assert waits == [0.5, 2.0, 8.0]
    Failing.left = 2
    assert source.read(1).image_label == 21
    assert waits == [0.5, 2.0, 8.0, 0.5, 2.0]
    Failing.left = 4
    with pytest.raises(Unreadable, match=r"train-0\.tar/a/2\.JPEG: ConnectionResetError: .*Connection reset by peer"):
        source.read(1)
    Failing.left = 4
    record, replaced = read_or_next(source, 1)
    assert (record.key, [each.reason[:20] for each in replaced]) == ("train-0.tar/b/1.jpg", ["ConnectionResetError"])
    Failing.left = 100
    with pytest.raises(
        DatasetError, match=r"failing:///d/train-0\.tar: cannot be read: ConnectionResetError|classes.txt: cannot"
    ):
        LabelTars("failing://d/train-0.tar", NODES)
    Failing.left = 0


class Handler(http.server.BaseHTTPRequestHandler):
    """A web server of some files, with ranges unless they are turned off, that may say 503 for a while."""

    files: ClassVar[dict[str, bytes]] = {}
    busy: ClassVar[int] = 0
    ranges: ClassVar[bool] = True
    says: ClassVar[str | None] = "bytes"
    asked: ClassVar[list[str]] = []
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        data = Handler.files.get(self.path)
        wanted = self.headers.get("Range") if Handler.ranges else None
        Handler.asked.append(f"{self.command} {wanted}")
        if Handler.busy > 0:
            Handler.busy -= 1
            status, data = 503, b"busy"
        else:
            status = 404 if data is None else 206 if wanted else 200
        body = data or b""
        size = len(body)
        self.send_response(status)
        if status == 206 and wanted is not None:
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            last = min(int(end), size - 1) if end else size - 1
            body = body[int(begin) : last + 1]
            self.send_header("Content-Range", f"bytes {begin}-{last}/{size}")
        self.send_header("Content-Length", str(len(body)))
        if status in (200, 206):
            self.send_header("ETag", f'"{hash(data)}"')
            if Handler.says is not None:
                self.send_header("Accept-Ranges", Handler.says)
        self.end_headers()
        if with_body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def log_message(self, *said: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="fsspec opens http:// with aiohttp, which is not installed")
    monkeypatch.setattr(Handler, "files", {})
    monkeypatch.setattr(Handler, "asked", [])
    monkeypatch.setattr(Handler, "ranges", True)
    monkeypatch.setattr(Handler, "says", "bytes")
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        fsspec.get_filesystem_class("http").clear_instance_cache()
        running.shutdown()
        thread.join()


def test_a_web_server_is_read_by_ranges(server: str, waits: list[float]) -> None:
    Handler.files["/d/train-0.tar"] = tar({**labels(), "z.txt": bytes(1 << 16)})
    with pytest.raises(DatasetError, match=r"/d/train-1\.tar: no such file"):
        LabelTars(f"{server}/d/train-{{0..1}}.tar", NODES)
    assert waits == []  # what is not there is not waited for
    Handler.busy = 2  # fsspec says of a server that is busy, asked in both of its ways, that there is no such file
    source = LabelTars(f"{server}/d/train-0.tar", NODES)
    assert waits == [0.5]
    waits.clear()
    Handler.asked.clear()
    assert levels(source) == [("train-0.tar/b/1.jpg", 20, 10), ("train-0.tar/a/2.JPEG", 21, 20)]
    assert [each for each in Handler.asked if "None" not in each] == [
        f"GET bytes={begin - 512}-{begin + size - 1}"
        for begin, size in zip(source.shards.offsets.tolist(), source.shards.sizes.tolist(), strict=True)
    ]
    Handler.busy = 2
    assert source.read(0).image_label == 20
    assert waits == [0.5, 2.0]
    Handler.files["/d/train-0.tar"] = tar(labels(100))
    fresh = pickle.loads(pickle.dumps(source))  # another process, which asks what the tar is now
    with pytest.raises(Unreadable, match=r"/d/train-0\.tar has changed since it was indexed$"):
        fresh.read(0)


def test_workers_that_were_forked_read_a_web_server(server: str, tmp_path: Path) -> None:
    """The connections of fsspec and their thread do not survive a fork."""
    many(tmp_path)
    Handler.files.update({f"/{file.name}": file.read_bytes() for file in tmp_path.glob("*.tar")})
    dataset = MixedDataset(None, LabelTars(f"{server}/train-{{0..2}}.tar", NODES), batch_size=4, sizes=(32,))
    alone = batches(dataset)
    assert batches(dataset, workers=2, start_method="fork") == alone


@pytest.mark.parametrize(
    ("rest", "says", "said"),
    [(0, "none", "sends whole files"), (0, None, "sends whole files"), (6 << 20, None, "support range requests")],
)
def test_a_web_server_without_ranges_is_refused(rest: int, says: str | None, said: str, server: str) -> None:
    Handler.ranges, Handler.says = False, says
    Handler.files["/d/train-0.tar"] = tar({**labels(), "z.txt": bytes(rest)})
    with pytest.raises(DatasetError, match=rf"/d/train-0\.tar: .*{said}"):
        LabelTars(f"{server}/d/train-0.tar", NODES)


# -------------------------------------------------------------------------------------------------- workers and ranks


def many(folder: Path, number: int = 11) -> str:
    for shard in range(3):
        members: dict[str, bytes] = {}
        for i in range(shard, number, 3):
            members |= {f"{i}.png": picture(20 * i, "PNG"), f"{i}.cls": (DOG if i % 2 else CAT).encode()}
        (folder / f"train-{shard}.tar").write_bytes(tar(members))
    return f"{folder}/train-{{0..2}}.tar"


def batches(dataset: MixedDataset, **how: Any) -> list[tuple[list[str], float]]:
    return [(batch.keys, float(batch.images.float().sum())) for batch in make_loader(dataset, stop=12, **how)]


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_what_one_process_reads(tmp_path: Path, start_method: Any) -> None:
    source = LabelTars(many(tmp_path), NODES)
    dataset = MixedDataset(None, source, batch_size=4, sizes=(32,))
    alone = batches(dataset)
    assert batches(dataset, workers=2, start_method=start_method) == alone


def test_three_ranks_share_the_tars(tmp_path: Path) -> None:
    """Each image comes once in a pass, whichever tar it lies in."""
    source = LabelTars(many(tmp_path, 12), NODES)
    dataset = MixedDataset(None, source, batch_size=4, sizes=(32,))
    shares = [batches(dataset, rank=rank, world_size=3) for rank in range(3)]
    together = [key for step in range(3) for share in shares for key in share[step][0]]
    assert together == [key for keys, _ in batches(dataset) for key in keys]
    assert sorted(together) == sorted(source.names)


def test_a_process_that_was_forked_opens_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LabelTars(many(tmp_path), NODES)
    files = source.shards.files
    files.read(0, 0, 8)
    mine = files._file_system()
    assert files._file_system() is mine
    pid = os.getpid()
    monkeypatch.setattr(remote.os, "getpid", lambda: pid + 1)
    fsspec.implementations.local.LocalFileSystem.clear_instance_cache()
    assert files._file_system() is not mine
