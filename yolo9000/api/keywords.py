"""What the keywords of training and evaluating ask for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from yolo9000.api.opening import How
from yolo9000.experiment.beginning import Asked, begin_with, check_beside_cfg, check_resumed, usual_folder
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import override, read_config
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.experiment.keywords import WrongKeyword, sets_of_keywords, with_keywords
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.exporting.config import ExportConfig, Format
from yolo9000.exporting.folder import describes_export
from yolo9000.inference.config import OpenConfig
from yolo9000.inference.darknet_files import is_darknet_file
from yolo9000.inference.first_layers import SAFETENSORS
from yolo9000.inference.model import TrainedModel
from yolo9000.models.yolov2 import Detector
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.mistyped import unknown_choice

_OF_LOAD = ("cfg", "tree", "names", "best", "engine", "settings", "precision", "device")
_OF_COMMAND = ("weights", "raw_weights")
"""Options of the command that say which weights are opened."""


def asked_training(
    trained: TrainedModel | None,
    how: How,
    options: Mapping[str, Any],
    whole: TrainedModel | None = None,
    insist: bool = False,
    **beginning: str | os.PathLike[str] | None,
) -> Asked:
    """The training that keywords ask for.

    Parameters
    ----------
    trained : TrainedModel, optional
        The net that goes on learning, unless the keywords name another beginning.
    how : How
        How it was opened.
    options : mapping of str to any
        Data sets, and options of a training.
    whole : TrainedModel, optional
        The net as it was opened, if it may have been restricted since.
    insist : bool
        A run that is resumed may become another.
    **beginning : str or Path, optional
        ``preset``, ``recipe``, ``config``, ``resume`` and ``out``.

    Raises
    ------
    WrongKeyword, Mistake
        See `yolo9000.api.model.YOLO9000.train`.
    """
    texts = {name: None if value is None else os.fspath(value) for name, value in beginning.items()}
    resume, out = texts["resume"], texts["out"]
    sets, given = sets_of_keywords(options)
    starts = any(given.get(name) is not None for name in ("cfg", "init"))
    goes_on = trained is not None and resume is None and not starts
    before = begin_with(
        sets,
        preset=texts["preset"],
        recipe=texts["recipe"],
        config=texts["config"],
        resume=resume,
        out=out,
        started=goes_on or starts,
        insist=insist,
    )
    if goes_on and trained is not None:
        if trained.classes.kept is not None:
            raise Mistake(f"train: a restricted net is not trained further; {way_to_all(whole or trained)}")
        before = _from_here(before, trained, how, keep_form=texts["config"] is None)
    if how.device is not None and resume is None and before.machine.device is None:
        before = override(before, {"machine.device": str(how.device)})
    config = with_keywords(before, given, "train", also=(*LAYOUTS, *beginning, "override"))
    check_beside_cfg(config.net.cfg, before.net, config.net)
    if config.is_classifier:
        raise Mistake("train: with no steps of a detector this trains a classifier alone, which the command `yolo9000 "
                      "classify` does; a detector begins with its weights by `init`")  # fmt: skip
    if resume is None:
        return Asked(config, Path(out or usual_folder(config)), resume=False)
    check_resumed(resume, before, config, {"plan.steps"}, insist=insist)
    return Asked(config, Path(resume), resume=True, override=insist)


def way_to_all(opened: TrainedModel) -> str:
    """What to do for the classes that a restricted net does not have."""
    if opened.classes.kept is None:
        return "lift the restriction with restrict(None)"
    return f"{opened.path} holds no other classes, so load the run that it was restricted from"


def _from_here(config: RunConfig, trained: TrainedModel, how: How, *, keep_form: bool) -> RunConfig:
    """A configuration that starts from the weights of a net, with a net of its form."""
    exported = describes_export(trained.path)
    if exported and (trained.path.suffix != SAFETENSORS or not isinstance(trained.detector, Detector)):
        raise Mistake(f"train: {trained.path} is an export, and only one of format safetensors of a net of ours is "
                      "trained further; load the run or the weights that it was made of")  # fmt: skip
    changes: dict[str, Any] = {"net.init": str(trained.path)}
    if keep_form:
        own = trained.path.parent / "config.json"
        cfg = None if how.cfg is None else os.fspath(how.cfg)
        if is_darknet_file(trained.path, cfg):
            changes["net.cfg"] = cfg or trained.path.stem
        elif own.is_file() and not exported:
            changes = {"net": dataclasses.replace(read_config(own).net, init=str(trained.path))}
        elif isinstance(trained.detector, Detector):
            changes["net.detector"] = dataclasses.replace(trained.detector.config, pretrained=False)
            changes["net.priors"] = trained.detector.region.coding.priors
        changes["plan.size"] = trained.size
    return override(config, changes)


def asked_evaluation(how: How, options: Mapping[str, Any]) -> EvaluateConfig:
    """The evaluation that keywords ask for.

    Parameters
    ----------
    how : How
        How the net was opened.
    options : mapping of str to any
        Data sets, and options of an evaluation.

    Raises
    ------
    WrongKeyword, Mistake
        See `yolo9000.api.model.YOLO9000.evaluate`.
    """
    sets, given = sets_of_keywords(options)
    for name in given:
        if name in _OF_LOAD:
            raise WrongKeyword(f"evaluate: {name}: it is said when the net is loaded, as YOLO9000.load(.., {name}=..)")
        if name in _OF_COMMAND:
            raise WrongKeyword(f"evaluate: {name}: is for the command alone, which opens the weights itself")
    opened = OpenConfig(size=how.size, letterbox=how.letterbox)
    return with_keywords(EvaluateConfig(sets=sets, open=opened), given, "evaluate", also=(*LAYOUTS, "out"))


def asked_export(format: str, options: Mapping[str, Any]) -> ExportConfig:
    """The export that keywords ask for.

    Parameters
    ----------
    format : str
    options : mapping of str to any
        Options of an export.

    Raises
    ------
    WrongKeyword, Mistake
        See `yolo9000.api.model.YOLO9000.export`.
    """
    if format not in get_args(Format):
        raise Mistake(f"`format` {unknown_choice(str(format), get_args(Format))}")
    if "check" in options:
        raise WrongKeyword("export: check: is for the command alone; `yolo9000.exporting.checking.compare` does it")
    return with_keywords(ExportConfig(), {"format": format, **options}, "export")
