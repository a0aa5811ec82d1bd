"""A net and the files that were made of it, side by side on real images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from yolo9000.datasets.sample import Record, collate, pixels
from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.decoded_output import DecodedOutput
from yolo9000.detection.results import Detections
from yolo9000.inference.darknet_files import letterbox_of
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare
from yolo9000.models.classes import Classes

SAME_BOX = 0.9
"""The overlap from which on two boxes of one label are the same detection."""


@dataclass(frozen=True)
class Comparison:
    """How far two detectors differ on some images.

    Parameters
    ----------
    images : int
        How many were compared.
    raw_difference : float or None
        The largest difference of any two raw numbers; None if one of both answers with detections alone.
    largest_raw : float or None
        The largest raw number, by which to judge that difference.
    detections : int
        Detections of the first.
    score_difference : float
        The largest difference of the scores of a detection that both have.
    differing : tuple of str
        A line for each detection that one of both lacks: a box with another label, or in another place, or none.
    """

    images: int
    raw_difference: float | None
    largest_raw: float | None
    detections: int
    score_difference: float
    differing: tuple[str, ...]

    def __str__(self) -> str:
        raw = "raw outputs cannot be compared, as the file decodes inside"
        if self.raw_difference is not None:
            raw = f"raw outputs differ by {self.raw_difference:.2e} at most (the largest is {self.largest_raw:.1f})"
        both = self.detections - sum(line.endswith("is not found by the file") for line in self.differing)
        return (
            f"{self.images} images: {raw}; of {self.detections} detections {both} are the same, their scores differ by "
            f"{self.score_difference:.2e} at most; {len(self.differing)} detections differ"
        )


@torch.no_grad()
def compare(
    trained: TrainedModel,
    exported: TrainedModel,
    records: Iterable[Record],
    config: DecodeConfig | None = None,
    *,
    size: int | None = None,
) -> Comparison:
    """Ask a net and the files that were made of it the same, image by image, on the CPU in float32.

    Each is asked as it is in use: images are fitted into the input, and numbers named, by what the files say of
    themselves.

    Parameters
    ----------
    trained, exported : TrainedModel
    records : iterable of Record
    config : DecodeConfig, optional
        How raw numbers become detections.
    size : int, optional
        The side of the input.

    Returns
    -------
    Comparison
    """
    side, both = exported.input_size(size), (trained, exported)
    ours, theirs = (prepare(each.detector, device=torch.device("cpu")) for each in both)
    images = detections = 0
    raw_difference: float | None = None
    largest = 0.0
    scores = 0.0
    differing: list[str] = []
    for record in records:
        batches = [pixels(collate([letterbox_of(each)(record, side)]).images, torch.device("cpu")) for each in both]
        outputs = ours(batches[0]), theirs(batches[1])
        if not any(isinstance(each, DecodedOutput) for each in outputs):
            first, second = (_raw(each) for each in outputs)
            largest = max(largest, float(first.abs().max()))
            raw_difference = max(raw_difference or 0.0, float((first - second).abs().max()))
        found, again = (detect(output, each.classes, config)[0] for output, each in zip(outputs, both, strict=True))
        most, lines = _differences(found, again, trained.classes, exported.classes)
        images += 1
        detections += len(found)
        scores = max(scores, most)
        differing += [f"{record.key}: {line}" for line in lines]
    return Comparison(
        images, raw_difference, None if raw_difference is None else largest, detections, scores, tuple(differing)
    )


def _raw(output: object) -> Tensor:
    raw = output.raw  # type: ignore[attr-defined]  # every raw output of ours has it, whatever its layout
    assert isinstance(raw, Tensor)
    return raw.float()


def _differences(
    found: Detections, again: Detections, classes: Classes, classes_again: Classes
) -> tuple[float, list[str]]:
    """The largest difference of scores, and a line for each detection without a partner."""
    same = iou(found.boxes_cxcywh[:, None], again.boxes_cxcywh[None]) > SAME_BOX
    same &= found.nodes[:, None] == again.nodes[None]
    renamed = [node for node in set(found.nodes.tolist()) if classes.name(node) != classes_again.name(node)]
    same &= ~torch.isin(found.nodes, torch.tensor(renamed, dtype=found.nodes.dtype))[:, None]
    free, most, lines = [True] * len(again), 0.0, []
    for row in range(len(found)):
        partner = next((column for column in range(len(again)) if free[column] and same[row, column]), None)
        if partner is None:
            lines.append(f"{_say(found, row, classes)} is not found by the file")
        else:
            free[partner] = False
            most = max(most, abs(float(found.scores[row] - again.scores[partner])))
    lines += [f"{_say(again, row, classes_again)} is found by the file alone" for row in range(len(again)) if free[row]]
    return most, lines


def _say(found: Detections, row: int, classes: Classes) -> str:
    x, y, _, _ = found.boxes_cxcywh[row].tolist()
    return (
        f"{classes.name(int(found.nodes[row]))} at {x:.2f}, {y:.2f} (objectness {float(found.objectness[row]):.3f}, "
        f"P {float(found.probabilities[row]):.3f})"
    )


def describe_files(folder: Path) -> str:
    """The files of a folder with their sizes, for people.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.onnx").write_bytes(bytes(2_500_000))
    ...     describe_files(Path(folder))
    'model.onnx 2.5 MB'
    """
    return ", ".join(f"{file.name} {_size(file.stat().st_size)}" for file in sorted(folder.iterdir()))


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
