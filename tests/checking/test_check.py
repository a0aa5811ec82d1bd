"""``yolo9000 check`` on data with seeded flaws: each is found at its place, none is invented, no byte is changed; and a
training does with each what the report says.

It is one file because a flaw is some lines, and what is seeded is best read beside what is expected.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000.__main__ import main
from yolo9000.checking.findings import KINDS
from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.errors import DatasetError, Unreadable
from yolo9000.datasets.unreadable import UnreadableCounter, read_or_next
from yolo9000.experiment.layouts import LAYOUTS

CAT, DOG = "n02121620", "n02084071"
NODES = {"cat": 1, "dog": 2}
TREE = WordTree(("n00015388", CAT, DOG), ("animal", "cat", "dog"), (-1, 0, 0), label_maps={"coco": NODES})
WIDTH, HEIGHT = 64, 48
Where = tuple[str, str, str, int | None]
"""Kind, name of the file, record, line."""


def picture(seed: int) -> Image.Image:
    """Blocks of colours, different for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class Coco:
    """A data set in COCO's format, written with a record in each line."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
        self.files: dict[str, bytes] = {}
        self.val: dict[str, bytes] = {}
        for number, name in enumerate(("cat", "dog")):
            self.lists["categories"].append({"id": number + 1, "name": name})
        for number in range(4):
            self.box(self.image(f"{number}.jpg"), [4, 5, 20, 30])
        self.val["held out.jpg"] = encoded(picture(99))

    def image(self, name: str, data: bytes | None = None, **more: object) -> dict[str, Any]:
        number = len(self.lists["images"]) + 1
        entry = {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **more}
        self.lists["images"].append(entry)
        self.files[name] = encoded(picture(number)) if data is None else data
        return entry

    def box(self, image: dict[str, Any], bbox: object, **more: object) -> dict[str, Any]:
        number = len(self.lists["annotations"]) + 1
        entry = {"id": number, "image_id": image["id"], "category_id": 1 + number % 2, "bbox": bbox, **more}
        self.lists["annotations"].append(entry)
        return entry

    def write(self, root: Path) -> None:
        for split in ("train", "val"):
            (root / split).mkdir(parents=True)
        (root / "annotations").mkdir()
        for name, data in self.files.items():
            (root / "train" / name).write_bytes(data)
        for name, data in self.val.items():
            (root / "val" / name).write_bytes(data)
        lines = {name: ",\n".join(json.dumps(entry) for entry in entries) for name, entries in self.lists.items()}
        parts = [f'"{name}": [\n{text}\n]' for name, text in lines.items()]
        (root / "annotations" / "instances_train.json").write_text("{" + ",\n".join(parts) + "}\n")
        held = [{"id": i, "file_name": n, "width": WIDTH, "height": HEIGHT} for i, n in enumerate(self.val)]
        content = {"images": held, "annotations": [], "categories": self.lists["categories"][:2]}
        (root / "annotations" / "instances_val.json").write_text(json.dumps(content))

    def place(self, entry: Any) -> tuple[str, int]:
        """Record and line of an entry."""
        line = 2
        for name, entries in self.lists.items():
            for number, each in enumerate(entries):
                if each is entry:
                    return f"{name}[{number}]", line + number
            line += len(entries) + 2
        raise LookupError(entry)


Seed = Callable[[Coco], tuple[str, Any]]
"""It puts a flaw into the data, and gives its kind and the record or the name of the image that is wrong."""


def an_image(kind: str, name: str, data: Callable[[], bytes]) -> Seed:
    def seed(coco: Coco) -> tuple[str, Any]:
        coco.image(name, data())
        return kind, name

    return seed


def a_box(kind: str, bbox: object, **more: object) -> Seed:
    return lambda coco: (kind, coco.box(coco.lists["images"][0], bbox, **more))


def again(kind: str, of: str, **changes: object) -> Seed:
    def seed(coco: Coco) -> tuple[str, Any]:
        entry = {**coco.lists[of][0], **changes}
        coco.lists[of].append(entry)
        return kind, entry

    return seed


def without(kind: str, of: str, key: str) -> Seed:
    def seed(coco: Coco) -> tuple[str, Any]:
        entry = {name: value for name, value in coco.lists[of][0].items() if name != key}
        coco.lists[of].append(entry | {"id": 900} if key != "id" else entry)
        return kind, coco.lists[of][-1]

    return seed


def missing_image(coco: Coco) -> tuple[str, Any]:
    entry = coco.image("gone.jpg")
    del coco.files["gone.jpg"]
    return "missing-image", entry


def unlisted_image(coco: Coco) -> tuple[str, Any]:
    coco.files["more.jpg"] = encoded(picture(70))
    return "image-without-annotation", "more.jpg"


def other_size(width: float) -> Seed:
    def seed(coco: Coco) -> tuple[str, Any]:
        entry = coco.image(f"{width} wide.jpg", width=width)
        coco.box(entry, [1, 2, 3, 4])
        return "other-size", entry

    return seed


def strange_category(coco: Coco) -> tuple[str, Any]:
    coco.lists["categories"].append({"id": 77, "name": "axolotl"})
    return "no-node", "axolotl"


def in_both(coco: Coco) -> tuple[str, Any]:
    coco.val["twin.jpg"] = coco.files["0.jpg"]
    return "in-both", "twin.jpg"


def alike(coco: Coco) -> tuple[str, Any]:
    coco.val["like.jpg"] = encoded(picture(1), quality=50)
    return "alike-in-both", "like.jpg"


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


DEEP = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * np.uint16(21)
SEEDS: dict[str, Seed] = {
    "a web page": an_image("unreadable", "page.jpg", lambda: b"<html>404</html>"),
    "an empty file": an_image("unreadable", "empty.jpg", lambda: b""),
    "an eps": an_image("unreadable", "print.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n"),
    "half a jpeg": an_image("truncated", "half.jpg", lambda: encoded(picture(50))[:900]),
    "half a png": an_image("truncated", "half.png", lambda: encoded(picture(51), "PNG")[:150]),
    "a bomb": an_image("too-large", "bomb.png", lambda: png_header(50_000, 50_000)),
    "a png called jpg": an_image("mislabelled", "called.jpg", lambda: encoded(picture(52), "PNG")),
    "a jpeg called png": an_image("mislabelled", "called.png", lambda: encoded(picture(53))),
    "four colours": an_image("cmyk", "print2.jpg", lambda: encoded(picture(54).convert("CMYK"))),
    "16 bits": an_image("16-bit", "deep.png", lambda: encoded(Image.fromarray(DEEP), "PNG")),
    "on its side": an_image("exif-rotated", "side.jpg", lambda: encoded(picture(55), exif=exif(6))),
    "upside down": an_image("exif-rotated", "down.jpg", lambda: encoded(picture(56), exif=exif(3))),
    "a moving gif": an_image(
        "animated", "moves.gif", lambda: encoded(picture(57), "GIF", save_all=True, append_images=[picture(58)])
    ),
    "a moving webp": an_image(
        "animated", "moves.webp", lambda: encoded(picture(59), "WEBP", save_all=True, append_images=[picture(60)])
    ),
    "no width": a_box("zero-area", [5, 5, 0, 4]),
    "a negative height": a_box("zero-area", [5, 5, 4, -3]),
    "right of the image": a_box("outside", [70, 5, 4, 3]),
    "left of the image": a_box("outside", [-9, 5, 4, 3]),
    "over the edge": a_box("over-the-edge", [50, 5, 40, 4]),
    "not a number": a_box("not-finite", [float("nan"), 5, 3, 4]),
    "without end": a_box("not-finite", [1, 5, float("inf"), 4]),
    "401 digits": a_box("not-finite", [1, 5, 10**400, 4]),
    "no box": a_box("not-finite", None),
    "three numbers": a_box("not-finite", [1, 2, 3]),
    "the same box": again("duplicate-box", "annotations", id=901),
    "an annotation's id": a_box("duplicate-annotation-id", [1, 1, 9, 9], id=1),
    "an image's id": again("duplicate-id", "images"),
    "a category's id": again("duplicate-id", "categories"),
    "no such image": a_box("annotation-without-image", [1, 1, 9, 9], image_id=777),
    "no such category": a_box("unknown-category", [1, 1, 9, 9], category_id=777),
    "a crowd as text": a_box("wrong-record", [1, 1, 9, 9], iscrowd="0"),
    "an id as text": again("wrong-record", "images", id="a"),
    "an id of 70 bits": again("wrong-record", "images", id=2**70),
    "no name of a file": without("wrong-record", "images", "file_name"),
    "no image id": without("wrong-record", "annotations", "image_id"),
    "no name": without("wrong-record", "categories", "name"),
    "listed twice": again("listed-twice", "images", id=902),
    "gone": missing_image,
    "more": unlisted_image,
    "another size": other_size(640),
    "another size, as a fraction": other_size(640.0),
    "axolotl": strange_category,
    "twin": in_both,
    "like": alike,
}
OF_IMAGES = {"unreadable", "truncated", "too-large"}


def expected_of(coco: Coco, kind: str, what: Any) -> Where:
    if kind == "no-node":
        return kind, "instances_train.json", str(what), None
    if isinstance(what, str):
        return kind, what, "", None
    record, line = coco.place(what)
    return kind, "instances_train.json", record, line


def bytes_of(root: Path) -> dict[str, str]:
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def check(folder: Path, *words: str) -> tuple[int, set[Where], dict[str, Any]]:
    """Status, what was found, and the whole report."""
    save_tree(TREE, folder / "tree.json", force=True)
    out = folder / "out"
    options = ["--tree", str(folder / "tree.json"), "--out", str(out), "--workers", "2", "--overwrite"]
    status = main(["check", *words, *options])
    report = json.loads((out / "check.json").read_text())
    found = [(each["kind"], Path(each["file"]).name, each["record"], each["line"]) for each in report["findings"]]
    assert len(set(found)) == len(found)
    return status, set(found), report


def test_every_flaw_of_a_coco_set_is_found_at_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = Coco()
    seeded = [seed(coco) for seed in SEEDS.values()]
    coco.image("a <b> & 'c'.jpg")
    coco.write(tmp_path / "coco")
    before = bytes_of(tmp_path / "coco")
    status, found, report = check(tmp_path, "--coco", str(tmp_path / "coco"))
    expected = {expected_of(coco, *each) for each in seeded}
    assert len(expected) == len(SEEDS) >= 40
    assert found == expected
    assert status == 1
    assert bytes_of(tmp_path / "coco") == before
    said = capsys.readouterr().out
    for kind in {kind for kind, *_ in expected}:
        assert KINDS[kind].title in said
        assert KINDS[kind].title in (tmp_path / "out" / "index.html").read_text()
    assert {each["does"] for each in report["findings"]} == {"refuse", "skip", "clip", "keep", "pass over"}
    assert list((tmp_path / "out" / "pictures").glob("*.jpg"))


def test_clean_data_have_no_flaw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each layout; and what each class is trained on is counted."""
    Coco().write(tmp_path / "coco")
    write_voc(tmp_path / "voc")
    write_yolo(tmp_path / "yolo")
    write_csv(tmp_path / "csv")
    write_imagenet(tmp_path / "imagenet")
    words = [f"--{name}={tmp_path / name}" for name in ("coco", "voc", "yolo", "imagenet")]
    status, found, report = check(tmp_path, *words, f"--csv={tmp_path / 'csv' / 'boxes.csv'}")
    assert found == set()
    assert status == 0
    said = capsys.readouterr().out
    assert "nothing is wrong" in said
    assert f"cat ({CAT}): trained on 8 boxes, 2 images" in said
    assert f"dog ({DOG}): trained on 3 boxes, 0 images" in said
    assert {each["name"]: (each["boxes"], each["images"]) for each in report["nodes"]} == {"cat": (8, 2), "dog": (3, 0)}


# ------------------------------------------------------------ what a training does with it


@pytest.mark.parametrize("name", SEEDS)
def test_a_training_does_what_is_said(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    coco = Coco()
    kind, what = SEEDS[name](coco)
    coco.write(tmp_path)
    does = KINDS[kind].does
    if does == "refuse":
        with pytest.raises(DatasetError):
            CocoSource(tmp_path, {"cat": 1, "dog": 2}, split="train")
        return
    with caplog.at_level(logging.WARNING):
        source = CocoSource(tmp_path, {"cat": 1, "dog": 2}, split="train")
    boxes = sum(1 for each in coco.lists["annotations"])
    if kind in OF_IMAGES or kind == "other-size":
        index = len(source) - 1
        with pytest.raises(Unreadable):
            source.read(index)
        counter = UnreadableCounter({source.name: len(source)})
        record, replaced = read_or_next(source, index)
        counter.add(replaced)
        assert record.key == "0.jpg"
        assert "cannot be read" in caplog.text
        return
    for index in range(len(source)):
        source.read(index)
    if does == "skip":
        assert (len(source.labels), sum(source.index.dropped.values())) == (boxes - 1, 1)
        assert "1 " in caplog.text
        assert "left out" in caplog.text
    elif does == "clip":
        assert source.index.dropped == {"clipped to the image": 1}
        assert source.index.boxes_xyxy.max() <= WIDTH
    else:
        assert source.index.dropped == {}
        assert len(source.labels) == boxes
        assert (what in [source.index.names[i] for i in range(len(source))]) == (
            does == "keep" and "both" not in kind
        ) or (not isinstance(what, str))


# ------------------------------------------------------------ other layouts


XML = "<annotation>\n<size><width>64</width><height>48</height></size>\n{}</annotation>\n"
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>5</ymin><xmax>{}</xmax><ymax>30</ymax></bndbox></object>"
OBJECT += "\n"


def write_voc(root: Path) -> None:
    for place in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / place).mkdir(parents=True)
    for number in range(2):
        (root / "JPEGImages" / f"{number}.jpg").write_bytes(encoded(picture(200 + number)))
        (root / "Annotations" / f"{number}.xml").write_text(XML.format(OBJECT.format("cat", 5, 20)))
    (root / "ImageSets" / "Main" / "train.txt").write_text("0\n1\n")


def write_yolo(root: Path) -> None:
    for place in ("images/train", "labels/train"):
        (root / place).mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    (root / "images/train/0.jpg").write_bytes(encoded(picture(210)))
    (root / "labels/train/0.txt").write_text("0 .5 .5 .2 .2\n0 .3 .3 .2 .2\n")


def write_csv(root: Path) -> None:
    root.mkdir()
    (root / "0.jpg").write_bytes(encoded(picture(220)))
    rows = ["path,x0,y0,x1,y1,label", "0.jpg,1,2,30,40,cat", "0.jpg,1,2,31,40,cat", "0.jpg,4,4,30,40,dog"]
    (root / "boxes.csv").write_text("\n".join(rows) + "\n")


def write_imagenet(root: Path) -> None:
    (root / "train" / CAT).mkdir(parents=True)
    for number in range(2):
        (root / "train" / CAT / f"{number}.JPEG").write_bytes(encoded(picture(230 + number)))


def test_flaws_of_a_voc_set(tmp_path: Path) -> None:
    root = tmp_path / "voc"
    write_voc(root)
    xmls, images = root / "Annotations", root / "JPEGImages"
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n0\nnoxml\nnoimage\nbroken\nwords\n")
    (images / "noxml.jpg").write_bytes(encoded(picture(240)))
    (xmls / "noimage.xml").write_text(XML.format(""))
    (images / "broken.jpg").write_bytes(encoded(picture(241)))
    (xmls / "broken.xml").write_text("<annotation>\n<size>\n</annotation>")
    (images / "words.jpg").write_bytes(encoded(picture(242)))
    objects = OBJECT.format("cat", "ten", 20) + OBJECT.format("", 5, 20) + OBJECT.format("dog", 30, 20)
    (xmls / "words.xml").write_text(XML.format(objects + OBJECT.format("cat", 80, 90)))
    (xmls / "lonely.xml").write_text(XML.format(""))
    (images / "lonely2.jpg").write_bytes(encoded(picture(243)))
    before = bytes_of(root)
    _, found, _ = check(tmp_path, "--voc", str(root))
    assert found == {
        ("duplicate-id", "train.txt", "0", 3),
        ("missing-annotation", "train.txt", "noxml", 4),
        ("missing-image", "train.txt", "noimage", 5),
        ("wrong-record", "broken.xml", "", 3),
        ("wrong-record", "words.xml", "object 1", 3),
        ("wrong-record", "words.xml", "object 2", 4),
        ("zero-area", "words.xml", "object 3", 5),
        ("outside", "words.xml", "object 4", 6),
        ("label-without-image", "lonely.xml", "", None),
        ("image-without-annotation", "lonely2.jpg", "", None),
    }
    assert bytes_of(root) == before


def test_flaws_of_texts_tables_and_tars(tmp_path: Path) -> None:
    write_yolo(tmp_path / "yolo")
    lines = ["0 .5 .5 .2 .2", "7 .5 .5 .2 .2", "0 50 50 20 20", "0 .5 .5", "0 .5 .5 .2 .2", "1 .5 .5 nan .2"]
    (tmp_path / "yolo/labels/train/0.txt").write_text("\n".join(lines))
    (tmp_path / "yolo/labels/train/lonely.txt").write_text("0 .5 .5 .2 .2\n")
    write_csv(tmp_path / "csv")
    rows = ["path,x0,y0,x1,y1,label", "0.jpg,1,2,30,40,cat", "gone.jpg,1,2,3,4,cat", "0.jpg,a,2,3,4,cat"]
    rows += ["0.jpg,1,2,30,40,cat", "0.jpg,1,2,nan,40,cat", "0.jpg,90,2,95,40,cat", "0.jpg,1,2,30,40,unicorn"]
    (tmp_path / "csv" / "boxes.csv").write_text("\n".join(rows) + "\n")
    write_imagenet(tmp_path / "imagenet")
    (tmp_path / "imagenet/train" / CAT / "page.JPEG").write_text("<html>")
    with tarfile.open(tmp_path / "imagenet/train" / f"{DOG}.tar", "w") as tar:
        for name, data in (("whole.JPEG", encoded(picture(250))), ("half.JPEG", encoded(picture(251))[:900])):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    words = ["--yolo", str(tmp_path / "yolo"), "--csv", str(tmp_path / "csv/boxes.csv"), "--imagenet"]
    _, found, report = check(tmp_path, *words, str(tmp_path / "imagenet"))
    assert found == {
        ("wrong-record", "0.txt", "", 2),
        ("wrong-record", "0.txt", "", 3),
        ("wrong-record", "0.txt", "", 4),
        ("written-twice", "0.txt", "", 5),
        ("wrong-record", "0.txt", "", 6),
        ("label-without-image", "lonely.txt", "", None),
        ("missing-image", "boxes.csv", "", 3),
        ("wrong-record", "boxes.csv", "", 4),
        ("written-twice", "boxes.csv", "", 5),
        ("wrong-record", "boxes.csv", "", 6),
        ("outside", "boxes.csv", "", 7),
        ("no-node", "boxes.csv", "unicorn", None),
        ("unreadable", "page.JPEG", "", None),
        ("truncated", f"{DOG}.tar", f"{DOG}/half.JPEG", None),
    }
    assert report["never_boxed"] == [2]


def test_a_real_piece_of_coco_has_no_flaw(shared: Path, tmp_path: Path) -> None:
    """Sixty photographs of COCO's, with all their boxes."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").symlink_to(shared / "data" / "coco" / "val2017")
    (root / "annotations" / "instances_val2017.json").write_bytes(
        (shared / "data" / "coco" / "annotations" / "instances_val2017.json").read_bytes()
    )
    status = main(["check", "--coco", str(root), "--splits", "val2017:none", "--out", str(tmp_path / "out")])
    assert json.loads((tmp_path / "out" / "check.json").read_text())["findings"] == []
    assert status == 0


def test_a_set_that_cannot_be_opened_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    status, found, _ = check(tmp_path, "--coco", str(tmp_path / "empty"))
    assert found == {("refused", "empty", "", None)}
    assert status == 1
    assert main(["check"]) == 2
    assert "name them as for a training" in capsys.readouterr().err


def without_images(root: Path) -> tuple[str, str]:
    coco = Coco()
    coco.lists["images"], coco.lists["annotations"], coco.files = [], [], {}
    coco.write(root)
    return "coco", "instances_train.json"


def without_names(root: Path) -> tuple[str, str]:
    write_voc(root)
    (root / "ImageSets/Main/train.txt").write_text("\n")
    return "voc", "train.txt"


def without_labels(root: Path) -> tuple[str, str]:
    write_yolo(root)
    (root / "labels/train/0.txt").unlink()
    return "yolo", "data.yaml"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (without_images, "names no image"),
        (without_names, "names no image"),
        (without_labels, "none of the 1 images of train has a file of labels; looked for .*0.txt"),
    ],
)
def test_a_set_of_nothing_is_refused_as_by_a_training(
    write: Callable[[Path], tuple[str, str]], said: str, tmp_path: Path
) -> None:
    layout, file = write(tmp_path / "set")
    status, found, report = check(tmp_path, f"--{layout}", str(tmp_path / "set"))
    assert (status, found) == (1, {("refused", file, "", None)})
    assert re.search(said, report["findings"][0]["text"])
    with pytest.raises(DatasetError, match=said):
        LAYOUTS[layout].open(str(tmp_path / "set"), NODES, "train", layout)


def without_val_folder(root: Path) -> str:
    Coco().write(root)
    (root / "val" / "held out.jpg").unlink()
    (root / "val").rmdir()
    return "coco"


def with_a_slip_in_yaml(root: Path) -> str:
    write_yolo(root)
    (root / "data.yaml").write_text("train: images/train\nval: images/vla\nnames: [cat, dog]\n")
    return "yolo"


def with_a_list_in_latin_1(root: Path) -> str:
    write_voc(root)
    (root / "ImageSets/Main/val.txt").write_bytes("größe\n".encode("latin-1"))
    return "voc"


def with_an_empty_table(root: Path) -> str:
    write_csv(root)
    (root / "boxes.csv").rename(root / "train.csv")
    (root / "val.csv").write_text("path,x0,y0,x1,y1,label\n")
    return "csv"


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (without_val_folder, "looked for the images in .*val, found no such folder"),
        (with_a_slip_in_yaml, "val: looked for images in .*vla, found no such folder"),
        (with_a_list_in_latin_1, r"val\.txt: is no text that can be read"),
        (with_an_empty_table, r"val\.csv: has no image"),
    ],
)
def test_a_held_out_part_that_cannot_be_read_is_a_finding(
    write: Callable[[Path], str], said: str, tmp_path: Path
) -> None:
    """A set may have none, as in `test_clean_data_have_no_flaw`; one that is named and not read is another thing."""
    layout = write(tmp_path / "set")
    status, found, report = check(tmp_path, f"--{layout}", str(tmp_path / "set"))
    assert (status, found) == (1, {("refused", "set", "", None)})
    assert report["findings"][0]["split"] == "val"
    assert re.search(said, report["findings"][0]["text"])


def test_what_both_parts_share_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.yaml").write_text("{")
    _, found, _ = check(tmp_path, "--yolo", str(tmp_path / "set"))
    assert found == {("refused", "set", "", None)}


def test_an_annotation_file_is_one_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = Coco()
    in_both(coco)
    coco.write(tmp_path / "set")
    train, val = (str(tmp_path / "set" / "annotations" / f"instances_{split}.json") for split in ("train", "val"))
    status, found, report = check(tmp_path, "--coco", train)
    assert (status, found, len(report["sets"])) == (0, set(), 1)
    write_voc(tmp_path / "voc")
    (tmp_path / "voc/ImageSets/Main/val.txt").write_text("0\n")  # not read, as in a training: `--val` is held out
    for first, other in (("--coco", train), ("--voc", str(tmp_path / "voc"))):
        status, found, report = check(tmp_path, first, other, "--val", val)
        assert [(each["split"], each["images"]) for each in report["sets"]] == [
            ("train", 4 if first == "--coco" else 2),
            ("val", 2),
        ]
        assert found == ({("in-both", "twin.jpg", "", None)} if first == "--coco" else set())
    _, found, _ = check(tmp_path, "--coco", train, "--val", str(tmp_path / "nowhere"))
    assert found == {("refused", "nowhere", "", None)}
    assert main(["check", "--imagenet", str(tmp_path), "--val", val, "--out", str(tmp_path / "out")]) == 2
    assert "--val holds out photographs with boxes, and no set of them is named" in capsys.readouterr().err


GOOD = """{"info": {},
"images": [
{"id": 1, "file_name": "0.jpg", "width": 64, "height": 48},
{"id": 2, "file_name": "1.jpg", "width": 64, "height": 48}
],
"categories": [{"id": 1, "name": "cat"}],
"annotations": []
}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "line", "said"),
    [
        ("48}\n],", "48},\n],", 4, "there is a comma before ']'"),
        ('"annotations": []\n', '"annotations": [],\n', 7, "there is a comma before '}'"),
        ('"info": {},', '"info": {}', 2, "',' is due, not '\"'"),
        ('],\n"categories"', ']\n"categories"', 6, "',' is due, not '\"'"),
        ("48},\n", "48}\n", 4, "',' is due, not '{'"),
        ('"info"', "1", 1, "a key in quotes is due, not 1"),
    ],
)
def test_json_that_a_training_refuses(right: str, wrong: str, line: int, said: str, tmp_path: Path) -> None:
    coco = Coco()
    coco.write(tmp_path / "set")
    file = tmp_path / "set/annotations/instances_train.json"
    assert GOOD.count(right) == 1
    file.write_text(GOOD.replace(right, wrong))
    status, found, report = check(tmp_path, "--coco", str(file))
    assert (status, found) == (1, {("wrong-record", "instances_train.json", "", line)})
    assert report["findings"][0]["text"] == f"it is not valid JSON: {said}"
    with pytest.raises(DatasetError, match="is not valid JSON"):
        CocoSource(file, NODES)


def test_a_relative_table_may_hang_over_by_rounding(tmp_path: Path) -> None:
    write_csv(tmp_path / "csv")
    rows = "0.jpg,0.1,0.1,1.000001,0.9,cat\n0.jpg,0.5,0.5,0.9,0.9,dog\n0.jpg,0.5,0.5,1.5,0.9,dog\n"
    (tmp_path / "csv/boxes.csv").write_text(rows)
    _, found, report = check(tmp_path, "--csv", str(tmp_path / "csv/boxes.csv"))
    assert found == {("over-the-edge", "boxes.csv", "", 3)}
    assert report["findings"][0]["box_xyxy"] == pytest.approx([32, 24, 96, 43.2])


@pytest.mark.parametrize("folder", ["", "images"])
def test_labels_of_splits_that_are_lists_have_their_images(folder: str, tmp_path: Path) -> None:
    """With ``images`` labels lie apart; without, they and the lists lie beside the images."""
    root = tmp_path / "set"
    images, labels = root / folder, root / folder.replace("images", "labels")
    for place in (images, labels):
        place.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(("train", "val", "test")):
        (images / f"{number}.jpg").write_bytes(encoded(picture(260 + number)))
        (labels / f"{number}.txt").write_text(f"{number % 2} .5 .5 .2 .2\n")
        (root / f"{split}.txt").write_text(f"{Path(folder, str(number))}.jpg\n")
    (root / "data.yaml").write_text("train: train.txt\nval: val.txt\ntest: test.txt\nnames: [cat, dog]\n")
    status, found, _ = check(tmp_path, "--yolo", str(root))
    assert (status, found) == (0, set())
    (labels / "lonely.txt").write_text("0 .5 .5 .2 .2\n")
    _, found, _ = check(tmp_path, "--yolo", str(root))
    assert found == {("label-without-image", "lonely.txt", "", None)}
    (root / "test.txt").write_text("gone.jpg\n")  # whose labels lonely.txt are cannot be known
    _, found, _ = check(tmp_path, "--yolo", str(root))
    assert found == set()


def first_picture(folder: Path) -> np.ndarray[Any, Any]:
    with Image.open(folder / "out/pictures/0.jpg") as shown:
        return np.asarray(shown.convert("RGB"))


@pytest.mark.parametrize("layout", ["csv", "yolo"])
def test_the_page_shows_images_of_one_name_apart(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, size in (("a", (64, 48)), ("b", (200, 100))):
        (root / name).mkdir(parents=True)
        picture(270 + len(name)).resize(size).save(root / name / "1.png")
        (root / name / "1.txt").write_text("0 .9 .5 .4 .2\n" if name == "a" else "0 .5 .5 .4 .2\n")
    (root / "data.yaml").write_text("train: [a, b]\nnames: [cat]\n")
    (root / "train.csv").write_text("a/1.png,10,10,90,40,cat\nb/1.png,1,1,30,30,cat\n")
    _, found, report = check(tmp_path, f"--{layout}", str(root))
    assert {each[0] for each in found} == {"over-the-edge"}
    assert report["findings"][0]["image"] == "a/1.png"
    assert first_picture(tmp_path).shape == (180, 240, 3)


@pytest.mark.parametrize("layout", ["csv", "coco"])
def test_the_page_shows_an_image_as_its_boxes_refer_to_it(layout: str, tmp_path: Path) -> None:
    """Those of a table to the upright image, and those of COCO where only it has the size that is stated."""
    root = tmp_path / "set"
    (root / "train").mkdir(parents=True)
    lying = Image.new("RGB", (100, 50), "white")
    lying.save(root / "train" / "1.jpg", exif=exif(6))  # 50 wide and 100 high
    (root / "train.csv").write_text("train/1.jpg,-5,0,50,20,cat\n")
    (root / "annotations").mkdir()
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 50, "height": 100}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [-5, 0, 55, 20]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    _, _, report = check(tmp_path, f"--{layout}", str(root))
    kinds = [each["kind"] for each in report["findings"]]
    assert kinds == ["over-the-edge", "exif-rotated"]
    shown = first_picture(tmp_path)
    assert shown.shape == (240, 120, 3)
    redder = shown[:, 60, 0].astype(int) - shown[:, 60, 1]
    assert np.flatnonzero(redder > 60).max() in (47, 48, 49)  # the lower edge of the box, at 20 of 100


def test_the_page_lists_every_kind() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data_formats.md").read_text()
    for kind in KINDS.values():
        assert f"| {kind.title} | {kind.does} | {kind.meaning} |" in page
