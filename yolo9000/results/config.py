"""What is asked of a prediction and what is kept of it: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.config import OpenConfig
from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True, kw_only=True)
class SaveConfig:
    """What is written of each image, and how pictures look.

    Parameters
    ----------
    pictures : bool
        A picture with the boxes for each image. It is enlarged where the image is too small for its labels to be read.
    picture_format : str
        "jpg", or "png" for pixels without losses, which take fifty times the time and five times the bytes. A picture
        that is too long for a JPEG (65,500 pixels) is a PNG in any case.
    show_path : bool
        Below each name in a picture also the way up the tree from it, with the probability of each node.
    text_size : int or None
        Height of the letters in pixels. None follows the size of the picture and how many boxes there are.
    font : str or None
        A TrueType file for the letters, for names in a script that the built-in font lacks.
    save_json : bool
        predictions.json: all numbers, with the whole path of each label. Boxes are in pixels of the upright image.
    save_coco : bool
        coco.json: COCO's format with scores, which annotation tools read, and so does a training. The names of the
        files lead from its folder to the images; frames of videos and addresses are no files, and no training has them.
    save_txt : bool
        labels/NAME.txt: YOLO's text, a line "class cx cy w h score" a box; classes.txt names the classes.
    save_csv : bool
        predictions.csv: a table with a row a box.
    save_crops : bool
        crops/LABEL/NAME-1.jpg and so on: the boxes cut out of the images.
    save_video : bool
        NAME.mp4: each video with the boxes drawn into it, in place of a picture for each of its frames.
    """

    pictures: bool = True
    picture_format: Literal["jpg", "png"] = "jpg"
    show_path: bool = False
    text_size: Annotated[int | None, arg(metavar="PIXELS")] = None
    font: Annotated[str | None, arg(metavar="FILE")] = None
    save_json: bool = True
    save_coco: bool = False
    save_txt: bool = False
    save_csv: bool = False
    save_crops: bool = False
    save_video: bool = False

    def __post_init__(self) -> None:
        if self.text_size is not None and self.text_size < 4:
            raise Mistake(f"`text_size` {self.text_size}: at least 4 is needed")

    @property
    def writes(self) -> bool:
        """Whether anything is written at all."""
        return (
            self.pictures
            or self.save_json
            or self.save_coco
            or self.save_txt
            or self.save_csv
            or self.save_crops
            or self.save_video
        )


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How images are predicted on, and where the answers go.

    Parameters
    ----------
    decode : DecodeConfig
        How raw output becomes detections.
    open : OpenConfig
        Which net is used, and how images are fitted into it.
    save : SaveConfig
        What is written.
    weights : str or None
        Weights of a net that darknet trained, in place of a run.
    source : tuple of str
        More images: files, folders, patterns, addresses, videos, or the number of a camera. It is the same to name
        them behind the run.
    recursive : bool
        Take the folders inside folders as well.
    classes : tuple of str
        Find these classes only, and what lies below them in the tree: names, synsets or wnids, one after the other.
    stream : bool
        Print each image's detections as soon as they are there, as one line of JSON on the standard output.
    out : str or None
        The folder for all that is written: a new one, or an empty one. Without it that is the first of runs/predict,
        runs/predict2, .. that is free.
    overwrite : bool
        Also write to a folder that holds something, over the files of an earlier prediction. An image that is
        predicted on is never written over.
    decoding : str
        "probability": the tree is descended by P(node), which also enters the score. "darknet": darknet's own
        arithmetic, for comparing numbers (`yolo9000.darknet.decoding`); `nms` is then not looked at.
    batch_size : int
        Images that go through the net at once; of a camera it is one.
    compile : bool
        Compile the net first. It takes tens of seconds, which many images win back.

    Raises
    ------
    Mistake
        The batch is empty.
    """

    decode: DecodeConfig = field(default_factory=DecodeConfig)
    open: OpenConfig = field(default_factory=OpenConfig)
    save: SaveConfig = field(default_factory=SaveConfig)
    weights: Annotated[str | None, arg(metavar="FILE")] = None
    source: Annotated[tuple[str, ...], arg(metavar="IMAGES")] = ()
    recursive: bool = True
    classes: Annotated[tuple[str, ...], arg(metavar="NAMES")] = ()
    stream: bool = False
    out: Annotated[str | None, arg(metavar="DIR")] = None
    overwrite: bool = False
    decoding: Literal["probability", "darknet"] = "probability"
    batch_size: Annotated[int, arg(name="batch", metavar="N")] = 16
    compile: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise Mistake(f"`batch_size` {self.batch_size}: at least 1 is needed")
