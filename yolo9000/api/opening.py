"""How a net is opened from Python."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from wordtree import WordTree, load_tree
from yolo9000.darknet.cfg_files import read_names
from yolo9000.detection.config import DecodeConfig
from yolo9000.experiment.keywords import check_keywords
from yolo9000.exporting.opening import open_any
from yolo9000.exporting.running import ready
from yolo9000.inference.config import Engine, OpenConfig
from yolo9000.inference.model import TrainedModel
from yolo9000.runtime.config import Precision, Settings
from yolo9000.runtime.device import pick_device, use_huge_pages

_ELSEWHERE = {"imgsz": "size", "half": "precision"}
"""What others call the keywords of `How`."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How a net is opened and asked.

    Parameters
    ----------
    cfg, tree, names, best, engine, settings, device, precision, size, letterbox, decoding, compile : any
        See `yolo9000.api.model.YOLO9000.load`.
    """

    cfg: str | os.PathLike[str] | None = None
    tree: WordTree | str | os.PathLike[str] | None = None
    names: Iterable[str] | str | os.PathLike[str] | None = None
    best: bool = False
    engine: Engine | None = None
    settings: str = "auto"
    device: str | torch.device | None = None
    precision: Precision | None = None
    size: int | None = None
    letterbox: Literal["area", "darknet"] | None = None
    decoding: Literal["probability", "darknet"] = "probability"
    compile: bool = False

    @classmethod
    def of_keywords(cls, options: Mapping[str, Any], where: str) -> How:
        """What keywords of the method `where` say.

        Raises
        ------
        WrongKeyword
            One is not known; the message says which is meant.
        """
        check_keywords(options, [each.name for each in dataclasses.fields(cls)], where, meant=_ELSEWHERE)
        return cls(**options)

    @property
    def on(self) -> torch.device:
        """The device."""
        return pick_device(None if self.device is None else str(self.device))

    def ready(self, trained: TrainedModel, device: torch.device) -> tuple[TrainedModel, Settings]:
        """The net with its engine, and the settings to prepare it with; see `yolo9000.exporting.running.ready`."""
        opened = OpenConfig(settings=self.settings, precision=self.precision, engine=self.engine, size=self.size)
        return ready(trained, opened, device=device, compile=self.compile)

    def of_run(self, device: str | None) -> How:
        """The same for a run that was trained now, which needs no other files, on the device that it was trained on."""
        return dataclasses.replace(
            self, cfg=None, tree=None, names=None, best=False, engine=None, size=None, device=device
        )


def open_net(path: str | os.PathLike[str], how: How) -> TrainedModel:
    """Open a detector of any kind: a run's folder, a checkpoint, an exported folder, or weights of darknet's.

    Parameters
    ----------
    path : str or Path
    how : How

    Returns
    -------
    TrainedModel
        Its detector is on the device.

    Raises
    ------
    CheckpointError, CfgError, WeightsError, ExportError, wordtree.TreeError, Mistake
        A file is absent or cannot be used; the message says what is there.
    """
    use_huge_pages()
    trained = open_any(
        os.fspath(path),
        None if how.cfg is None else os.fspath(how.cfg),
        tree=load_tree(os.fspath(how.tree)) if isinstance(how.tree, str | os.PathLike) else how.tree,
        names=read_names(os.fspath(how.names)) if isinstance(how.names, str | os.PathLike) else _listed(how.names),
        best=how.best,
        engine=how.engine,
        device=how.on,
    )
    return dataclasses.replace(trained, model=trained.detector)


def default_decoding(trained: TrainedModel) -> DecodeConfig:
    """How detections are made unless it is said: what is inside of an exported net that decodes, or the defaults."""
    if trained.detector.decodes_inside:
        inside = getattr(trained.detector, "decode", None)
        assert isinstance(inside, DecodeConfig)
        return inside
    return DecodeConfig()


def _listed(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
