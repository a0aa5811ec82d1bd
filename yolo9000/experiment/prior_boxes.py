"""The boxes that priors are clustered from, read without a net: no class is asked for, so no tree is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_table import CsvSource
from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.names import AnyClass
from yolo9000.datasets.sample import Source
from yolo9000.datasets.voc import VocSource
from yolo9000.datasets.yolo import YoloSource
from yolo9000.experiment.data import box_shapes
from yolo9000.runtime.mistakes import Mistake


def read_box_shapes(
    *,
    coco: Sequence[str] = (),
    voc: Sequence[str] = (),
    yolo: Sequence[str] = (),
    csv: Sequence[str] = (),
    split: str = "train",
    images: str | None = None,
) -> NDArray[np.float64]:
    """Width and height (N, 2) of all boxes of some data sets, relative to the letterboxed input.

    Crowds and difficult objects are left out, as a training does.

    Parameters
    ----------
    coco : sequence of str
        Folders in COCO's layout, or annotation files.
    voc : sequence of str
        Folders in VOC's layout.
    yolo : sequence of str
        Files ``data.yaml``.
    csv : sequence of str
        Tables of boxes.
    split : str
        The part of each that is read; an annotation file is read whole.
    images : str, optional
        The images of the annotation files, if they are not beside them.

    Raises
    ------
    Mistake
        No data set is named.
    DatasetError
        One is not what it should be; the message says what was looked for.

    Examples
    --------
    >>> read_box_shapes(voc=["VOCdevkit/VOC2007"], split="trainval")  # doctest: +SKIP
    """
    sources: list[Source] = [CocoSource(path, AnyClass(), split=split, images=images) for path in coco]
    sources += [VocSource(path, AnyClass(), split=split) for path in voc]
    sources += [YoloSource(path, AnyClass(), split=split) for path in yolo]
    sources += [CsvSource(path, AnyClass(), split=split) for path in csv]
    if not sources:
        raise Mistake("`coco`, `voc`, `yolo` or `csv`: name a data set with boxes")
    return np.concatenate([box_shapes(source) for source in sources])
