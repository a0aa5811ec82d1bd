"""Every reader of foreign bytes, and small whole files for it, which `benchmarks.fuzz` damages."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """Whole files, and what reads one of them: it takes the bytes and a folder of its own."""

    seeds: tuple[bytes, ...]
    read: Callable[[bytes, Path], object]
    errors: tuple[type[Exception], ...]


def readers() -> dict[str, Reader]:
    """Every reader of foreign bytes by its name. They are imported here, where atheris may be watching."""
    import tarfile

    import cv2
    import h5py
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save

    from wordtree import TreeError, WordTree, load_tree
    from wordtree.formats import from_json, read_map, to_json
    from wordtree.labels import category_file, noun_file
    from yolo9000.darknet import CfgError, DarknetNet, WeightsError, from_cfg, load_darknet_weights, parse_cfg
    from yolo9000.darknet.cfg_files import read_names
    from yolo9000.datasets.box_table import CsvSource
    from yolo9000.datasets.box_tars import BoxTars
    from yolo9000.datasets.coco import CocoSource
    from yolo9000.datasets.decode import decode
    from yolo9000.datasets.errors import DatasetError, Unreadable
    from yolo9000.datasets.guarded import LeanChild, pixels_of_answer
    from yolo9000.datasets.label_tars import LabelTars
    from yolo9000.datasets.pack_tables import FORMAT, check_tables
    from yolo9000.datasets.tar_index import index_tars
    from yolo9000.datasets.tiles import read_split
    from yolo9000.datasets.voc import VocSource
    from yolo9000.datasets.yolo import YoloSource
    from yolo9000.detection.config import DecodeConfig
    from yolo9000.exporting.errors import ExportError
    from yolo9000.exporting.folder import CONFIG, MODEL
    from yolo9000.exporting.opening import open_exported, read_safetensors
    from yolo9000.exporting.writing import export_model
    from yolo9000.inference.model import TrainedModel
    from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
    from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

    everything = {"cat": 0, "dog": 1}

    def picture(form: str, **options: object) -> bytes:
        file = io.BytesIO()
        pixels = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)
        Image.fromarray(pixels).save(file, form, **options)
        return file.getvalue()

    photo = picture("JPEG")

    def at(folder: Path, name: str, data: bytes) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def tree_file(data: bytes, folder: Path) -> object:
        return load_tree(at(folder, "a.tree", data))

    def coco(data: bytes, folder: Path) -> object:
        at(folder, "train/a.jpg", photo)
        source = CocoSource(at(folder, "annotations/instances_train.json", data).parents[1], everything, split="train")
        source.truth()
        return source.read(0)

    def voc(data: bytes, folder: Path) -> object:
        at(folder, "JPEGImages/1.jpg", photo)
        at(folder, "ImageSets/Main/train.txt", b"1\n")
        at(folder, "Annotations/1.xml", data)
        return VocSource(folder, everything, split="train").read(0)

    def yolo_yaml(data: bytes, folder: Path) -> object:
        at(folder, "images/train/1.jpg", photo)
        at(folder, "labels/train/1.txt", b"0 .5 .5 .2 .2\n")
        return YoloSource(at(folder, "data.yaml", data), everything, skip_missing=True)

    def yolo_labels(data: bytes, folder: Path) -> object:
        at(folder, "images/train/1.jpg", photo)
        at(folder, "labels/train/1.txt", data)
        return YoloSource(at(folder, "data.yaml", b"train: images/train\nnames: [cat, dog]\n"), everything)

    def table(data: bytes, folder: Path) -> object:
        at(folder, "a.jpg", photo)
        return CsvSource(at(folder, "a.csv", data), everything, skip_missing=True)

    def tar(data: bytes, folder: Path) -> object:
        index = index_tars([at(folder, "n02085620.tar", data)], cache=at(folder, "cache/x", b"").parent)
        return list(index.names)

    def shard(data: bytes, folder: Path) -> object:
        url, cache = str(at(folder, "shards/train-0.tar", data)), folder / "cache"
        boxes = BoxTars(url, everything, skip_missing=True, cache=cache)
        return boxes.read(0), LabelTars(url, everything, skip_missing=True, cache=cache).read(0)

    def weights(data: bytes, folder: Path) -> object:
        net = DarknetNet(parse_cfg("[net]\nwidth=8\nheight=8\nchannels=2\n[conv]\nfilters=3\nsize=3\npad=1\n"))
        return load_darknet_weights(net, at(folder, "a.weights", data))

    def cfg(data: bytes, folder: Path) -> object:
        with torch.device("meta"):
            return from_cfg(at(folder, "a.cfg", data))

    def split(data: bytes, folder: Path) -> object:
        return read_split(at(folder, "split.json", data).parent)

    child = LeanChild(seconds=2)  # HDF5's library does not always end

    def pack(data: bytes, folder: Path) -> object:
        path = at(folder, "a.h5", data)
        answer = child.ask("pack", "a.h5", path=str(path))
        with np.load(io.BytesIO(answer[1]), allow_pickle=False) as tables:
            check_tables(path, dict(tables), tables["names"].tobytes().decode().count("\0"))
        return answer[0]

    def video(data: bytes, folder: Path) -> object:
        path = at(folder, "a.avi", data)
        answer, content = child.ask("open_video", "a.avi", path=str(path))
        while "shape" not in answer or answer["shape"] is not None:
            answer, content = child.ask("next_frame", "a.avi")
            if answer["shape"] is not None:
                pixels_of_answer(answer, content, "a.avi")
        return answer

    tree = WordTree(
        ("n1", "n2", "n3"), ("animal", "cat", "dog"), (-1, 0, 0), label_maps={"pets": {"cat": 1}}, notes={"a": [1]}
    )
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    net = Detector(DetectorConfig(width=0.01, stride=32), region)
    with tempfile.TemporaryDirectory() as folder:
        content = {"data": {"sets": [["coco", "coco"]]}, "batch_size": 8, "phases": [["joint", 40]]}
        trained = TrainedModel(net.eval(), 96, (1,), (2,), 40, content, Path("a.pt"))
        out = export_model(trained, Path(folder, "out"), "safetensors", form=None, decode=DecodeConfig()).path
        about, model, tree_text = ((out / name).read_bytes() for name in (CONFIG, MODEL["safetensors"], "tree.json"))

    def exported(data: bytes, folder: Path) -> object:
        at(folder, f"out/{MODEL['safetensors']}", model)
        at(folder, "out/tree.json", tree_text)
        return open_exported(at(folder, f"out/{CONFIG}", data).parent)

    tensors = save({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, {"format": "pt"})

    def safetensors(data: bytes, folder: Path) -> object:
        return read_safetensors(at(folder, "a.safetensors", data))

    instances = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 16, "height": 12}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
    }
    xml = (
        "<annotation><size><width>16</width><height>12</height></size><object><name>cat</name><difficult>0</difficult>"
    )
    xml += "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(Path(folder, "a.tar"), "w", format=tarfile.PAX_FORMAT) as file:
            for name in ("a.jpg", "é" * 120 + ".jpg"):
                member = tarfile.TarInfo(name)
                member.size = len(photo)
                file.addfile(member, io.BytesIO(photo))
        record = b'{"width": 16, "height": 12, "boxes": [[1, 2, 9, 8]], "labels": ["cat"], "ignore": [0]}'
        with tarfile.open(Path(folder, "b.tar"), "w", format=tarfile.PAX_FORMAT) as file:
            for name, data in (("a.jpg", photo), ("a.json", record), ("a.cls", b"dog\n")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        with h5py.File(Path(folder, "a.h5"), "w") as file:
            file.attrs["format"] = FORMAT
            file["offsets"], file["classes"] = np.array([0, 3, 6]), np.zeros(2, np.int32)
            file["key_blob"], file["key_offsets"] = np.frombuffer(b"ab", np.uint8), np.array([0, 1, 2])
            file.create_dataset("class_names", data=["n02085620"], dtype=h5py.string_dtype())
            file["blob"] = np.arange(6, dtype=np.uint8)
        save_checkpoint(
            Path(folder, "a.pt"), {"step": 3, "weight": torch.ones(2, 3), "net": {"names": ["a", None, 0.5]}}
        )
        for name, code in (("a.avi", "MJPG"), ("a.mp4", "mp4v")):
            writer = cv2.VideoWriter(str(Path(folder, name)), cv2.VideoWriter.fourcc(*code), 25, (32, 24))
            for shade in (0, 90, 180):
                writer.write(np.full((24, 32, 3), shade, np.uint8))
            writer.release()
        videos = tuple(Path(folder, name).read_bytes() for name in ("a.avi", "a.mp4"))
        tar_seed, shard_seed, pack_seed, checkpoint_seed = (
            Path(folder, name).read_bytes() for name in ("a.tar", "b.tar", "a.h5", "a.pt")
        )
    images = [photo, picture("JPEG", progressive=True), picture("PNG"), picture("GIF"), picture("BMP"), picture("TIFF")]
    images += [picture("WEBP"), picture("PPM"), picture("TIFF", compression="tiff_lzw")]
    cfg_seed = (
        b"[net]\nbatch=2\nwidth=32\nheight=64\nchannels=3\n[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\n"
    )
    cfg_seed += b"pad=1\nactivation=leaky\n[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1\n[reorg]\nstride=2\n"
    flat = b"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=14\n[region]\nanchors=1,1,2,2\nclasses=2\n"
    flat += b"num=2\n"
    text, listed = to_json(tree).encode(), json.dumps(instances, indent=1).encode()
    data_yaml = b"path: .\ntrain: images/train\nval: images/train\nnc: 2\nnames: {0: cat, 1: dog}\n"
    rows = b"path,x0,y0,x1,y1,label,split\na.jpg,1,2,3,4,cat,train\na.jpg,,,,,,train\n"
    of_trees, of_data = (TreeError,), (DatasetError, Unreadable)
    return {
        "cfg": Reader((cfg_seed, flat), cfg, (CfgError, TreeError)),
        "weights": Reader((struct.pack("<iiiQ57f", 0, 2, 0, 7, *range(57)),), weights, (WeightsError,)),
        "tree": Reader((b"n1 -1\nn2 0\nn3 0\nn4 1\n",), tree_file, of_trees),
        "tree JSON": Reader((text,), lambda data, _: to_json(from_json(data, "a.json")).encode(), of_trees),
        "packed tree": Reader((gzip.compress(text),), lambda data, f: load_tree(at(f, "a.json.gz", data)), of_trees),
        "map": Reader((b"3\n1\n0\n",), lambda data, f: read_map(at(f, "a.map", data), 4), of_trees),
        "names": Reader((b"cat\ndog\n",), lambda data, f: read_names(at(f, "a.names", data)), (CfgError,)),
        "nouns": Reader((b"cat\ndog\n",), lambda data, f: noun_file(at(f, "a.txt", data)), of_trees),
        "categories": Reader((listed,), lambda data, f: category_file(at(f, "a.json", data)), of_trees),
        "COCO": Reader((listed,), coco, of_data),
        "VOC": Reader((xml.encode(),), voc, of_data),
        "YOLO yaml": Reader((data_yaml,), yolo_yaml, of_data),
        "YOLO labels": Reader((b"0 .5 .5 .2 .2\n1 .1 .1 .2 .1 .3 .3\n",), yolo_labels, of_data),
        "CSV": Reader((rows,), table, of_data),
        "tiles": Reader((b'{"boxed": ["n1"], "image_only": ["n2"], "names": {}}',), split, of_data),
        "tar": Reader((tar_seed,), tar, of_data),
        "shard": Reader((shard_seed,), shard, of_data),
        "HDF5": Reader((pack_seed,), pack, of_data),
        "video": Reader(videos, video, (Unreadable,)),
        "checkpoint": Reader((checkpoint_seed,), lambda d, f: load_checkpoint(at(f, "a.pt", d)), (CheckpointError,)),
        "exported folder": Reader((about,), exported, (ExportError, TreeError)),
        "safetensors": Reader((tensors,), safetensors, (ExportError,)),
        "image": Reader(tuple(images), lambda data, _: decode(data, "a"), (Unreadable,)),
    }
