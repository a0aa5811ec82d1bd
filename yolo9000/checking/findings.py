"""What can be wrong with data, and what a training does about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Does = Literal["refuse", "skip", "clip", "keep", "pass over"]
"""Trainings refuse the data, skip an image or box and count it in the log, clip a box, use what is there as it is, or
never look at it."""


class Kind(NamedTuple):
    """A kind of flaw."""

    title: str
    does: Does
    meaning: str


KINDS = {
    "refused": Kind("the data set cannot be opened", "refuse", "the layout is not what it should be"),
    "wrong-record": Kind("a record that cannot be understood", "refuse", "a key, line or cell is missing or wrong"),
    "duplicate-id": Kind("an id that is used twice", "refuse", "nobody knows which of them is meant"),
    "missing-image": Kind("an image that is not there", "refuse", "the annotations name a file that is absent"),
    "missing-annotation": Kind("an image in the list without annotations", "refuse", "its XML is absent"),
    "unknown-category": Kind("an annotation of no category", "refuse", "the file lists no such category"),
    "no-node": Kind("a class without a node", "refuse", "the tree has no concept for it"),
    "unreadable": Kind("a file that is no image", "skip", "the next image is taken"),
    "truncated": Kind("an image that is cut off", "skip", "the next image is taken"),
    "too-large": Kind("an image of too many pixels", "skip", "the next image is taken"),
    "other-size": Kind("an image of another size than stated", "skip", "its boxes would be wrong"),
    "not-finite": Kind("a box that is no box", "skip", "a number is missing, NaN or infinite"),
    "zero-area": Kind("a box without a width or height", "skip", "nothing is in it"),
    "outside": Kind("a box outside of its image", "skip", "nothing is in it"),
    "annotation-without-image": Kind("an annotation without an image", "skip", "there is no such image"),
    "written-twice": Kind("a line that is written twice", "skip", "it counts once"),
    "over-the-edge": Kind("a box that is partly outside", "clip", "it is cut at the edge"),
    "duplicate-box": Kind("the same box twice", "keep", "both are trained on"),
    "duplicate-annotation-id": Kind("an annotation id that is used twice", "keep", "trainings do not use these ids"),
    "listed-twice": Kind("an image that is listed twice", "keep", "it is seen twice in a pass"),
    "mislabelled": Kind("a file of another kind than its name says", "keep", "its content is what counts"),
    "cmyk": Kind("an image in the colours of print", "keep", "it is turned into RGB"),
    "16-bit": Kind("an image of 16 bits", "keep", "it is brought to 8 bits"),
    "exif-rotated": Kind("an image on its side", "keep", "it is turned as its layout's boxes want it"),
    "animated": Kind("a file of several pictures", "keep", "the first is used"),
    "in-both": Kind("the same file in train and validation", "keep", "scores on it say nothing"),
    "alike-in-both": Kind("nearly the same image in train and validation", "keep", "scores on it say little"),
    "image-without-annotation": Kind("an image that no annotation names", "pass over", "it is not trained on"),
    "label-without-image": Kind("a file of annotations without an image", "pass over", "it is not read"),
}
"""Every kind, the gravest first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One flaw.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    source : str
        The data set.
    split : str
        The part of it.
    file : str
        The file that is to be put right.
    text : str
        What is wrong.
    record : str
        The entry of the file, such as ``annotations[3]``; empty if the file itself is meant.
    line : int or None
        The line of the record, from 1.
    image : str
        The key of the image that it is about, if it is about one.
    box_xyxy : tuple of float, optional
        The box that it is about, in pixels of the image.
    """

    kind: str
    source: str
    split: str
    file: str
    text: str
    record: str = ""
    line: int | None = None
    image: str = ""
    box_xyxy: tuple[float, float, float, float] | None = None

    @property
    def place(self) -> str:
        """File, line and record, as far as there are any.

        Examples
        --------
        >>> Finding(kind="outside", source="voc", split="train", file="a.xml", line=7, record="object 2", text="").place
        'a.xml:7: object 2'
        """
        line = f":{self.line}" if self.line is not None else ""
        return f"{self.file}{line}{f': {self.record}' if self.record else ''}"


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image of a data set, or the part of a tar or pack that holds it.

    Parameters
    ----------
    path : Path or str
        The file, or the URL of one.
    key : str
        What the data set calls it.
    offset, size : int
        Where it lies in the file; -1 if it is the file.
    stated : tuple of int, optional
        The width and height that the annotations state.
    record : str
        The record that names it.
    line : int or None
        And its line.
    read : callable, optional
        It gives the content, where that is not read from the file; it raises `Unreadable`.
    """

    path: Path | str
    key: str
    offset: int = -1
    size: int = -1
    stated: tuple[int, int] | None = None
    record: str = ""
    line: int | None = None
    read: Callable[[], bytes] | None = None


class Box(NamedTuple):
    """A box as a record states it; `relative` ones are in shares of the image."""

    image: int
    name: str
    xyxy: tuple[float, float, float, float]
    file: str
    record: str
    line: int | None
    ignored: bool = False
    relative: bool = False


@dataclass(kw_only=True)
class Part:
    """A split of a data set, as its files state it.

    Parameters
    ----------
    layout, path, split : str
        Which it is.
    images : list of ImageFile
    boxes : list of Box
    labels : Counter of str
        How many images have each class for a label.
    names : list of str
        The classes that the files declare, whether they have boxes or not.
    findings : list of Finding
    upright : bool
        Whether boxes refer to the image as it stands upright.
    annotations : str
        The file that states the images, for findings about them.
    """

    layout: str
    path: str
    split: str
    images: list[ImageFile] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    upright: bool = False
    annotations: str = ""

    @property
    def source(self) -> str:
        """The name of the data set in reports."""
        return f"{self.layout} {self.path}"

    def find(
        self,
        kind: str,
        file: str | Path,
        text: str,
        *,
        record: str = "",
        line: int | None = None,
        image: str = "",
        box_xyxy: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Note a flaw."""
        assert kind in KINDS
        self.findings.append(
            Finding(
                kind=kind,
                source=self.source,
                split=self.split,
                file=str(file),
                text=text,
                record=record,
                line=line,
                image=image,
                box_xyxy=box_xyxy,
            )
        )
