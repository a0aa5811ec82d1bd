"""Small files that want much: each is refused with the one error of its reader, at once and without memory.

It is one file because each bomb is some lines, and they are best counted beside each other.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import TreeError, WordTree, load_tree
from wordtree.formats import read_map
from wordtree.labels import category_file, voc_folder
from yolo9000.darknet import CfgError, WeightsError, from_cfg, load_darknet_weights
from yolo9000.darknet.cfg_files import read_names
from yolo9000.datasets.box_table import CsvSource
from yolo9000.datasets.box_tars import BoxTars
from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.decode import decode, image_header
from yolo9000.datasets.errors import DatasetError, Unreadable
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.pack_tables import FORMAT
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.datasets.voc import VocSource
from yolo9000.datasets.yolo import YoloSource
from yolo9000.inference.pixels import WrongPixels, pixels_of
from yolo9000.inference.sources import open_sources
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint

SECONDS, MEGABYTES = 2.0, 100  # less than one second where the processor is not shared
WNID = "n02085620"
Act = Callable[[], object]
Bomb = Callable[[Path], Act]
"""It writes a file into a folder, and gives what reads it."""

BOMBS: dict[str, tuple[type[Exception], str | None, Bomb]] = {}


def bomb(error: type[Exception], said: str | None) -> Callable[[Bomb], Bomb]:
    """Note a bomb with the error that it ends in, and what the error says, if that is ours to choose."""

    def noted(make: Bomb) -> Bomb:
        BOMBS[make.__name__] = error, said, make
        return make

    return noted


def peak() -> int | None:
    """The most memory of this process in bytes since `forget_peak`; None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the system does not say how much memory a process has had")


def sparse(path: Path, begin: bytes = b"") -> Path:
    """A file of a terabyte that takes no room."""
    path.write_bytes(begin)
    try:
        os.truncate(path, 1 << 40)
    except OSError:
        pytest.skip("the disk has no files with holes")
    return path


# -------------------------------------------------------------------------------------------------------------- images


def png(width: int, height: int, rows: int, extra: bytes = b"") -> bytes:
    """A grey PNG of one bit a pixel, of which some rows are there; all black, so that they take no room."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packed = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packed.compress(row * 100) for _ in range(rows // 100)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk_of_text(megabytes: int) -> bytes:
    data = b"Comment\0\0" + zlib.compress(bytes(megabytes << 20), 9)
    return struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))


def image(data: bytes) -> Act:
    return lambda: decode(data, "bomb")


@bomb(Unreadable, "million pixels")
def a_png_of_50000_by_50000(_: Path) -> Act:
    data = png(50_000, 50_000, 1_000)
    assert len(data) < 20_000
    return image(data)


@bomb(Unreadable, "million pixels")
def a_whole_png_of_13000_by_13000(_: Path) -> Act:
    data = png(13_000, 13_000, 13_000)
    assert len(data) < 25_000
    return image(data)


@bomb(Unreadable, "million pixels")
def its_size_alone(_: Path) -> Act:
    data = png(13_000, 13_000, 13_000)
    return lambda: image_header(data, "bomb")


@bomb(Unreadable, None)
def a_png_with_a_text_of_80_megabytes(_: Path) -> Act:
    return image(png(100, 100, 100, chunk_of_text(80)))


@bomb(Unreadable, "million pixels")
def a_gif_of_65535_by_65535(_: Path) -> Act:
    return image(b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x2c" + bytes(20))


@bomb(Unreadable, "million pixels")
def a_bmp_of_100000_by_100000(_: Path) -> Act:
    return image(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0))


@bomb(Unreadable, "million pixels")
def a_ppm_of_100000_by_100000(_: Path) -> Act:
    return image(b"P6 100000 100000 255\n" + bytes(100))


@bomb(Unreadable, "million pixels")
def a_tiff_of_60000_by_60000(_: Path) -> Act:
    tags = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60_000), (279, 100)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return image(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(200))


@bomb(Unreadable, "million pixels")
def a_jpeg_of_65500_by_65500(_: Path) -> Act:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    return image(bytes(data))


@bomb(Unreadable, "scans")
def a_jpeg_of_5000_scans(_: Path) -> Act:
    file = io.BytesIO()
    Image.new("L", (3_000, 3_000), 9).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return image(data[:-2] + last * 5_000 + b"\xff\xd9")


@bomb(Unreadable, "scans")
def a_large_jpeg_of_90_scans(_: Path) -> Act:
    file = io.BytesIO()
    Image.new("L", (7_000, 7_000), 9).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return image(data[:-2] + last * 80 + b"\xff\xd9")


@bomb(Unreadable, "no image of a kind")
def an_eps_that_would_start_a_program(_: Path) -> Act:
    return image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n")


@bomb(WrongPixels, "million pixels")
def a_picture_that_pillow_has_opened(_: Path) -> Act:
    picture = Image.open(io.BytesIO(png(13_000, 13_000, 100)))
    return lambda: pixels_of(picture)


@bomb(Unreadable, "million pixels")
def a_photo_to_predict_on(folder: Path) -> Act:
    (folder / "a.png").write_bytes(png(13_000, 13_000, 13_000))

    def predict() -> None:
        sources = open_sources(folder)
        assert list(sources) == []
        raise sources.unreadable[0]

    return predict


# ---------------------------------------------------------------------------------------------------------------- JSON

DEEP = 100_000


def coco(folder: Path, text: str = "", **changes: object) -> Act:
    (folder / "annotations").mkdir()
    (folder / "train").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "train" / "a.jpg")
    data: dict[str, object] = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    (folder / "annotations" / "instances_train.json").write_text(text or json.dumps(data | changes))
    return lambda: CocoSource(folder, {"cat": 0}, split="train")


@bomb(DatasetError, "too deeply")
def coco_of_lists_in_lists(folder: Path) -> Act:
    return coco(folder, '{"images": ' + "[" * DEEP + "]" * DEEP + "}")


@bomb(DatasetError, "too deeply")
def coco_of_objects_in_objects(folder: Path) -> Act:
    return coco(folder, '{"images": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}")


@bomb(DatasetError, "a whole number, not one of more than 63 bits")
def coco_with_an_id_of_70_bits(folder: Path) -> Act:
    return coco(folder, images=[{"id": 2**70, "file_name": "a.jpg"}])


@bomb(DatasetError, "not one of more than 63 bits")
def coco_with_a_category_of_401_digits(folder: Path) -> Act:
    return coco(folder, annotations=[{"image_id": 1, "category_id": 10**400, "bbox": [1, 2, 3, 4]}])


@bomb(DatasetError, "not valid JSON")
def coco_with_a_number_of_5000_digits(folder: Path) -> Act:
    return coco(folder, '{"images": [{"id": ' + "9" * 5_000 + "}]}")


@bomb(DatasetError, "iscrowd must be 0 or 1, not '0'")
def coco_with_a_crowd_as_text(folder: Path) -> Act:
    box = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": "0"}
    return coco(folder, annotations=[box])


@bomb(DatasetError, "file_name must be the name of a file, not a list")
def coco_with_a_list_for_a_name(folder: Path) -> Act:
    return coco(folder, images=[{"id": 1, "file_name": [[1] * 100_000]}])


@bomb(DatasetError, "file_name must be the name of a file")
def coco_with_a_zero_byte_in_a_name(folder: Path) -> Act:
    return coco(folder, images=[{"id": 1, "file_name": "a\0.jpg"}])


@bomb(TreeError, "not JSON that can be read")
def categories_in_lists_in_lists(folder: Path) -> Act:
    (folder / "a.json").write_text("[" * DEEP)
    return lambda: category_file(folder / "a.json")


# --------------------------------------------------------------------------------------------------------------- trees


def tree(folder: Path, text: str, name: str = "a.json") -> Act:
    (folder / name).write_text(text)
    return lambda: load_tree(folder / name)


@bomb(TreeError, "not JSON")
def a_tree_of_lists_in_lists(folder: Path) -> Act:
    return tree(folder, "[" * DEEP)


@bomb(TreeError, "not JSON")
def a_tree_with_a_number_of_5000_digits(folder: Path) -> Act:
    return tree(folder, '{"format": "wordtree", "version": ' + "1" * 5_000 + "}")


@bomb(TreeError, "is no node")
def a_tree_with_a_parent_of_401_digits(folder: Path) -> Act:
    text = {"format": "wordtree", "version": 1, "wnids": ["a"], "names": ["a"], "parents": [10**400]}
    return tree(folder, json.dumps(text))


@bomb(TreeError, "notes must be JSON values")
def a_tree_with_half_a_letter_in_its_notes(folder: Path) -> Act:
    text = {"format": "wordtree", "version": 1, "wnids": ["a"], "names": ["a"], "parents": [-1]}
    return tree(folder, json.dumps({**text, "notes": {"by": "\ud800"}}))


@bomb(TreeError, "its own parent")
def a_tree_that_goes_round(folder: Path) -> Act:
    return tree(folder, "a 0\n", "a.tree")


@bomb(TreeError, "more than 64 MB")
def a_packed_tree_of_100_megabytes(folder: Path) -> Act:
    with gzip.open(folder / "a.json.gz", "wb") as file:
        for _ in range(100):
            file.write(b" " * (1 << 20))
    assert (folder / "a.json.gz").stat().st_size < 150_000
    return lambda: load_tree(folder / "a.json.gz")


@bomb(TreeError, "more than 64 MB")
def a_tree_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "a.tree")
    return lambda: load_tree(folder / "a.tree")


@bomb(TreeError, "more than 64 MB")
def a_map_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "a.map")
    return lambda: read_map(folder / "a.map", 40)


@bomb(CfgError, "more than 64 MB")
def names_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "a.names")
    return lambda: read_names(folder / "a.names")


# ------------------------------------------------------------------------------------------------------------- darknet

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


def cfg(folder: Path, text: str) -> Act:
    (folder / "a.cfg").write_text(text)
    return lambda: from_cfg(folder / "a.cfg")


@bomb(CfgError, "more than 1,073,741,824 weights")
def a_cfg_of_1e9_filters(folder: Path) -> Act:
    return cfg(folder, NET + "[convolutional]\nfilters=999999999\n")


@bomb(CfgError, "a whole number is due")
def a_cfg_of_1e20_filters(folder: Path) -> Act:
    return cfg(folder, NET + f"[convolutional]\nfilters={10**20}\n")


@bomb(CfgError, "weights")
def a_cfg_of_1e9_outputs(folder: Path) -> Act:
    return cfg(folder, NET + "[connected]\noutput=999999999\n")


@bomb(CfgError, "weights")
def a_cfg_of_a_local_layer(folder: Path) -> Act:
    return cfg(folder, NET.replace("32", "32000") + "[local]\nfilters=1000\nsize=3\n")


@bomb(CfgError, None)
def a_cfg_whose_route_goes_round(folder: Path) -> Act:
    return cfg(folder, NET + "[route]\nlayers=0\n")


@bomb(CfgError, None)
def a_cfg_whose_routes_lead_to_each_other(folder: Path) -> Act:
    return cfg(folder, NET + "[maxpool]\nsize=1\n[route]\nlayers=2\n[route]\nlayers=1\n")


@bomb(CfgError, "more than 1000 sections")
def a_cfg_of_100000_layers(folder: Path) -> Act:
    return cfg(folder, NET + "[maxpool]\nsize=1\nstride=1\n" * 100_000)


@bomb(CfgError, "no cfg")
def a_cfg_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "a.cfg", NET.encode())
    return lambda: from_cfg(folder / "a.cfg")


@bomb(WeightsError, "ends|truncated|expected")
def weights_that_promise_terabytes(folder: Path) -> Act:
    (folder / "a.weights").write_bytes(struct.pack("<iiiQ", 0, 2, 0, 2**64 - 1))
    (folder / "a.cfg").write_text(NET + "[convolutional]\nfilters=8\n")
    net = from_cfg(folder / "a.cfg")
    return lambda: load_darknet_weights(net, folder / "a.weights")


@bomb(WeightsError, "too long")
def weights_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "a.weights", struct.pack("<iiiQ", 0, 2, 0, 5))
    (folder / "a.cfg").write_text(NET + "[convolutional]\nfilters=8\n")
    net = from_cfg(folder / "a.cfg")
    return lambda: load_darknet_weights(net, folder / "a.weights")


# ---------------------------------------------------------------------------------------------------------- VOC's XMLs

LAUGHS = "<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
OBJECT = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


def voc(folder: Path, xml: str | bytes) -> Act:
    for place in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / place).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "JPEGImages" / "1.jpg")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("1\n")
    (folder / "Annotations" / "1.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    return lambda: VocSource(folder, {"cat": 0}, split="train")


@bomb(DatasetError, "a document type")
def an_xml_of_a_billion_laughs(folder: Path) -> Act:
    return voc(folder, f"<!DOCTYPE annotation [{LAUGHS}]><annotation>{OBJECT.format('&a11;')}</annotation>")


@bomb(DatasetError, "a document type")
def an_xml_of_one_long_entity(folder: Path) -> Act:
    text = f"<!DOCTYPE a [<!ENTITY x '{'y' * 50_000}'>]><a>{OBJECT.format('&x;' * 50_000)}</a>"
    return voc(folder, text)


@bomb(DatasetError, "a document type")
def an_xml_that_reads_another_file(folder: Path) -> Act:
    return voc(folder, f"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>{OBJECT.format('&x;')}</a>")


@bomb(DatasetError, "save the XML as UTF-8")
def the_laughs_in_utf16(folder: Path) -> Act:
    text = f"<!DOCTYPE annotation [{LAUGHS}]><annotation>{OBJECT.format('&a11;')}</annotation>"
    return voc(folder, text.encode("utf-16"))


@bomb(DatasetError, "1.xml")
def an_xml_of_a_size_without_end(folder: Path) -> Act:
    return voc(folder, "<a><size><width>1e999</width><height>9</height></size></a>")


@bomb(DatasetError, "1.xml")
def an_xml_100000_deep_that_does_not_end(folder: Path) -> Act:
    return voc(folder, "<a>" * DEEP)


@bomb(TreeError, "document type")
def the_laughs_as_names_of_a_tree(folder: Path) -> Act:
    (folder / "1.xml").write_text(f"<!DOCTYPE annotation [{LAUGHS}]><annotation>{OBJECT.format('&a11;')}</annotation>")
    return lambda: voc_folder(folder)


# --------------------------------------------------------------------------------------------------------- YOLO and CSV


def yolo(folder: Path, text: str) -> Act:
    (folder / "data.yaml").write_text(text)
    return lambda: YoloSource(folder, {"cat": 0})


@bomb(DatasetError, "an alias of a list")
def a_yaml_of_a_billion_laughs(folder: Path) -> Act:
    lines = ["a0: &a0 [ha, ha]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]
    return yolo(folder, "\n".join([*lines, "names: *a11", "train: ."]))


@bomb(DatasetError, "too deeply")
def a_yaml_of_lists_in_lists(folder: Path) -> Act:
    return yolo(folder, "names: " + "[" * DEEP)


@bomb(DatasetError, "no YAML that can be read")
def a_yaml_with_a_number_of_5000_digits(folder: Path) -> Act:
    return yolo(folder, "nc: " + "1" * 5_000)


@bomb(DatasetError, "no YAML that can be read")
def a_yaml_that_runs_a_program(folder: Path) -> Act:
    return yolo(folder, "names: !!python/object/apply:os.system ['echo hello']")


@bomb(DatasetError, "more than 1 MB")
def a_yaml_of_a_terabyte(folder: Path) -> Act:
    sparse(folder / "data.yaml", b"names: [cat]\n")
    return lambda: YoloSource(folder, {"cat": 0})


def table(folder: Path, text: str) -> Act:
    (folder / "a.csv").write_text(text)
    Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    return lambda: CsvSource(folder / "a.csv", {"cat": 0})


@bomb(DatasetError, "a.csv:1: is no CSV")
def a_csv_with_a_cell_of_a_megabyte(folder: Path) -> Act:
    return table(folder, '"' + "x" * (1 << 20))


@bomb(DatasetError, "a row is path")
def a_csv_with_an_edge_of_5000_digits(folder: Path) -> Act:
    return table(folder, f"a.jpg,0,0,{'9' * 5_000},1,cat\n")


@bomb(DatasetError, "zero byte")
def a_csv_with_a_zero_byte_in_a_path(folder: Path) -> Act:
    return table(folder, "a\0.jpg,0,0,1,1,cat\n")


# ---------------------------------------------------------------------------------------------------------------- tars


def tar(folder: Path, data: bytes) -> Act:
    (folder / "train").mkdir(exist_ok=True)
    (folder / "train" / f"{WNID}.tar").write_bytes(data)
    return lambda: ImageNetSource(folder, {WNID: 0}, cache=folder / "cache")


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    """The header of a member; a size that no octal number is, too."""
    info = tarfile.TarInfo(name)
    info.size, info.type = max(size, 0), kind
    for key, value in more.items():
        setattr(info, key, value)
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        data[124:136] = b"\xff" * 4 + struct.pack(">q", size)
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % (sum(data) & 0o777777)
    return bytes(data)


@bomb(DatasetError, "damaged header")
def a_tar_with_a_negative_size(folder: Path) -> Act:
    return tar(folder, member("a.jpg", -1536) + bytes(2048))


@bomb(DatasetError, "damaged header|not a tar file")
def a_tar_whose_extended_header_has_a_negative_size(folder: Path) -> Act:
    record = b"20 size=-1024000000\n"
    return tar(folder, member("x", 20, tarfile.XHDTYPE) + record.ljust(512, b"\0") + member("a.jpg", 8) + bytes(2048))


@bomb(DatasetError, "damaged header")
def a_tar_with_a_name_of_a_terabyte(folder: Path) -> Act:
    read = tar(folder, b"")
    sparse(folder / "train" / f"{WNID}.tar", member("x", (1 << 40) - 512, tarfile.GNUTYPE_LONGNAME))
    return read


@bomb(DatasetError, "holds no image")
def a_tar_of_links(folder: Path) -> Act:
    linked = member("a.jpg", 0, tarfile.SYMTYPE, linkname="/etc/passwd")
    linked += member("b.jpg", 0, tarfile.LNKTYPE, linkname="../../secret.jpg")
    return tar(folder, linked + bytes(10_240))


@bomb(DatasetError, "stored with holes")
def a_tar_with_a_sparse_image_of_a_terabyte(folder: Path) -> Act:
    header = bytearray(member("a.jpg", 512, tarfile.GNUTYPE_SPARSE))
    header[386:410] = b"00000000000\0" + b"00000001000\0"
    header[483:495] = b"\x80" + bytes(5) + b"\1" + bytes(5)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return tar(folder, bytes(header) + bytes(10_240))


@bomb(DatasetError, "a tar file")
def a_tar_whose_map_of_holes_does_not_end(folder: Path) -> Act:
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.name=a.jpg\n33 GNU.sparse.realsize="
    records += b"99999999\n"
    pax = member("x", len(records), tarfile.XHDTYPE) + records.ljust(512, b"\0")
    return tar(folder, pax + member("a.jpg", 512) + b"9999999\n".ljust(512, b"1"))


@bomb(DatasetError, "it is compressed")
def a_packed_tar(folder: Path) -> Act:
    return tar(folder, gzip.compress(bytes(50 << 20)))


def shard(folder: Path, data: bytes, kind: Any = LabelTars) -> Act:
    (folder / "train-0.tar").write_bytes(data)
    return lambda: kind(str(folder / "train-0.tar"), {"cat": 0}, cache=folder / "cache")


def whole_member(name: str, data: bytes) -> bytes:
    return member(name, len(data)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


@bomb(DatasetError, "has 1,099,511,627,264 bytes; a .json has 1,048,576 at most")
def a_shard_with_a_json_of_a_terabyte(folder: Path) -> Act:
    read = shard(folder, b"", BoxTars)
    sparse(folder / "train-0.tar", whole_member("a.jpg", b"x") + member("a.json", (1 << 40) - 512))
    return read


@bomb(Unreadable, "1,099,511,627,264 bytes, and 268,435,456 are the most")
def a_shard_with_an_image_of_a_terabyte(folder: Path) -> Act:
    shard(folder, b"")
    sparse(folder / "train-0.tar", whole_member("a.cls", b"cat") + member("a.jpg", (1 << 40) - 512))
    os.truncate(folder / "train-0.tar", (1 << 40) + 10_240)
    source = LabelTars(str(folder / "train-0.tar"), {"cat": 0}, cache=folder / "cache")
    return lambda: source.read(0)


@bomb(DatasetError, "too deeply")
def a_shard_with_a_json_of_lists_in_lists(folder: Path) -> Act:
    data = b'{"boxes": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    return shard(folder, whole_member("a.jpg", b"x") + whole_member("a.json", data) + bytes(1024), BoxTars)


@bomb(DatasetError, "four finite numbers")
def a_shard_with_an_edge_of_401_digits(folder: Path) -> Act:
    data = b'{"width": 9, "height": 9, "labels": ["cat"], "boxes": [[0, 0, 1, 1%s]]}' % (b"0" * 400)
    return shard(folder, whole_member("a.jpg", b"x") + whole_member("a.json", data) + bytes(1024), BoxTars)


@bomb(DatasetError, "leads out of the folder")
def a_shard_that_leads_out_of_its_folder(folder: Path) -> Act:
    return shard(folder, whole_member("../../a.jpg", b"x") + bytes(1024))


@bomb(DatasetError, "is a link to '/etc/passwd'")
def a_shard_of_links(folder: Path) -> Act:
    return shard(folder, member("a.jpg", 0, tarfile.SYMTYPE, linkname="/etc/passwd") + bytes(10_240))


@bomb(DatasetError, "100,000 files at most")
def shards_by_the_trillion(folder: Path) -> Act:
    return lambda: LabelTars(f"{folder}/train-{{0..999999999999}}.tar", {"cat": 0}, cache=folder / "cache")


# ---------------------------------------------------------------------------------------------------------------- HDF5


def pack(folder: Path, change: Callable[[h5py.File], None]) -> Act:
    """A whole pack of two images, and what is changed in it."""
    path = folder / "pack.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file["offsets"], file["classes"] = np.array([0, 3, 6]), np.zeros(2, np.int32)
        file["key_blob"], file["key_offsets"] = np.frombuffer(b"ab", np.uint8), np.array([0, 1, 2])
        file.create_dataset("class_names", data=[WNID], dtype=h5py.string_dtype())
        file["blob"] = np.arange(6, dtype=np.uint8)
    assert len(PackedImageNet(path, {WNID: 0})) == 2
    with h5py.File(path, "r+") as file:
        change(file)
    return lambda: PackedImageNet(path, {WNID: 0})


def instead(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


@bomb(DatasetError, "lies in another file")
def a_pack_with_external_storage(folder: Path) -> Act:
    (folder / "secret").write_bytes(bytes(100))

    def change(file: h5py.File) -> None:
        del file["key_blob"]
        file.create_dataset("key_blob", (2,), np.uint8, external=[(str(folder / "secret"), 0, 2)])

    return pack(folder, change)


@bomb(DatasetError, "a link to another place")
def a_pack_with_a_link_to_another_file(folder: Path) -> Act:
    return pack(folder, instead("classes", h5py.ExternalLink("/etc/passwd", "/classes")))


@bomb(DatasetError, "a link to another place")
def a_pack_with_a_link_to_itself(folder: Path) -> Act:
    return pack(folder, instead("offsets", h5py.SoftLink("/offsets")))


@bomb(DatasetError, "lies in another file")
def a_pack_of_a_virtual_array(folder: Path) -> Act:
    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3,), np.int64)
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "offsets", (3,))
        del file["offsets"]
        file.create_virtual_dataset("offsets", layout)

    return pack(folder, change)


@bomb(DatasetError, "no plain list")
def a_pack_that_claims_a_trillion_images(folder: Path) -> Act:
    def change(file: h5py.File) -> None:
        del file["classes"]
        file.create_dataset("classes", (10**12,), np.int32, chunks=(1 << 20,))

    return pack(folder, change)


@bomb(DatasetError, "is of class 99, but there are 1 classes")
def a_pack_with_class_99(folder: Path) -> Act:
    return pack(folder, instead("classes", np.array([0, 99], np.int32)))


@bomb(DatasetError, "is of class -1, but there are 1 classes")
def a_pack_with_class_minus_1(folder: Path) -> Act:
    return pack(folder, instead("classes", np.array([-1, 0], np.int32)))


@bomb(DatasetError, "do not mark 2 pieces")
def a_pack_whose_offsets_go_back(folder: Path) -> Act:
    return pack(folder, instead("offsets", np.array([0, 5, 3])))


@bomb(DatasetError, "has no .* bytes of images")
def a_pack_whose_images_end_behind_the_blob(folder: Path) -> Act:
    return pack(folder, instead("offsets", np.array([0, 3, 10**15])))


@bomb(DatasetError, "no plain list")
def a_pack_whose_classes_are_texts(folder: Path) -> Act:
    return pack(folder, instead("classes", ["a", "b"]))


@bomb(DatasetError, "not a readable pack")
def a_pack_that_is_truncated(folder: Path) -> Act:
    read = pack(folder, lambda file: None)
    whole = (folder / "pack.h5").read_bytes()
    (folder / "pack.h5").write_bytes(whole[: len(whole) // 2])
    return read


# --------------------------------------------------------------------------------------------------------- checkpoints


def checkpoint(folder: Path, content: Any) -> Act:
    torch.save({"format": "yolo9000-checkpoint", "version": 1, "sha256": "", "content": content}, folder / "a.pt")
    return lambda: load_checkpoint(folder / "a.pt")


@bomb(CheckpointError, "more values than its")
def a_checkpoint_of_a_billion_laughs(folder: Path) -> Act:
    nested: list[Any] = [1]
    for _ in range(60):
        nested = [nested, nested]
    return checkpoint(folder, {"nested": nested})


@bomb(CheckpointError, "its tensors claim")
def a_checkpoint_of_a_number_repeated_a_trillion_times(folder: Path) -> Act:
    return checkpoint(folder, {"weight": torch.zeros(1).expand(10**6, 10**6)})


@bomb(CheckpointError, "refused")
def a_checkpoint_that_runs_a_program(folder: Path) -> Act:
    class Program:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("echo hello",)

    return checkpoint(folder, {"weight": Program()})


@bomb(CheckpointError, "may unpack to any size")
def a_packed_checkpoint(folder: Path) -> Act:
    read = checkpoint(folder, {"weight": torch.zeros(1 << 20)})
    with zipfile.ZipFile(folder / "a.pt") as old, zipfile.ZipFile(folder / "b.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    (folder / "b.pt").replace(folder / "a.pt")
    return read


@bomb(CheckpointError, "truncated, damaged")
def a_checkpoint_cut_off(folder: Path) -> Act:
    read = checkpoint(folder, {"weight": torch.zeros(1 << 20)})
    os.truncate(folder / "a.pt", 1 << 20)
    return read


def test_there_are_many() -> None:
    assert len(BOMBS) >= 70


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused(name: str, tmp_path: Path) -> None:
    error, said, make = BOMBS[name]
    read = make(tmp_path)
    forget_peak()
    before, begin = peak(), time.process_time()
    with pytest.raises(error, match=said) as caught:
        read()
    seconds = time.process_time() - begin
    after = peak()
    assert seconds < SECONDS
    if before is not None and after is not None:
        assert after - before < MEGABYTES << 20
    assert len(str(caught.value)) < 2_000


def test_numbers_that_are_too_large_for_a_box_drop_the_box(tmp_path: Path) -> None:
    read = coco(tmp_path, annotations=[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 10**400, 4]}])
    source = read()
    assert isinstance(source, CocoSource)
    assert source.index.dropped == {"not finite": 1}


def test_what_is_large_but_honest_is_read(tmp_path: Path) -> None:
    data = png(9_400, 9_400, 9_400)
    assert decode(data, "large.png").shape == (9_400, 9_400, 3)
    deep = "<a>" * 1_000 + OBJECT.format("cat") + "</a>" * 1_000
    source = voc(tmp_path / "voc", deep)()
    assert isinstance(source, VocSource)
    assert source.labels.tolist() == [0]
    half = WordTree(("a",), ("a",), (-1,), notes={"by": "é"})
    assert half.notes == {"by": "é"}
