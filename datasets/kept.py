"""Scenes that are drawn once, and kept in a file that several trainings read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.scenes import SceneSource


class KeptScenes:
    """A source of scenes whose images are drawn when they are first read, by whichever process, and then kept.

    The file is as long as all scenes would be, but takes the place of those that were drawn (90 kB hold three of 96
    pixels). Where it cannot be written, scenes are drawn each time.

    Parameters
    ----------
    source : SceneSource
        It draws; two that draw other scenes, or label them otherwise, have files of their own.
    folder : str or Path
        An existing folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = KeptScenes(SceneSource(length=10), folder)
    ...     first, again = kept.read(3), kept.read(3)
    >>> bool((first.image == again.image).all()), first.key == again.key
    (True, True)
    """

    def __init__(self, source: SceneSource, folder: str | Path) -> None:
        self.source = source
        side, most = source.config.size, source.config.objects[1]
        self._form = np.dtype(
            [
                ("drawn", "u1"),
                ("boxes", "u1"),
                ("boxes_xyxy", "f4", (most, 4)),
                ("labels", "i8", (most,)),
                ("image_label", "i8"),
                ("image", "u1", (side, side, 3)),
            ]
        )
        self.file = Path(folder) / f"{source.kind}-{source.config.split}-{source.digest[:16]}.scenes"
        self._opened: tuple[int, BinaryIO] | None = None

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> Kind:
        return self.source.kind

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None:
        return self.source.labelled_nodes

    def __len__(self) -> int:
        return len(self.source)

    def __del__(self) -> None:
        if (opened := getattr(self, "_opened", None)) is not None:
            opened[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def read(self, index: int) -> Record:
        """Return scene `index`, as the source does.

        Raises
        ------
        IndexError
            If there is no such scene.
        """
        file = self._of_this_process() if 0 <= index < len(self) else None
        if file is None:
            return self.source.read(index)
        file.seek(index * self._form.itemsize)
        found = file.read(self._form.itemsize)
        if len(found) == self._form.itemsize and found[0]:
            return self._record(np.frombuffer(found, self._form)[0], index)
        record = self.source.read(index)
        self._keep(file, index, record)
        return record

    def _of_this_process(self) -> BinaryIO | None:
        """The open file. A forked process would move the place at which its parent reads, so each opens its own."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            except OSError:
                return None
            if self._opened is not None:
                self._opened[1].close()
            self._opened = (os.getpid(), os.fdopen(descriptor, "r+b", buffering=0))
        return self._opened[1]

    def _keep(self, file: BinaryIO, index: int, record: Record) -> None:
        row = np.zeros(1, self._form)
        count = len(record.boxes_xyxy)
        row["boxes"], row["boxes_xyxy"][0, :count], row["labels"][0, :count] = count, record.boxes_xyxy, record.labels
        row["image_label"] = -1 if record.image_label is None else record.image_label
        row["image"] = record.image
        try:
            file.seek(index * self._form.itemsize)
            if file.write(row.tobytes()) == row.nbytes:
                file.seek(index * self._form.itemsize)
                file.write(b"\x01")  # last, so that nobody reads half a scene
        except OSError:
            pass  # the disk is full: the scene is drawn again the next time

    def _record(self, row: Any, index: int) -> Record:
        count, label = int(row["boxes"]), int(row["image_label"])
        return Record(
            row["image"].copy(),
            self.source.key(index),
            row["boxes_xyxy"][:count].copy(),
            row["labels"][:count].copy(),
            None if label < 0 else label,
        )
