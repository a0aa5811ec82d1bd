"""`EvaluateConfig`: on what a detector is evaluated, and how.

It imports no torch, so that a command's help is there at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Fixed, arg

from yolo9000.inference.config import OpenConfig
from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """On what a detector is evaluated, and how.

    Parameters
    ----------
    sets : tuple of (str, str)
        Layout and path of the data sets; the held-out part of the run's own data if there are none.
    open : OpenConfig
        Which net is used, and how images are fitted into it.
    weights : str or None
        Weights of a detector of torchvision's, ``torchvision:NAME`` in place of a run: a file of its state dict, whose
        labels `names` gives. None is its published weights, which torchvision downloads.
    split : str or None
        The part of the data sets that is evaluated, also where a training held out an annotation file (`val`) in its
        place. None is ``test`` of the embedded scenes, and the held-out part of other data.
    images : int
        Images of each kind, at most.
    map : str or None
        Evaluate the classes of this map: a file of darknet's (the node of each class in a line), a label map of the
        tree, or coco9k.map or inet9k.map, which are known (COCO and ImageNet-DET for a model of 9,418 nodes).
    boxed : str or None
        Which classes of scenes or tiles count as boxed, as for training; or which of a `map`, by its names. None is
        those that had boxes there.
    raw_weights : bool
        The last weights in place of the averaged ones.
    batch_size : int
        Images that go through the net at once.
    workers : int
        Processes that read images. With 0 the evaluating process does it.

    Raises
    ------
    Mistake
        A number is too small.
    """

    sets: Fixed[tuple[tuple[str, str], ...]] = ()
    open: OpenConfig = field(default_factory=OpenConfig)
    weights: Annotated[str | None, arg(metavar="FILE")] = None
    split: Annotated[str | None, arg(metavar="NAME")] = None
    images: Annotated[int, arg(metavar="N")] = 1000
    map: Annotated[str | None, arg(metavar="NAME")] = None
    boxed: Annotated[str | None, arg(metavar="FILE")] = None
    raw_weights: bool = False
    batch_size: Annotated[int, arg(name="batch", metavar="N")] = 32
    workers: Annotated[int, arg(metavar="N")] = 0

    def __post_init__(self) -> None:
        for name, least in (("images", 1), ("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least {least} is needed")
