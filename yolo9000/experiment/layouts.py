"""The ways in which a data set lies on disk: one line of `LAYOUTS` for each.

It is one file because a line of the table and the small functions that it names are read together.

A new one is a file in ``datasets/`` whose class satisfies `yolo9000.datasets.sample.LabelledSource`, and a line here.
Commands take their flags from this table, so its help says what the folder must look like.

Nothing heavy is imported before it is used, because ``--help`` reads this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from wordtree.sources import LabelSource

Teaches = Literal["boxes", "image labels", "both"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How data sets of one kind are opened, and where the names of their classes come from.

    Parameters
    ----------
    teaches : str
        What its images have: "boxes" or "image labels"; "both" for scenes that are drawn from a set of images.
    help : str
        The text of the flag.
    open : callable
        ``(path, label_map, split, name)`` -> a `Source`. None where `yolo9000.experiment.data` draws scenes instead.
    labels : callable
        ``(path, split)`` -> its classes, to build a tree of.
    options : callable
        ``(path, split)`` -> the options of ``yolo9000 tree build`` that name the same classes.
    maps : callable
        ``(path, split)`` -> the names that its label map may have in a tree, the likeliest first.
    several : bool
        Whether several sets of this kind may be joined.
    metavar : str
        What the flag takes.
    has_splits : bool
        Whether it holds a part to train on and another to hold out.
    """

    teaches: Teaches
    help: str
    open: Callable[[str, Mapping[str, int], str, str], Any] | None
    labels: Callable[[str, str], LabelSource]
    options: Callable[[str, str], str]
    maps: Callable[[str, str], list[str]]
    several: bool = False
    metavar: str = "DIR"
    has_splits: bool = True

    @property
    def is_remote(self) -> bool:
        """Whether the path is a pattern of URLs, as `yolo9000.datasets.remote.RemoteFiles` takes it."""
        return self.metavar == "URL"


def _open_coco(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.coco import CocoSource

    return CocoSource(path, label_map, split=split, name=name)


def _open_voc(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.voc import VocSource

    return VocSource(path, label_map, split=split, name=name)


def _open_yolo(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.yolo import YoloSource

    return YoloSource(path, label_map, split=split, name=name)


def _open_csv(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.box_table import CsvSource

    return CsvSource(path, label_map, split=split, name=name)


def _open_det(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.imagenet_det import ImageNetDetSource

    return ImageNetDetSource(path, label_map, split=split, name=name)


def _open_imagenet(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from tqdm import tqdm

    from yolo9000.datasets.imagenet import ImageNetSource

    def shown(tars: Any) -> Any:
        return iter(tqdm(tars, desc="indexing tars", disable=None))

    return ImageNetSource(path, label_map, split=split, name=name, progress=shown)


def _open_pack(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.packed_imagenet import PackedImageNet

    return PackedImageNet(path, label_map, name=name)


def _shown(numbers: Any) -> Any:
    from tqdm import tqdm

    return iter(tqdm(numbers, desc="tars", disable=None))


def _open_box_tars(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.box_tars import BoxTars

    return BoxTars(path, label_map, split=split, name=name, progress=_shown)


def _open_label_tars(path: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    from yolo9000.datasets.label_tars import LabelTars

    return LabelTars(path, label_map, split=split, name=name, progress=_shown)


def _coco_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources

    if Path(path).is_file():
        return sources.categories(Path(path))
    # all annotation files of a set have the same categories, and the smallest is read soonest
    files = sorted(Path(path).glob("annotations/instances_*.json"), key=lambda file: file.stat().st_size)
    own = sources.categories(files[0]) if files else sources.coco()
    return sources.coco() if set(own.classes) <= set(sources.coco().classes) else own


def _own_name(path: str) -> str:
    """What a data set of somebody's own is called: as its folder or file, and not "data" as all data.yaml are."""
    place = Path(path)
    stem = place.name if place.is_dir() else place.stem
    return place.absolute().parent.name if stem == "data" else stem


def _voc_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources

    # without XMLs the reader of the images knows better what is wrong with the folder
    return sources.voc_folder(Path(path)) if any(Path(path).glob("Annotations/*.xml")) else sources.voc()


def _yolo_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources
    from yolo9000.datasets.yolo import read_data_yaml

    data = read_data_yaml(path)
    return sources.own_names(_own_name(path), data.names, data.concepts)


def _csv_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources
    from yolo9000.datasets.box_table import csv_labels

    return sources.own_names(_own_name(path), csv_labels(path, split))


def _tars_name(url: str) -> str:
    """What tars are called: as the folder that holds all of them."""
    return re.split(r"[{*]", url)[0].rpartition("/")[0].rpartition("/")[2] or "tars"


def _box_tars_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources
    from yolo9000.datasets.box_tars import box_names

    return sources.own_names(_tars_name(path), box_names(path, split))


def _label_tars_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources
    from yolo9000.datasets.label_tars import label_names

    names = label_names(path, split)
    if all(re.fullmatch(r"n\d{8}", name) for name in names):
        return sources.LabelSource("imagenet", {wnid: wnid for wnid in names})
    # not the name of boxes in the same folder: what images alone are labelled with is not looked for among boxes
    return sources.own_names(f"{_tars_name(path)}_labels", names)


def _own_maps(path: str, split: str) -> list[str]:
    return [_own_name(path)]


def _det_labels(path: str, split: str) -> LabelSource:
    from wordtree import load_tree, sources

    return sources.LabelSource(
        "imagenet_det", {wnid: wnid for wnid in load_tree("yolo9000").label_maps["imagenet_det"]}
    )


def _folder_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources
    from wordtree.labels import LabelError
    from yolo9000.datasets.errors import DatasetError
    from yolo9000.datasets.imagenet import LAYOUT

    try:
        return sources.imagenet(_class_folder(path, split))
    except LabelError as error:
        raise DatasetError(f"{error}. Expected:\n{LAYOUT}") from error


def _imagenet1k_labels(path: str, split: str) -> LabelSource:
    from wordtree import sources

    return sources.imagenet1k()


def _annotations(path: str, split: str) -> list[Path]:
    root = Path(path)
    return [root] if root.suffix == ".json" else sorted(root.glob(f"annotations/instances_{split}*.json"))


def _coco_options(path: str, split: str) -> str:
    files = [Path(path)] if Path(path).is_file() else _annotations(path, split)
    return f"--categories {files[0] if files else 'CATEGORIES'}"


def _coco_maps(path: str, split: str) -> list[str]:
    stems = [file.stem for file in _annotations(path, split)]  # build_wordtree names a map after its file
    return [*(name for stem in stems for name in (stem, stem.removeprefix("instances_"))), "coco"]


def _class_folder(path: str, split: str) -> Path:
    """The folder that holds a folder or tar for each class."""
    root = Path(path)
    return root / split if (root / split).is_dir() else root


LAYOUTS: dict[str, Layout] = {
    "coco": Layout(
        teaches="boxes",
        help="images with boxes: a folder in COCO's layout (annotations/instances_train*.json, instances_val*.json, "
        "and the images in folders of those names, train2017/, val2017/), or an annotation file. It and the flags of "
        "other sets with boxes may be given several times: the sets are joined, what a set does not label is no "
        "background in it, and a pass shows each image once",
        open=_open_coco,
        labels=_coco_labels,
        options=_coco_options,
        maps=_coco_maps,
        several=True,
    ),
    "voc": Layout(
        teaches="boxes",
        help="images with boxes: a folder in VOC's layout, such as VOCdevkit/VOC2007: ImageSets/Main/train.txt, "
        "val.txt and their like with ids, the splits; Annotations/ID.xml and JPEGImages/ID.jpg. Its classes may be "
        "others than VOC's",
        open=_open_voc,
        labels=_voc_labels,
        options=lambda path, split: f"--voc {path}",
        maps=lambda path, split: ["voc"],
        several=True,
    ),
    "yolo": Layout(
        teaches="boxes",
        help="images with boxes as Ultralytics and Roboflow write them: a data.yaml with train, val and names, "
        "images/, and labels/*.txt beside it with a line CLASS CENTRE_X CENTRE_Y WIDTH HEIGHT, or a polygon, for each "
        "box",
        open=_open_yolo,
        labels=_yolo_labels,
        options=lambda path, split: f"--data {path}",
        maps=_own_maps,
        several=True,
        metavar="DATA_YAML",
    ),
    "csv": Layout(
        teaches="boxes",
        help="images with boxes: a CSV with the columns path,x0,y0,x1,y1,label and, if some images are held out, split "
        "(train or val); or a folder with train.csv and val.csv. Edges are in pixels, or relative to the image",
        open=_open_csv,
        labels=_csv_labels,
        options=lambda path, split: f"--data {path}",
        maps=_own_maps,
        several=True,
        metavar="FILE",
    ),
    "imagenet_det": Layout(
        teaches="boxes",
        help="images with boxes of 200 classes: the folder ILSVRC of ImageNet's detection challenge, with "
        "Annotations/DET/val and Data/DET/val",
        open=_open_det,
        labels=_det_labels,
        options=lambda path, split: "--wnids scripts/imagenet_det.wnids",
        maps=lambda path, split: ["imagenet_det"],
        several=True,
    ),
    "box_tars": Layout(
        teaches="boxes",
        help="images with boxes in tars of webdataset's kind, at any URL that fsspec opens (s3://, gs://, https://, a "
        "path), in quotes: 's3://bucket/zoo/{train-{0000..0146},val-{00..06}}.tar'. A tar holds KEY.jpg and KEY.json "
        "for each image: width, height, boxes (x0, y0, x1, y1 in pixels) and labels",
        open=_open_box_tars,
        labels=_box_tars_labels,
        options=lambda path, split: f"--box-tars '{path}'",
        maps=lambda path, split: [_tars_name(path)],
        several=True,
        metavar="URL",
    ),
    "imagenet": Layout(
        teaches="image labels",
        help="images with a label: a folder with train/ and val/, in each of which is a folder or a tar for each "
        "class, named by its wnid or by a noun: train/n02084071/*.JPEG, train/n02084071.tar or train/dog/*.jpg",
        open=_open_imagenet,
        labels=_folder_labels,
        options=lambda path, split: f"--imagenet {_class_folder(path, split)}",
        maps=lambda path, split: ["imagenet"],
    ),
    "imagenet_pack": Layout(
        teaches="image labels",
        help="the same, from a pack made by tools/pack_imagenet.py",
        open=_open_pack,
        labels=_imagenet1k_labels,
        options=lambda path, split: "--imagenet1k",
        maps=lambda path, split: ["imagenet"],
        metavar="H5",
        has_splits=False,
    ),
    "label_tars": Layout(
        teaches="image labels",
        help="the same in tars of webdataset's kind, at any URL that fsspec opens (s3://, gs://, https://, a path), in "
        "quotes: 's3://bucket/imagenet/{train-{0000..0146},val-{00..06}}.tar'. A tar holds KEY.jpg and KEY.cls for "
        "each image: a wnid, a name, or the number of a line of classes.txt; or KEY.json with the key label",
        open=_open_label_tars,
        labels=_label_tars_labels,
        options=lambda path, split: f"--label-tars '{path}'",
        maps=lambda path, split: ["imagenet", f"{_tars_name(path)}_labels"],
        metavar="URL",
    ),
    "tiles": Layout(
        teaches="both",
        help="scenes that are drawn from real tiles, and the tiles as images with a label: a folder with train/ and "
        "val/ as for images with a label, boxes/train.tsv, boxes/val.tsv and split.json",
        open=None,
        labels=_folder_labels,
        options=lambda path, split: f"--imagenet {_class_folder(path, split)}",
        maps=lambda path, split: ["imagenet"],
    ),
}
"""Every layout by its name, which is also its flag. Sets with boxes are joined in this order."""


def own_labels(path: Path) -> LabelSource:
    """The classes of data of somebody's own, whose layout is known by what lies there.

    Parameters
    ----------
    path : Path
        A ``data.yaml`` or its folder, a CSV of boxes or the folder of several, or a folder in VOC's layout.

    Returns
    -------
    LabelSource

    Raises
    ------
    DatasetError, wordtree.TreeError
        The data cannot be read.
    """
    from wordtree import sources

    names = [path.name, *(each.name for each in sorted(path.glob("*")))]
    if any(name.endswith((".yaml", ".yml")) for name in names):
        return _yolo_labels(str(path), "train")
    is_table = any(name.endswith(".csv") for name in names)
    return _csv_labels(str(path), "train") if is_table else sources.voc_folder(path)


def tree_command(sets: tuple[tuple[str, str], ...], split: str, out: str = "wordtree.json") -> str:
    """The command that builds a tree for the classes of some data sets.

    Parameters
    ----------
    sets : tuple of (str, str)
        Layout and path of each.
    split : str
        The part that is trained on.
    out : str
        Where the tree goes.

    Returns
    -------
    str

    Examples
    --------
    >>> tree_command((("voc", "VOC2007"), ("imagenet_pack", "ilsvrc.h5")), "train")
    'yolo9000 tree build --voc VOC2007 --imagenet1k --out wordtree.json'
    """
    words = dict.fromkeys(LAYOUTS[layout].options(path, split) for layout, path in sets)
    return " ".join(["yolo9000 tree build", *words, f"--out {out}"])
