"""`YOLO9000`: a detector as a Python user has it, from loading to exporting.

Each method calls what the command of the same name calls, and its keywords are named as the command's options are. It
is one file because it is one class, most of which is the description of keywords.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from tqdm import tqdm

from wordtree import WordTree
from yolo9000.api.keywords import asked_evaluation, asked_export, asked_training, way_to_all
from yolo9000.api.opening import How, default_decoding, open_net
from yolo9000.darknet.decoding import detect_as_darknet
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig, Nms
from yolo9000.detection.decode import detect
from yolo9000.experiment.evaluate import evaluate_trained, write_evaluation
from yolo9000.experiment.evaluate_classifier import is_classifier
from yolo9000.experiment.export import export_as
from yolo9000.experiment.keywords import check_keywords
from yolo9000.experiment.run import train_run
from yolo9000.exporting.hub import fetch_export, push_to_hub
from yolo9000.inference.config import Engine
from yolo9000.inference.darknet_files import letterbox_of
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.predictor import Predictor
from yolo9000.inference.restrict import restrict
from yolo9000.inference.sources import Frame, Source, open_each, open_sources
from yolo9000.models.classes import Classes
from yolo9000.results.finding import find_in_images
from yolo9000.results.results import Results
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.runtime.config import Precision
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.mistyped import unknown_choice
from yolo9000.runtime.output_folder import new_file
from yolo9000.runtime.run_folder import RunFolder

log = logging.getLogger(__name__)

_PREDICT = ("threshold", "tree_threshold", "size", "batch", "stream", "max_boxes", "nms", "nms_iou")
_ELSEWHERE = {"conf": "threshold", "iou": "nms_iou", "imgsz": "size", "max_det": "max_boxes", "batch_size": "batch"}
_ELSEWHERE |= {"confidence": "threshold", "conf_thres": "threshold", "iou_thres": "nms_iou", "img_size": "size"}
_ELSEWHERE |= {"max_detections": "max_boxes", "hier_thresh": "tree_threshold"}
"""What others call the keywords of `YOLO9000.predict`."""


_OF_TRAINING = ("optimizer", "scaler", "phases", "waiting", "tally", "best")
"""What a checkpoint holds for going on with a training."""


class YOLO9000:
    """A detector over a tree of concepts.

    Parameters
    ----------
    path : str or Path, optional
        A run's folder, a checkpoint, an exported folder, or weights of darknet's; see `load`. Without one there is no
        net yet, until `train` has trained one.
    **options : any
        The keywords of `load`.

    Examples
    --------
    >>> YOLO9000()
    <YOLO9000: no net yet; load one, or train>
    >>> model = YOLO9000("runs/joint")  # doctest: +SKIP
    >>> results = model.predict("photo.jpg", threshold=0.25)  # doctest: +SKIP
    >>> print(results[0])  # doctest: +SKIP
    photo.jpg (640 x 480)
      0  terrier  score 0.55 = 0.81 * 0.68  at 20 31 340 455  animal 0.99 > dog 0.93 > terrier 0.68
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._trained: TrainedModel | None = None
        self._whole: TrainedModel | None = None
        self._predictor: Predictor | None = None
        self._how = How()
        self._device: torch.device | None = None
        if path is not None:
            self._open(path, How.of_keywords(options, "load"))
        elif options:
            raise Mistake(f"`path`: which net do {', '.join(f'`{name}`' for name in options)} belong to?")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        cfg: str | os.PathLike[str] | None = None,
        tree: WordTree | str | os.PathLike[str] | None = None,
        names: Iterable[str] | str | os.PathLike[str] | None = None,
        best: bool = False,
        engine: Engine | None = None,
        settings: str = "auto",
        device: str | torch.device | None = None,
        precision: Precision | None = None,
        size: int | None = None,
        letterbox: Literal["area", "darknet"] | None = None,
        decoding: Literal["probability", "darknet"] = "probability",
        compile: bool = False,
    ) -> YOLO9000:
        """Open a trained net.

        Parameters
        ----------
        path : str or Path
            The folder of a run, a checkpoint, an exported folder, or a ``.weights`` file of darknet's.
        cfg : str or Path, optional
            The net of darknet's weights: its cfg, or a built-in one such as ``yolov2``. Without it the name of the
            file says which.
        tree : WordTree, str or Path, optional
            A tree, a bundled one or a file: the classes of darknet's weights that have none. Of a run it is checked
            that it was trained with this tree.
        names : iterable of str, str or Path, optional
            The names of the classes of a net without a tree, or a file with one a line.
        best : bool
            ``best.pt`` of a run in place of ``last.pt``.
        engine : {"auto", "torch", "inductor", "openvino", "onnxruntime"}, optional
            What runs the convolutions: torch, or for an exported folder the engine that its file is made for, by
            default. "auto" tries all that are installed, once.
        settings : str
            "auto" measures how this net is fastest on this machine, once; "unmeasured" does not; or they are named, as
            ``fixed:layout=contiguous,precision=float32``.
        device : str or torch.device, optional
            ``cpu``, ``cuda`` or ``cuda:1``; the GPU if there is one by default.
        precision : {"float32", "bfloat16", "float16"}, optional
            Number format of the convolutions; what is fastest by default.
        size : int, optional
            Side of the network's input in pixels, a multiple of its cells, which have 32 for most nets; that of the
            training by default.
        letterbox : {"area", "darknet"}, optional
            How images are fitted into the input: shrunk by area, or with darknet's arithmetic, which is the default
            for a net that darknet trained.
        decoding : {"probability", "darknet"}
            "probability": the tree is descended by P(node). "darknet": darknet's own arithmetic, for its numbers.
        compile : bool
            Compile the net at the first prediction. It takes tens of seconds, which many images win back.

        Returns
        -------
        YOLO9000
            The net is made ready at the first prediction, and stays ready.

        Raises
        ------
        CheckpointError, CfgError, WeightsError, ExportError, wordtree.TreeError, Mistake
            A file is absent or cannot be used, or there is no such device; the message says what is there.
        """
        how = How(
            cfg=cfg, tree=tree, names=names, best=best, engine=engine, settings=settings, device=device,
            precision=precision, size=size, letterbox=letterbox, decoding=decoding, compile=compile,
        )  # fmt: skip
        model = cls()
        model._open(path, how)
        return model

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None, **options: Any) -> YOLO9000:
        """Open a folder that `save_pretrained` wrote, or download a repository of the Hugging Face Hub and open that.

        Parameters
        ----------
        name : str or Path
            The folder, or OWNER/NAME.
        revision : str, optional
            A branch, tag or commit of the repository.
        **options : any
            The keywords of `load`.

        Raises
        ------
        EngineAbsent, ExportError
            huggingface_hub is not installed, or the repository cannot be read.
        CheckpointError, wordtree.TreeError, Mistake
            What is asked for does not fit the net; see `load`.
        WrongKeyword
            There is no such keyword; the message says which is meant.
        """
        model, how = cls(), How.of_keywords(options, "from_pretrained")
        model._open(fetch_export(os.fspath(name), revision=revision), how)
        return model

    @classmethod
    def of(cls, trained: TrainedModel, **options: Any) -> YOLO9000:
        """A net that is in memory already, as other parts of this package make one.

        Parameters
        ----------
        trained : TrainedModel
            Its detector is on the device.
        **options : any
            ``device``, ``precision``, ``engine``, ``settings``, ``size``, ``letterbox``, ``decoding`` and
            ``compile``, as for `load`.

        Raises
        ------
        WrongKeyword
            There is no such keyword; the message says which is meant.
        """
        model = cls()
        model._how = How.of_keywords(options, "of")
        model._take(trained)
        return model

    def _open(self, path: str | os.PathLike[str], how: How) -> None:
        trained = open_net(path, how)
        trained.input_size(how.size)  # which may not fit
        self._how, self._device = how, how.on
        self._take(trained)

    def _take(self, trained: TrainedModel) -> None:
        self._trained = self._whole = trained
        self._predictor = None

    # -------------------------------------------------------------------------------------------------- what it is

    def __repr__(self) -> str:
        if self._trained is None:
            return "<YOLO9000: no net yet; load one, or train>"
        kept = self.classes.kept
        only = "" if kept is None else f", only {', '.join(self.classes.name(node) for node in kept[:5])}"
        more = ", .." * (kept is not None and len(kept) > 5)
        return f"<YOLO9000: {self.path}, {self.classes}{only}{more}, {self.size} pixels, on {self.device}>"

    @property
    def trained(self) -> TrainedModel:
        """The net, what its numbers mean, and what is known of its training.

        Raises
        ------
        Mistake
            There is none yet.
        """
        if self._trained is None:
            raise Mistake("there is no net yet: YOLO9000.load(..) opens one, and train(..) trains one")
        return self._trained

    @property
    def path(self) -> Path:
        """The file of the net."""
        return self.trained.path

    @property
    def classes(self) -> Classes:
        """What the class channels mean."""
        return self.trained.classes

    @property
    def tree(self) -> WordTree | None:
        """The tree of the labels; None for a net without one."""
        return self.classes.tree

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every label, by its number."""
        return tuple(self.classes.name(node) for node in range(self.classes.number))

    @property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return self.trained.input_size(self._how.size)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        if self._device is None:
            self._device = self._how.on
        return self._device

    # -------------------------------------------------------------------------------------------------------- predict

    @overload
    def predict(
        self, source: Source | Iterable[Source], *, stream: Literal[False] = False, **options: Any
    ) -> list[Results]: ...

    @overload
    def predict(
        self, source: Source | Iterable[Source], *, stream: Literal[True], **options: Any
    ) -> Iterator[Results]: ...

    def predict(
        self,
        source: Source | Iterable[Source],
        *,
        threshold: float | None = None,
        tree_threshold: float | None = None,
        size: int | None = None,
        batch: int = 16,
        stream: bool = False,
        max_boxes: int | None = None,
        nms: Nms | None = None,
        nms_iou: float | None = None,
        **wrong: Any,
    ) -> list[Results] | Iterator[Results]:
        """Find things in images.

        Parameters
        ----------
        source : str, Path, image, or several of them
            An image file, a folder (with those inside), a pattern such as ``photos/*.jpg``, an address, a video, the
            number of a camera; a PIL image, an array (H, W, 3) in RGB, a tensor (3, H, W); or a list of any of these.
            Photographs are turned upright as their EXIF orientation says, and boxes are those of the upright image.
        threshold : float
            Least score of a box: objectness, how sure the net is that there is a thing, times P(label), how sure it is
            of its name if there is one. It is the number that is drawn and saved. Both factors are in the results. By
            default .24 (darknet's).
        tree_threshold : float
            How probable a name must be before a label goes one step deeper in the tree. Higher is safer and more
            general, lower bolder and more specific. A more general name is more probable, so fewer boxes then fall
            below `threshold`. By default .5: the deepest name that is more probable than not.
        size : int, optional
            Side of the network's input in pixels; that of the model by default.
        batch : int
            Images that go through the net at once.
        stream : bool
            Give the results one after the other as they are computed, in place of a list: for videos, and for more
            images than fit into memory.
        max_boxes : int
            Most boxes of one image, 100 by default.
        nms : {"tree", "class", "all"}
            Which overlapping boxes are doubles: those of the same label, of one the other's ancestor, or of siblings;
            those of the same label only; or all. By default "tree".
        nms_iou : float
            The overlap from which on two boxes can be doubles, by default .45.

        Returns
        -------
        list of Results, or iterator of them
            One for each image that could be read; ``path`` says which. Files that cannot be read are named in a
            warning and left out.

        Raises
        ------
        NoImages, Unreadable
            A file does not exist, nothing was named, or nothing that was named can be read.
        WrongPixels, Mistake
            An array is no image, or a number is out of its range.
        """
        check_keywords(wrong, _PREDICT, "predict", meant=_ELSEWHERE)
        for name, number in (("batch", batch), ("max_boxes", max_boxes), ("size", size)):
            whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
            if number is not None and (not whole or number < 1):
                raise Mistake(f"`{name}` {number}: a whole number from 1 on is needed")
        for name, part in (("threshold", threshold), ("tree_threshold", tree_threshold), ("nms_iou", nms_iou)):
            if part is not None and (isinstance(part, bool) or not isinstance(part, float | int | np.number)):
                raise Mistake(f"`{name}` {part!r}: a number from 0 to 1 is needed")
        if nms is not None and nms not in get_args(Nms):
            raise Mistake(f"`nms` {unknown_choice(str(nms), get_args(Nms))}")
        told = {"threshold": threshold, "tree_threshold": tree_threshold, "nms": nms, "nms_iou": nms_iou}
        given: dict[str, Any] = {
            name: value for name, value in (told | {"max_detections": max_boxes}).items() if value is not None
        }
        config: DecodeConfig = dataclasses.replace(default_decoding(self.trained), **given)
        side = self.trained.input_size(size or self._how.size)
        if isinstance(source, Iterator):  # it may be endless
            if stream:
                return self._stream(open_each(source), config, side, batch)
            source = list(source)
        sources = open_sources(source)
        if stream:
            return self._stream(sources, config, side, batch)
        shown = sources.total is None or sources.total > batch
        frames = tqdm(sources, total=sources.total, unit="image", disable=None if shown else True)
        found = list(self._stream(frames, config, side, batch))
        if not found and sources.unreadable:
            raise sources.unreadable[0]
        return found

    __call__ = predict

    def _stream(self, frames: Iterable[Frame], config: DecodeConfig, size: int, batch: int) -> Iterator[Results]:
        records = (Record(frame.image, frame.name) for frame in frames)
        return find_in_images(self._ready(), records, config, size=size, batch_size=batch)

    def _ready(self) -> Predictor:
        """The net, prepared once for all predictions."""
        if self._predictor is None:
            running, settings = self._how.ready(self.trained, self.device)
            self._predictor = Predictor(
                running,
                device=self.device,
                settings=settings,
                letterbox=letterbox_of(self.trained, self._how.letterbox),
                decode=detect_as_darknet if self._how.decoding == "darknet" else detect,
            )
        return self._predictor

    def restrict(self, names: str | int | Iterable[str | int] | None) -> YOLO9000:
        """Find only some classes from now on, and what lies below them in the tree.

        Each box is labelled with the most probable of the classes, or with something below it that is more probable
        than `tree_threshold`; what is none of them has a low P, and so a low score. All probabilities are what they
        were, and the head computes only what they need.

        Parameters
        ----------
        names : str, int, or iterable of them, or None
            Names, wnids or synsets. None lifts the restriction. A net that was restricted when it was saved holds no
            other classes: it stays as it was opened, and a warning says so.

        Returns
        -------
        YOLO9000
            This model.

        Raises
        ------
        wordtree.NameResolutionError
            Names are unknown or ambiguous; the message lists candidates for all of them.
        """
        whole = self.trained if self._whole is None else self._whole
        if names is None and whole.classes.kept is not None:
            log.warning("warning: restrict: %s", way_to_all(whole))
        trained = whole if names is None else restrict(whole, names)
        self._take(trained)
        self._whole = whole
        return self

    # ----------------------------------------------------------------------------------------------- train, evaluate

    def train(
        self,
        *,
        out: str | os.PathLike[str] | None = None,
        preset: str | None = None,
        recipe: str | None = None,
        config: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
        override: bool = False,
        **options: Any,
    ) -> YOLO9000:
        """Train, as ``yolo9000 train`` does, and become the net that was trained.

        A model that was loaded goes on from its weights, in a new run; one without a net starts anew. A classifier is
        trained before a detector (``classification_steps=``); one alone is for the command ``yolo9000 classify``.

        Parameters
        ----------
        out : str or Path, optional
            The run's folder (``runs/joint`` or ``runs/boxes``).
        preset, recipe : str, optional
            Values of all that is not given, and how images with a label are mixed in and what they teach.
        config : str or Path, optional
            Begin with the configuration of another run.
        resume : str or Path, optional
            Go on with a run that was stopped, at the exact position.
        override : bool
            With `resume`: go on although options, tree or data are others than the run was trained with.
        **options : any
            Data sets: ``coco=``, ``voc=``, ``imagenet=`` and the other layouts, each a path, or a list where several
            can be joined. And every option of ``yolo9000 train --help``, such as ``tree=``, ``joint=True``,
            ``steps=2000``, ``batch=32``, ``lr=1e-3``, ``size=416``. ``device`` is that of `load` by default, unless
            `config` names one or a run is resumed; the model then is on the device of the training.

        Returns
        -------
        YOLO9000
            This model, with the weights of the run, also if the training was stopped by Ctrl-C. Stopped before it has a
            detector, while the classifier is trained, it leaves the model as it was; `resume` goes on.

        Raises
        ------
        WrongKeyword
            There is no such option; the message says which is meant.
        Mistake, DatasetError, wordtree.TreeError
            The parts do not fit together, or no detector would be trained; the message says which field or file.
        """
        asked = asked_training(
            self._trained,
            self._how,
            options,
            whole=self._whole,
            insist=override,
            preset=preset,
            recipe=recipe,
            config=config,
            resume=resume,
            out=out,
        )
        result = train_run(asked.config, asked.folder, resume=asked.resume, override=asked.override)
        if result.interrupted:
            way_on = f"continue with train(resume={str(asked.folder)!r})"
            if is_classifier(RunFolder(asked.folder).last):
                said = f"stopped at step {result.step}, before there is a detector: the model is what it was; {way_on}"
                print(said, file=sys.stderr)
                return self
            print(f"stopped at step {result.step}; {way_on}", file=sys.stderr)
        self._open(asked.folder, self._how.of_run(asked.config.machine.device))
        return self

    def evaluate(self, *, out: str | os.PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
        """Evaluate on images that the net has not seen, as ``yolo9000 evaluate`` does.

        Parameters
        ----------
        out : str or Path, optional
            A new JSON file for the figures, with a picture of the reliability beside it; nothing is written without it.
        **options : any
            Data sets: ``coco=``, ``voc=`` and the other layouts; the held-out part of the run's own data without any.
            And the options of ``yolo9000 evaluate --help``, such as ``images=500``, ``batch=32``, ``split=``,
            ``map=``, ``size=``.

        Returns
        -------
        dict
            As `yolo9000.experiment.evaluate.evaluate_run` gives it: ``["boxed"]["ap50"]``, ``["never_boxed"]["ap50"]``
            and much more. `yolo9000.evaluation.report.format_report` makes a text of it.

        Raises
        ------
        WrongKeyword
            There is no such option; the message says which is meant.
        Mistake, DatasetError, wordtree.TreeError
            Tree and data do not fit together.
        FileExistsError, FileNotFoundError
            `out` is there already, or its folder is not; nothing has been evaluated then.
        """
        config = asked_evaluation(self._how, options)
        file = None if out is None else new_file(out)
        running, settings = self._how.ready(self.trained, self.device)
        report = evaluate_trained(running, config, device=self.device, settings=settings)
        if file is not None:
            write_evaluation(report, file, picture=f"{file.stem}.reliability.png")
        return report

    # ----------------------------------------------------------------------------------------------------------- save

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the net as a checkpoint, also a restricted one, for `load` and for every command.

        Raises
        ------
        FileExistsError, FileNotFoundError
            The file is there already, or its folder is not.
        Mistake
            The net is an export, which has its weights in the file of another program.
        """
        file = new_file(path)
        if self.trained.detector.has_engine:
            raise Mistake(f"save: {self.path} is an export already, whose weights are inside; copy its folder")
        kept = {name: value for name, value in self.trained.content.items() if name not in _OF_TRAINING}
        position = {"step": self.trained.step}
        weights = {"average": None, "model": self.trained.model.state_dict()}
        save_checkpoint(file, {**kept, **weights, "net": self.trained.model.description, "position": position})
        return file

    def export(self, format: str = "onnx", **options: Any) -> Path:
        """Write a folder for other programs, as ``yolo9000 export`` does, which `load` opens as well.

        Parameters
        ----------
        format : {"onnx", "openvino", "torchscript", "safetensors", "darknet"}
        **options : any
            The options of ``yolo9000 export --help``, such as ``out="folder"``, ``raw=True``, ``decoded=True``,
            ``int8=True``, ``calibrate="photos"``, ``license=``.

        Returns
        -------
        Path
            The folder, by default NAME-FORMAT in the working directory, by the name of the run or the file.

        Raises
        ------
        WrongKeyword
            There is no such option; the message says which is meant.
        EngineAbsent, ExportError, Mistake
            Something is not installed, or the net cannot be written so.
        """
        config = asked_export(format, options)
        out = export_as(self.trained, config, size=self._how.size)
        if config.push_to_hub:
            push_to_hub(out, config.push_to_hub)
        return out

    def save_pretrained(self, folder: str | os.PathLike[str], *, license: str | None = None) -> Path:
        """Write a folder in the conventions of the Hugging Face Hub: safetensors, config.json, tree.json, a model card.

        Parameters
        ----------
        folder : str or Path
            It must not be there.
        license : str, optional
            What the model card states, such as ``cc-by-sa-4.0``.
        """
        return self.export("safetensors", out=folder, license=license)
