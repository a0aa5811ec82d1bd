"""Images with an image label each, in tars of webdataset's kind at any URL."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import nodes_of
from yolo9000.datasets.complaints import Complaints
from yolo9000.datasets.decode import decode
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.names import AnyClass
from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.tar_records import Labels, WrongRecord, is_label, read_json
from yolo9000.datasets.tar_shards import Progress, Shards

LAYOUT = """\
imagenet/train-0000.tar     members 1.jpg and 1.cls, 2.jpg and 2.cls, ..: a path up to its first dot is one image
imagenet/train-0001.tar     1.cls holds its label: a wnid, a name, or the number of a line of classes.txt, from 0
imagenet/val-0000.tar       (or 1.json does, in place of 1.cls: {"label": "n02084071"})
imagenet/classes.txt        a wnid or name on each line; needed where labels are numbers"""
"""How the tars lie, for messages and the documentation."""

_RECORD = "a label is KEY.cls, or the key label of KEY.json: a wnid, a name, or the number of a line of classes.txt"


class LabelTars:
    """Images with an image label each, from tars that may lie on servers.

    Parameters
    ----------
    url : str
        Where the tars of all splits are, such as ``s3://bucket/imagenet/{train-{0000..0146},val-{00..06}}.tar``; see
        `yolo9000.datasets.remote.RemoteFiles`.
    label_map : mapping of str to int
        The class index or tree node for each label (a wnid or a name).
    split : str
        As in `yolo9000.datasets.tar_shards.Shards`.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out images of labels without a node instead of raising.
    cache : str or Path, optional
        The folder of the indices; by default it is inside the user's cache folder.
    draft : int, optional
        Large JPEGs are shrunk while they are decoded, down to this side; see `yolo9000.datasets.decode.decode`.
    progress : callable
        It wraps the numbers of the tars while they are gone through, to show progress; ``tqdm`` fits.
    complaints : Complaints, optional
        Where images with a wrong label are noted, in place of an error; they are left out.

    Attributes
    ----------
    shards : Shards
        The tars.
    names : NameTable
        ``<tar>/<member>`` of each image.
    class_names : list of str
        The labels that there are; `classes` holds indices into this list.
    classes : array (N,) int32
        The class of each image.
    labels : array (N,) int64
        The class index or tree node of each image.
    guard : LeanChild, optional
        The process that decodes the images, in place of this one.

    Raises
    ------
    DatasetError
        If the tars, a label or the label map do not fit; wrong labels are named with tar and member.

    Examples
    --------
    >>> source = LabelTars("imagenet/{train,val}-0000.tar", {"n02085620": 0})  # doctest: +SKIP
    >>> source.read(0).image_label  # doctest: +SKIP
    0
    """

    kind: Kind = "classification"
    labelled_nodes: NDArray[np.int64] | None = None
    guard: LeanChild | None = None

    def __init__(
        self,
        url: str,
        label_map: Mapping[str, int],
        *,
        split: str = "train",
        name: str = "label_tars",
        skip_missing: bool = False,
        cache: str | Path | None = None,
        draft: int | None = 512,
        progress: Progress = iter,
        complaints: Complaints | None = None,
    ) -> None:
        self.name, self.draft = name, draft
        labels, numbers = Labels(), array("q")
        wrong: dict[int, str] = {}

        def note(annotations: Mapping[str, bytes]) -> None:
            try:
                numbers.append(labels.add(label_of(annotations)))
            except WrongRecord as error:
                wrong[len(numbers)] = str(error)
                numbers.append(-1)

        self.shards = Shards(url, split, cache=cache, note=note, progress=progress)
        classes = np.array([*labels.resolve(self.shards.classes), -1], np.int32)[
            np.asarray(numbers)
        ]  # -1 takes the last
        own = Complaints(_RECORD, of="labels") if complaints is None else complaints
        for image in np.flatnonzero(classes < 0).tolist():
            said = wrong.get(image) or labels.wrong[numbers[image]]
            own.add(self.shards.where(image), None, said)
        if complaints is None:
            own.require_none()
        self.class_names: list[str] = labels.names
        nodes = nodes_of(f"{name} ({url})", "labels", labels.names, label_map.get, skip_missing=skip_missing)
        of_class = np.array([*nodes, -1], np.int64)
        self.rows: NDArray[np.int64] = np.flatnonzero(of_class[classes] >= 0)
        self.classes: NDArray[np.int32] = classes[self.rows]
        self.labels: NDArray[np.int64] = of_class[self.classes]
        self.names = self.shards.names.taken(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of image `index`. Raises `Unreadable`."""
        return self.shards.read_bytes(int(self.rows[index]))

    def read(self, index: int) -> Record:
        """Return image `index` with its image label and no boxes. Raises `Unreadable`."""
        key = self.names[index]
        image = (self.guard.decode if self.guard else decode)(self.read_bytes(index), key, draft=self.draft)
        return Record(image, key, image_label=int(self.labels[index]))


def label_of(annotations: Mapping[str, bytes]) -> str | int:
    """Return the label that the annotations of an image state, a name or a number.

    Parameters
    ----------
    annotations : mapping of str to bytes
        ``.cls`` and ``.json``; the first that is there says it.

    Raises
    ------
    WrongRecord
        If neither does.

    Examples
    --------
    >>> label_of({".cls": b"n02084071"}), label_of({".cls": b"7"}), label_of({".json": b'{"label": "dog"}'})
    ('n02084071', 7, 'dog')
    """
    if annotations.get(".cls"):
        try:
            text = annotations[".cls"].decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise WrongRecord(f"its .cls is no text in UTF-8 ({error.reason})") from error
        if not text or any(ord(letter) < 32 for letter in text):
            raise WrongRecord(f"its .cls holds no label, but {text[:60]!r}")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    if annotations.get(".json"):
        record = read_json(annotations[".json"])
        if "label" not in record:
            raise WrongRecord(f"its .json has no key label, but {', '.join(list(record)[:5])[:100] or 'none'}")
        value = record["label"]
        if is_label(value):
            return value.strip() if isinstance(value, str) else int(value)
        raise WrongRecord("the label of its .json is neither a name nor a number")
    raise WrongRecord("it has no label: neither a .cls nor a .json with the key label belongs to it")


def label_names(url: str, split: str, cache: str | Path | None = None) -> Sequence[str]:
    """Return the labels that tars may have: those of ``classes.txt``, or else those that their images have.

    Parameters
    ----------
    url, split : str
    cache : str or Path, optional
        As in `LabelTars`.

    Raises
    ------
    DatasetError
        If the tars cannot be read.
    """
    source = LabelTars(url, AnyClass(), split=split, cache=cache)
    return source.shards.classes or sorted(source.class_names)
