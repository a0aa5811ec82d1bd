"""The boxes of a part against its images: what a training leaves out, cuts, or can hardly find."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from yolo9000.checking.findings import Box, Part
from yolo9000.checking.images import Facts

_TOLERANCE = 1.0  # as `yolo9000.datasets.box_index` counts a box as clipped


@dataclass
class Kept:
    """What is left of a part to train on: boxes by class, those of them that are ignored, and the small ones."""

    boxes: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    small: Counter[str] = field(default_factory=Counter)


def check_boxes(part: Part, facts: Sequence[Facts], size: int, stride: int) -> Kept:
    """Note what is wrong with the boxes, and count the others.

    Parameters
    ----------
    part : Part
    facts : sequence of dict
        Those of its images.
    size, stride : int
        The side of the network's input and of a cell in pixels, for boxes that are smaller than a cell.

    Returns
    -------
    Kept
    """
    sizes = [_size(part, number, facts[number]) for number in range(len(part.images))]
    kept = Kept()
    seen: dict[tuple[int, str, tuple[float, ...]], Box] = {}
    for box in part.boxes:
        stated = sizes[box.image]
        xyxy = box.xyxy
        if box.relative and stated is not None:
            xyxy = (xyxy[0] * stated[0], xyxy[1] * stated[1], xyxy[2] * stated[0], xyxy[3] * stated[1])
        said = ", ".join(f"{value:.6g}" for value in xyxy)
        known = box.file, box.record, box.line, part.images[box.image].key, xyxy
        if not all(map(math.isfinite, xyxy)):
            _find(part, "not-finite", "its edges are no four numbers", *known[:4])
            continue
        if not (xyxy[2] > xyxy[0] and xyxy[3] > xyxy[1]):
            _find(part, "zero-area", f"its edges are {said}", *known)
            continue
        if stated is None:
            continue  # the image cannot be read, so it is not trained on
        width, height = stated
        if xyxy[2] <= 0 or xyxy[3] <= 0 or xyxy[0] >= width or xyxy[1] >= height:
            _find(part, "outside", f"its edges are {said}, the image is {width} x {height}", *known)
            continue
        over = max(-xyxy[0], -xyxy[1], xyxy[2] - width, xyxy[3] - height)
        if over > _TOLERANCE:
            _find(part, "over-the-edge", f"by {over:.6g} pixels; the image is {width} x {height}", *known)
        key = (box.image, box.name, xyxy)
        if key in seen:
            first = seen[key]
            place = f"line {first.line}" if first.line is not None else first.record
            _find(part, "duplicate-box", f"{box.name}: {place} is the same", *known)
        seen.setdefault(key, box)
        if box.ignored:
            kept.ignored += 1
            continue
        kept.boxes[box.name] += 1
        scale = size / max(width, height)
        if (xyxy[2] - xyxy[0]) * scale < stride and (xyxy[3] - xyxy[1]) * scale < stride:
            kept.small[box.name] += 1
    return kept


def _find(
    part: Part,
    kind: str,
    text: str,
    file: str,
    record: str,
    line: int | None,
    image: str,
    xyxy: tuple[float, float, float, float] | None = None,
) -> None:
    part.find(kind, file, text, record=record, line=line, image=image, box_xyxy=xyxy)


def _size(part: Part, number: int, facts: Facts) -> tuple[int, int] | None:
    """The size that boxes refer to; None for an image that cannot be read, or has another size than is stated."""
    image = part.images[number]
    if "lies" not in facts:  # it was not decoded
        return None
    width, height = facts["size"]
    turned = (height, width) if facts["lies"] else (width, height)
    if image.stated is None:
        return turned if part.upright else (width, height)
    if image.stated not in ((width, height), turned):
        text = f"it has {width} x {height} pixels, and {image.stated[0]} x {image.stated[1]} are stated"
        file = part.annotations if part.layout == "coco" else str(image.path)
        part.find("other-size", file, text, record=image.record, line=image.line, image=image.key)
        return None
    return image.stated
