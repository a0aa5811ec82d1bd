"""The images with boxes of ImageNet's detection challenge (DET)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import contents, listed
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.voc import VocSource

LAYOUT = """\
ILSVRC/Annotations/DET/val/ILSVRC2012_val_00000001.xml     as VOC's, with a wnid for the name of each object
ILSVRC/Data/DET/val/ILSVRC2012_val_00000001.JPEG"""
"""How the files lie, for messages and the documentation."""

SUFFIX = ".JPEG"


class ImageNetDetSource(VocSource):
    """Images with boxes in the layout of ILSVRC's DET: an XML in VOC's format for each image, whose classes are wnids.

    Its XMLs count pixels from 0, and the last one belongs to the box. None is difficult.

    Parameters
    ----------
    root : str or Path
        The folder ``ILSVRC`` with ``Annotations/DET/<split>`` and ``Data/DET/<split>``, or the one that holds it. The
        part ``DET`` may be left out of both.
    label_map : mapping of str to int
        The class index or tree node of each wnid.
    split : str
        ``val``, every image of which has an XML; in ``train`` those that have one are taken.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out classes without a node instead of raising.
    labelled_nodes : sequence of int, optional
        The nodes that are labelled exhaustively in every image; None means all.

    Raises
    ------
    DatasetError
        If the layout, an XML or the label map do not fit.

    Examples
    --------
    >>> source = ImageNetDetSource("ILSVRC", {"n02084071": 0}, skip_missing=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int],
        *,
        split: str = "val",
        name: str = "imagenet_det",
        skip_missing: bool = False,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        annotations, folder = find_folders(Path(root), split)
        xmls = sorted(annotations.rglob("*.xml"))
        if not xmls:
            raise DatasetError(f"{annotations} holds no XML")
        there = {path.relative_to(folder).as_posix() for path in folder.rglob(f"*{SUFFIX}")}
        files = [xml.relative_to(annotations).with_suffix(SUFFIX).as_posix() for xml in xmls]
        if missing := [file for file in files if file not in there]:
            raise DatasetError(f"{len(missing)} of {len(files)} images are not in {folder}: {listed(missing)}")
        self._read(name, Path(root), label_map, xmls, folder, files, skip_missing, labelled_nodes, first_pixel=0)


def find_folders(root: Path, split: str) -> tuple[Path, Path]:
    """The folders of the XMLs and of the images."""
    half: tuple[Path, Path] | None = None
    for base in (root, root / "ILSVRC"):
        for part in ("DET", ""):
            annotations, images = (base / kind / part / split for kind in ("Annotations", "Data"))
            if annotations.is_dir() and images.is_dir():
                return annotations, images
            if annotations.is_dir() or images.is_dir():
                half = (annotations, images) if annotations.is_dir() else (images, annotations)
    if half is not None:
        raise DatasetError(f"{half[0]} is there, but {half[1]} is not. Expected:\n{LAYOUT}")
    raise NoSuchSplit(
        f"{root}: looked for Annotations/DET/{split} and Data/DET/{split}, found {contents(root)}. Pass the folder "
        f"ILSVRC of the challenge's archive. Expected:\n{LAYOUT}"
    )
