"""What was found in images, written into one folder as they come: pictures, JSON, COCO, text, CSV, crops, videos."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from yolo9000.results.config import SaveConfig
from yolo9000.results.drawing import LEAST_TEXT, draw_results, load_font
from yolo9000.results.file_names import picture_suffix, stem_of
from yolo9000.results.formats import CROP_QUALITY, class_names, cut_out, to_coco, to_csv, to_json, to_txt
from yolo9000.results.results import Results
from yolo9000.results.video import VideoFile
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.output_folder import OutputFolder

log = logging.getLogger(__name__)

REPORT, COCO, TABLE, NAMES = "predictions.json", "coco.json", "predictions.csv", "classes.txt"
JPEG_QUALITY = 90
_NO_RATES: Mapping[str, float] = MappingProxyType({})


class PredictionWriter:
    """It writes what was found in each image, and at the end what is about all of them.

    Parameters
    ----------
    folder : Path
        It is made with the first file. Files of the same names are replaced.
    config : SaveConfig
        What is written.
    inputs : iterable of str or Path
        The image files, none of which is written over.
    rates : mapping of str to float
        Frames a second of the videos whose frames are named ``VIDEO#N``; it may grow as they come.

    Raises
    ------
    FileExistsError
        A file would take the place of an input.
    Mistake
        The font cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        config: SaveConfig,
        *,
        inputs: Iterable[str | Path] = (),
        rates: Mapping[str, float] = _NO_RATES,
    ) -> None:
        inputs = list(inputs)
        self._folder = OutputFolder(folder, inputs)
        self._config = config
        self._rates = rates
        self._entries: list[dict[str, Any]] = []
        self._kept: list[Results] = []
        self._used: set[str] = set()
        self._videos: dict[str, VideoFile] = {}
        self._pictures = 0
        self._crops = 0
        load_font(config.text_size or LEAST_TEXT, config.font)  # now, before anything is computed
        names = [f"{stem_of(str(each))}.{config.picture_format}" for each in inputs] if config.pictures else []
        self._folder.check([*names, *(name for name, wanted in self._files() if wanted)])

    def add(self, results: Results) -> dict[str, Any]:
        """Write what was found in one image.

        Returns
        -------
        dict
            Its entry in ``predictions.json``: that of `to_json`, and the file name of its ``picture`` if there is one.
        """
        config, entry = self._config, to_json(results)
        stem = self._stem(stem_of(results.path))
        video = results.path.rpartition("#")[0]
        if config.save_video and video in self._rates:
            self._video(video).add(self._draw(results))
        elif config.pictures:
            picture = self._draw(results)
            suffix = picture_suffix(picture) if config.picture_format == "jpg" else config.picture_format
            name = f"{stem}.{suffix}"
            if suffix != config.picture_format:
                log.warning("%s: its picture is too long for a JPEG and is written as %s", results.path, name)
            picture.save(self._folder.file(name), quality=JPEG_QUALITY)
            entry = {"image": entry["image"], "picture": name, **entry}
            self._pictures += 1
        if config.save_txt:
            self._folder.file(f"labels/{stem}.txt").write_text(to_txt(results), encoding="utf-8")
        if config.save_crops:
            self._write_crops(results, stem)
        if config.save_json:
            self._entries.append(entry)
        if config.save_coco or config.save_csv or config.save_txt:
            self._kept.append(_without_pixels(results))
        return entry

    def close(self) -> list[str]:
        """Write what is about all images, and finish the videos.

        Returns
        -------
        list of str
            What there is now, such as ``["60 pictures", "predictions.json"]``; nothing if there was no image.
        """
        for video in self._videos.values():
            video.close()
        written = [f"{self._pictures} picture{'s' * (self._pictures != 1)}"] * bool(self._pictures)
        written += [video.file.name for video in self._videos.values() if video.file.exists()]
        written += [f"{self._crops} crop{'s' * (self._crops != 1)}"] * bool(self._crops)
        if self._entries:
            self._write(REPORT, json.dumps(self._entries, indent=1) + "\n")
            written.append(REPORT)
        if self._kept and self._config.save_coco:
            self._write(COCO, json.dumps(to_coco(self._kept, folder=self._folder.path), indent=1) + "\n")
            written.append(COCO)
        if self._kept and self._config.save_csv:
            self._write(TABLE, to_csv(self._kept))
            written.append(TABLE)
        if self._kept and self._config.save_txt:
            self._write(NAMES, class_names(self._kept[0].classes))
            written += ["labels", NAMES]
        self._folder.close()
        return written

    def _files(self) -> list[tuple[str, bool]]:
        config = self._config
        return [
            (REPORT, config.save_json),
            (COCO, config.save_coco),
            (TABLE, config.save_csv),
            (NAMES, config.save_txt),
        ]

    def _draw(self, results: Results) -> Image.Image:
        config = self._config
        return draw_results(results, path=config.show_path, text_size=config.text_size, font=config.font)

    def _write_crops(self, results: Results, stem: str) -> None:
        numbers: Counter[str] = Counter()
        for label, crop in cut_out(results):
            numbers[label] += 1
            name = f"crops/{label}/{stem}-{numbers[label]}.{picture_suffix(crop)}"
            crop.save(self._folder.file(name), quality=CROP_QUALITY)
            self._crops += 1

    def _video(self, name: str) -> VideoFile:
        if name not in self._videos:
            file = self._folder.file(f"{self._stem(stem_of(name))}.mp4")
            self._videos[name] = VideoFile(file, self._rates[name])
        return self._videos[name]

    def _stem(self, stem: str) -> str:
        """The same, with a number where it was used before: of a/cat.jpg and b/cat.jpg."""
        name, number = stem, 1
        while name in self._used:
            number += 1
            name = f"{stem}-{number}"
        self._used.add(name)
        return name

    def _write(self, name: str, text: str) -> None:
        # the name of an image may be no UTF-8, and then stands there as it is
        write_atomically(self._folder.file(name), text.encode("utf-8", "surrogateescape"))


def _without_pixels(results: Results) -> Results:
    """The same numbers without what takes memory."""
    nothing = np.broadcast_to(np.uint8(0), results.image.shape)
    return dataclasses.replace(results, image=nothing, kept=None)
