"""Photos that come in over the network: checked before they are decoded, answered in batches, asked about later."""

from __future__ import annotations

import dataclasses
import io
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from wordtree import WordTree
from yolo9000.datasets.decode import MOST_PIXELS, decode, image_header
from yolo9000.datasets.sample import Record, Unreadable
from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.predictor import Predictor
from yolo9000.results.colours import node_colour
from yolo9000.results.finding import results_of
from yolo9000.results.results import Results
from yolo9000.serving import answers
from yolo9000.serving.admission import Admission
from yolo9000.serving.batcher import Batcher
from yolo9000.serving.config import PHOTO_TYPES, Limits
from yolo9000.serving.refusals import Damaged, NoImageType, NoSuchThing, PhotoGone, TooLarge

FLOOR = 0.05
"""Boxes of a lower score are not sent: the page's first slider begins here."""
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
_PHOTO = "the photo"
_PATIENCE = 3.0
"""How many seconds of a start a batch may take that is only measured."""


@dataclass(frozen=True)
class Photo:
    """A photo that passed its checks and waits to be decoded.

    Parameters
    ----------
    data : bytes
        The file.
    pixels : int
        How many pixels its header announces.
    """

    data: bytes
    pixels: int


def check_photo(data: bytes, limits: Limits) -> Photo:
    """Check a file by its first bytes and its header, before anything is decoded.

    Parameters
    ----------
    data : bytes
    limits : Limits

    Returns
    -------
    Photo

    Raises
    ------
    NoImageType
        It is no image of the kinds that are taken.
    Damaged
        Its header cannot be read.
    TooLarge
        It has too many bytes or pixels.

    Examples
    --------
    >>> check_photo(b"%!PS", Limits())
    Traceback (most recent call last):
    yolo9000.serving.refusals.NoImageType: this is no JPEG, PNG, WebP, GIF, BMP or TIFF
    """
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the file is larger than {limits.max_megabytes:g} MB")
    if not data.startswith(_BEGINNINGS) and not (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        raise NoImageType("this is no JPEG, PNG, WebP, GIF, BMP or TIFF")
    try:
        width, height, _ = image_header(data, _PHOTO)
    except Unreadable as error:
        if "million pixels" in str(error):  # the limit of every reader
            raise TooLarge(f"the picture has more than {most_pixels(limits) / 1e6:.4g} million pixels") from None
        raise Damaged(f"the image cannot be read: {error.reason}") from None
    if width * height > (most := most_pixels(limits)):
        raise TooLarge(
            f"the picture has {width} x {height} pixels; {most / 1e6:.4g} million are the most that is taken"
        )
    if not width * height:
        raise Damaged("the picture has no pixels")
    return Photo(data, width * height)


def most_pixels(limits: Limits) -> int:
    """How many pixels a photo may have: no more than are ever decoded, whatever the limits say.

    Examples
    --------
    >>> most_pixels(Limits()), most_pixels(Limits(max_megapixels=200))
    (40000000, 89478485)
    """
    return min(limits.max_pixels, MOST_PIXELS)


class Photos:
    """A net that answers for photos, and remembers the boxes of the last ones.

    Parameters
    ----------
    predictor : Predictor
    limits : Limits
    size : int, optional
        Side of the network's input; the one trained with by default.
    """

    def __init__(self, predictor: Predictor, limits: Limits = Limits(), *, size: int | None = None) -> None:
        self.limits = limits
        self._predictor = predictor
        self._size = size
        self._shown = DecodeConfig()  # what `predict` does, for what the page repeats of it
        # The label is the most general one that the box may have, of which the score is highest, so no box is dropped
        # that could be shown; and no two boxes overlap by more than 1, so none drops another. The page does both for
        # the thresholds that it is told.
        self._decode = DecodeConfig(threshold=FLOOR, tree_threshold=1.0, nms_iou=1.0, max_detections=limits.boxes)
        self._kept: OrderedDict[str, Results] = OrderedDict()
        self._lock = threading.Lock()
        self.admission = Admission(waiting=limits.waiting, together=limits.together, slowdown=limits.slowdown)
        self.batcher: Batcher[Photo, bytes] = Batcher(self._answer, self.admission, together=limits.together)

    def warm_up(self) -> None:
        """Answer for a photo of noise, so that no visitor's photo is the slow first one, and measure what it takes."""
        file = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        Image.fromarray(noise).save(file, "PNG", compress_level=1)
        photo = Photo(file.getvalue(), noise.shape[0] * noise.shape[1])

        def seconds(number: int) -> float:
            begun = time.perf_counter()
            self._answer([photo] * number)
            return time.perf_counter() - begun

        seconds(1)
        took = {1: min(seconds(1), seconds(1))}
        if (
            took[1] * self.limits.together < _PATIENCE
        ):  # else a start would take long, and a batch is as slow as its parts
            took[self.limits.together] = seconds(self.limits.together)
        self.admission.measure(took)
        with self._lock:
            self._kept.clear()

    @property
    def decode(self) -> DecodeConfig:
        """The thresholds that the page begins with."""
        return self._shown

    @property
    def about(self) -> answers.PhotoLimits:
        """What a photo may be."""
        limits = self.limits
        return answers.PhotoLimits(
            bytes=limits.max_bytes, pixels=most_pixels(limits), boxes=limits.boxes, types=list(PHOTO_TYPES)
        )

    def check(self, data: bytes) -> Photo:
        """See `check_photo`."""
        return check_photo(data, self.limits)

    def factors(self, photo: str, box: int, node: int, tree: WordTree) -> answers.Factors:
        """Why a box of a photo has its probability for a node.

        Raises
        ------
        PhotoGone
            The photo was let go.
        NoSuchThing
            It has no such box.
        """
        with self._lock:
            results = self._kept.get(photo)
            if results is not None:
                self._kept.move_to_end(photo)
        if results is None:
            raise PhotoGone("the boxes of this photo are not kept any more; send it again")
        if not 0 <= box < len(results):
            raise NoSuchThing(f"the photo has no box {box}")
        explained = results.explain(box, node)
        return answers.Factors(
            node=node,
            name=tree.names[node],
            factors=[
                answers.Choice(node=each.node, name=each.name, given=each.given, probability=each.probability)
                for each in reversed(explained.factors)
            ],
            probability=explained.probability,
        )

    def close(self) -> None:
        """Answer what waits, and end."""
        self.batcher.close()

    def _answer(self, photos: Sequence[Photo]) -> list[bytes | Exception]:
        """Answer for some photos, as many at a time as together stay below the limit of pixels.

        An answer is JSON already: the thread that all requests share has no work with it.
        """
        answered: list[bytes | Exception] = []
        some: list[Photo] = []
        for photo in photos:
            if some and sum(each.pixels for each in some) + photo.pixels > most_pixels(self.limits):
                answered += self._answer_some(some)
                some = []
            some.append(photo)
        return answered + self._answer_some(some)

    def _answer_some(self, photos: Sequence[Photo]) -> list[bytes | Exception]:
        begun = time.perf_counter()
        read: list[Record | Exception] = []
        for photo in photos:
            try:
                read.append(Record(decode(photo.data, _PHOTO), _PHOTO))
            except Unreadable as error:
                read.append(Damaged(f"the image cannot be decoded: {error.reason}"))
        records = [each for each in read if isinstance(each, Record)]
        ones = iter(self._predictor.find(records, self._decode, size=self._size))
        answered: list[bytes | Exception] = []
        for each in read:
            if isinstance(each, Exception):
                answered.append(each)
                continue
            one = next(ones)
            overlaps = iou(one.detections.boxes_cxcywh[:, None], one.detections.boxes_cxcywh[None])
            results = results_of(
                one,
                self._predictor.trained.classes,
                threshold=FLOOR,
                never_boxed=self._predictor.trained.never_boxed,
            )
            found = self._keep(results, overlaps > self._shown.nms_iou, time.perf_counter() - begun)
            answered.append(found.model_dump_json().encode())
        return answered

    def _keep(self, results: Results, overlaps: torch.Tensor, seconds: float) -> answers.Found:
        height, width = results.image.shape[:2]
        most_general = [len(path) - 1 for path in results.paths]  # in a restricted net that is not always a top node
        results = results.relabel(0.0)  # to the leaves
        # the size is still wanted, the pixels are let go
        results = dataclasses.replace(results, image=np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3)))
        tree = results.tree
        rows = overlaps.cpu().numpy()
        boxes = [
            answers.Box(
                box_xyxy=(x0, y0, x1, y1),
                objectness=float(results.boxes.objectness[row]),
                path=[
                    answers.Step(
                        node=step.node,
                        name=step.name,
                        probability=step.probability,
                        children=len(tree.children(step.node)) if tree is not None else 0,
                        colour="#{:02x}{:02x}{:02x}".format(*node_colour(results.classes, step.node)),
                    )
                    for step in results.paths[row]
                ],
                first=most_general[row],
                overlaps=[other for other in np.flatnonzero(rows[row]).tolist() if other != row],
            )
            for row, (x0, y0, x1, y1) in enumerate(results.boxes.xyxy.tolist())
        ]
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = results
            while len(self._kept) > self.limits.kept:
                self._kept.popitem(last=False)
        on_paths = {step.node for path in results.paths for step in path}
        return answers.Found(
            photo=name,
            width=width,
            height=height,
            boxes=boxes,
            floor=FLOOR,
            cut=len(results) >= self.limits.boxes,
            most=self._shown.max_detections,
            never_boxed=sorted(on_paths & results.never_boxed),
            seconds=seconds,
        )
