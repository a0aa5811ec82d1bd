"""Every image file read once, by several small processes, and compared with the others."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from yolo9000.checking.findings import ImageFile, Part
from yolo9000.datasets.errors import Unreadable
from yolo9000.datasets.guarded import LeanChild

Facts = dict[str, Any]
"""What `yolo9000.datasets.image_facts.facts_of` says of an image."""
_MOST_BITS, _MOST_GREY, _BANDS = 3, 6.0, 4
"""Two images are nearly the same if so many of 64 bits of their difference hashes differ, and the grey values of their
small pictures differ by so much on average."""


def read_facts(
    parts: Sequence[Part], workers: int, progress: Callable[[Iterable[Facts], int], Iterable[Facts]]
) -> list[list[Facts]]:
    """Read every image of all parts.

    Parameters
    ----------
    parts : sequence of Part
        What is wrong with their images is added to their findings.
    workers : int
        Processes that read.
    progress : callable
        ``(results, their number)`` -> the same, shown.

    Returns
    -------
    list of list of dict
        The facts of each image of each part.
    """
    own = threading.local()
    children: list[LeanChild] = []

    def look(image: ImageFile) -> Facts:
        if not hasattr(own, "child"):
            own.child = LeanChild()
            children.append(own.child)
        try:
            if image.read is not None:  # the child has no network
                return dict(own.child.ask("facts", image.key, image.read())[0])
            said = {"path": os.path.abspath(image.path), "offset": image.offset, "size": image.size}
            return dict(own.child.ask("facts", image.key, **said)[0])
        except Unreadable as error:  # it killed its decoder, or took too long
            return {"problems": [("unreadable", error.reason)], "digest": None}

    images = [image for part in parts for image in part.images]
    with ThreadPoolExecutor(workers) as pool:
        try:
            found = iter(list(progress(pool.map(look, images), len(images))))
        finally:
            pool.shutdown(cancel_futures=True)
            for child in children:
                child.close()
    facts = [[next(found) for _ in part.images] for part in parts]
    for part, of_part in zip(parts, facts, strict=True):
        for image, each in zip(part.images, of_part, strict=True):
            for kind, text in each["problems"]:
                if kind == "unreadable" and part.layout in ("yolo", "csv") and not text:
                    continue
                part.find(kind, image.path, text, record=image.key if image.offset >= 0 else "", image=image.key)
    return facts


def compare_images(parts: Sequence[Part], facts: Sequence[Sequence[Facts]], train: str) -> None:
    """Note the images of other splits that are also among those to train on, or nearly so.

    Parameters
    ----------
    parts : sequence of Part
    facts : sequence of sequence of dict
        As `read_facts` gives them.
    train : str
        The split that is trained on.
    """
    trained: dict[str, ImageFile] = {}
    looks: list[tuple[int, np.ndarray[Any, Any], ImageFile]] = []
    bands: dict[tuple[int, int], list[int]] = defaultdict(list)
    for part, of_part in zip(parts, facts, strict=True):
        for image, each in zip(part.images, of_part, strict=True):
            if part.split != train or each["digest"] is None:
                continue
            trained.setdefault(each["digest"], image)
            if each.get("hash"):
                bits = int(each["hash"], 16)
                for key in _bands(bits):
                    bands[key].append(len(looks))
                looks.append((bits, _grey(each["look"]), image))
    for part, of_part in zip(parts, facts, strict=True):
        for image, each in zip(part.images, of_part, strict=True):
            if part.split == train or each["digest"] is None:
                continue
            where: dict[str, Any] = {"image": image.key, "record": image.key if image.offset >= 0 else ""}
            if same := trained.get(each["digest"]):
                part.find("in-both", image.path, f"{same.path} is the same", **where)
            elif each.get("hash") and (alike := _alike(each, looks, bands)):
                part.find("alike-in-both", image.path, f"{alike.path} is nearly the same", **where)


def _alike(
    each: Facts,
    looks: Sequence[tuple[int, np.ndarray[Any, Any], ImageFile]],
    bands: dict[tuple[int, int], list[int]],
) -> ImageFile | None:
    bits, grey = int(each["hash"], 16), _grey(each["look"])
    for number in sorted({number for key in _bands(bits) for number in bands.get(key, ())}):
        other, other_grey, image = looks[number]
        if (bits ^ other).bit_count() <= _MOST_BITS and float(np.abs(grey - other_grey).mean()) <= _MOST_GREY:
            return image
    return None


def _bands(bits: int) -> Iterator[tuple[int, int]]:
    """Four pieces of a hash: at least one is the same in two hashes that differ in at most three bits."""
    return ((band, bits >> 16 * band & 0xFFFF) for band in range(_BANDS))


def _grey(look: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytes.fromhex(look), np.uint8).astype(np.float32)
