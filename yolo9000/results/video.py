"""Pictures one after the other as a video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from yolo9000.runtime.mistakes import Mistake

CODEC = "mp4v"
"""MPEG-4 part 2: the codec for .mp4 files that OpenCV's wheels carry. Players read it, most browsers do not."""


class VideoFile:
    """An mp4 file that grows by one picture at a time.

    Parameters
    ----------
    file : Path
    rate : float
        Frames a second.

    Raises
    ------
    Mistake
        OpenCV has no encoder for it here; `add` raises it with the first picture.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     video = VideoFile(Path(folder, "grey.mp4"), rate=5.0)
    ...     for grey in (0, 90, 180):
    ...         video.add(Image.new("L", (64, 48), grey))
    ...     video.close()
    ...     print(cv2.VideoCapture(str(video.file)).get(cv2.CAP_PROP_FRAME_COUNT))
    3.0
    """

    def __init__(self, file: Path, rate: float) -> None:
        self.file = file
        self.rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def add(self, picture: Image.Image) -> None:
        """Add a picture; one of another size than the first is brought to that size."""
        if self._writer is None:
            self._size = (picture.width + picture.width % 2, picture.height + picture.height % 2)  # codecs want it even
            self._writer = cv2.VideoWriter(str(self.file), cv2.VideoWriter.fourcc(*CODEC), self.rate, self._size)
            if not self._writer.isOpened():
                raise Mistake(
                    f"{self.file}: OpenCV {cv2.__version__} has no encoder for {CODEC} here, or cannot write there; "
                    "leave out `save_video`: each frame then becomes a picture"
                )
        frame = np.asarray(picture.convert("RGB"))
        if (picture.width, picture.height) != self._size:
            frame = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
