"""How many training labels each class had."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.joined import single_sources
from yolo9000.datasets.sample import LabelledSource, Source
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.config_file import from_plain
from yolo9000.experiment.data import load_data
from yolo9000.experiment.labels import taught_labels
from yolo9000.inference.model import TrainedModel
from yolo9000.models.classes import Classes
from yolo9000.runtime.mistakes import Mistake

log = logging.getLogger(__name__)


def training_counts(
    data: Mapping[str, Any] | None, classes: Classes, where: str = "the checkpoint"
) -> dict[int, tuple[int, int]] | None:
    """Count the labels that a net was trained on, without boxes that are ignored; no image is read.

    Parameters
    ----------
    data : mapping, optional
        The configuration of the data, as a checkpoint has it.
    classes : Classes
        Those of the net.
    where : str
        For messages.

    Returns
    -------
    dict of int to (int, int), optional
        Class -> the boxes of it, and the images with its label. None where they are not known before the images are
        read, as those of scenes that are drawn, or where `data` is not known.

    Raises
    ------
    DatasetError, Mistake
        The data are not there any more, or do not fit.
    """
    if data is None:
        return None
    config = from_plain(DataConfig, data, where)
    if config.is_embedded or config.drawn_from is not None:
        return None
    loaded = load_data(config, classes)
    counts = np.zeros((classes.number, 2), dtype=np.int64)
    for place, source in enumerate((loaded.detection, loaded.classification)):
        for labels in _labels(source):
            counts[:, place] += np.bincount(labels, minlength=classes.number)
    return {node: (int(boxes), int(images)) for node, (boxes, images) in enumerate(counts) if boxes or images}


def counts_if_there(trained: TrainedModel) -> dict[int, tuple[int, int]] | None:
    """`training_counts` of a net, for its model card; None, with a warning, where its data are not there any more."""
    try:
        return training_counts(trained.content.get("data"), trained.classes, str(trained.path))
    except (DatasetError, Mistake, OSError) as error:
        log.warning("the labels of each class are not counted: %s", error)
        return None


def _labels(source: Source | None) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """The labels of a source, or of each of those that it joins."""
    if source is None:
        return []
    known = [cast(LabelledSource, each) for each in single_sources([source]) if hasattr(each, "labels")]
    return [taught_labels(each) for each in known]
