"""`RunConfig`: everything that defines a run, each field documented once.

It is one file because a run is one value: who looks for a field finds all of them in the order of the whole.

The command line is generated from these classes, ``config.json`` holds one, ``--resume`` and ``--config`` read it
back, and Python builds one by hand. It imports no torch, so that a command's help is there at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

from tyro.conf import Fixed, arg
from tyro.constructors import PrimitiveConstructorSpec

from yolo9000.detection.config import ImageLabels
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS, DetectorConfig, Priors, check_priors
from yolo9000.runtime.config import MachineConfig
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import OptimiserConfig, TrainConfig

_NAMED_PRIORS = {"yolo9000": YOLO9000_PRIORS, "yolov2": YOLOV2_PRIORS}


def _read_ratio(words: list[str]) -> tuple[int, int]:
    first, _, second = words[0].partition(":")
    if not (first.isdecimal() and second.isdecimal()):
        raise ValueError(f"{words[0]}: two whole numbers with a colon between are needed, such as 4:1")
    return int(first), int(second)


def _read_splits(words: list[str]) -> tuple[str, str]:
    first, _, second = words[0].partition(":")
    if not (first and second):
        raise ValueError(f"{words[0]}: two names with a colon between are needed, such as train:val")
    return first, second


def _read_priors(words: list[str]) -> int | Priors | Literal["hand-picked"]:
    if words[0] == "hand-picked":
        return "hand-picked"
    if words[0] in _NAMED_PRIORS:
        return _NAMED_PRIORS[words[0]]
    if words[0].isdecimal():
        return int(words[0])
    try:
        pairs = [tuple(map(float, pair.split("x"))) for pair in words[0].split(",")]
    except ValueError:
        pairs = [()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{words[0]}: a number, yolo9000, yolov2, hand-picked, or sizes such as 1.5x2,3x3 are needed")
    return cast(Priors, tuple(pairs))


def _write_priors(priors: int | Priors | Literal["hand-picked"]) -> list[str]:
    named = {value: name for name, value in _NAMED_PRIORS.items()}
    if isinstance(priors, int | str):
        return [str(priors)]
    return [named.get(priors) or ",".join(f"{w}x{h}" for w, h in priors)]


def _pair(metavar: str, read: Callable[[list[str]], tuple[Any, Any]]) -> PrimitiveConstructorSpec[Any]:
    """Two values with a colon between."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [f"{value[0]}:{value[1]}"],
    )


_RATIO = _pair("M:N", _read_ratio)
_SPLITS = _pair("A:B", _read_splits)
_PRIORS = PrimitiveConstructorSpec(
    nargs=1,
    metavar="K",
    instance_from_str=_read_priors,
    is_instance=lambda value: isinstance(value, int | str | tuple),
    str_from_instance=_write_priors,
)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images. With no set named they are embedded scenes of pictograms.

    Parameters
    ----------
    sets : tuple of (str, str)
        Layout (a name of `LAYOUTS`) and path of each data set. Sets with boxes are joined; the held-out split of the
        first one is evaluated.
    tree : str or None
        The tree of all labels: a bundled name, a file (yolo9000 tree build) or a run. Without one a tree is built from
        the labels themselves.
    splits : tuple of (str, str)
        The parts that are trained on and held out, as the data sets name them.
    val : str or None
        Held-out images with boxes in COCO's format. Without it they are the held-out split of the first set with
        boxes.
    val_images : int
        Images held out for evaluations during training, at most.
    boxed : str or None
        Which classes of scenes or tiles have boxes in training, in place of the data's own choice: a JSON file with
        their names (scenes) or wnids (tiles) in the list ``boxed``; or ``all``; or ``own``.
    cluttered : bool
        Each image with a label holds several tiles off centre, of which the label names one.
    scenes : int
        Drawn scenes of each kind before they come again.
    keep_scenes : str or None
        An existing folder in which drawn scenes are kept, so that other trainings and evaluations of the same scenes
        only read them: 28 kB a scene of 96 pixels. Where there is no such folder they are drawn each time.
    exhaustive : bool
        Each set with boxes labels everything that the tree knows: boxes on anything else are punished as background.
    left_out : tuple of str
        Classes, by wnid, whose images a classifier is not trained on and which are no leaves of its tree. Held-out
        images of them show what it makes of an unknown kind: the right answer is the nearest ancestor that is left
        (paper, section 3: "performance degrades gracefully on new or unknown object categories").
    guarded : bool
        Images are decoded by a process beside each worker: one that crashes or hangs its decoder costs itself, and is
        named in the log. It takes a little more time for each image.
    darknet_crops : bool
        Images with a label are cropped, turned by up to 7 degrees and coloured as darknet does for its classifiers, in
        place of our random crops, which do not turn them.

    Raises
    ------
    Mistake
        A set is named twice, sets that are not joined are named together, or a number is out of its range.

    Examples
    --------
    >>> config = DataConfig(sets=(("coco", "coco"), ("voc", "VOCdevkit/VOC2007"), ("imagenet", "ILSVRC")))
    >>> config.box_sets, config.has_image_labels
    ((('coco', 'coco'), ('voc', 'VOCdevkit/VOC2007')), True)
    """

    sets: Fixed[tuple[tuple[str, str], ...]] = ()
    tree: Annotated[str | None, arg(metavar="FILE")] = None
    splits: Annotated[tuple[str, str], _SPLITS] = ("train", "val")
    val: Annotated[str | None, arg(metavar="PATH")] = None
    val_images: Annotated[int, arg(metavar="N")] = 500
    boxed: Annotated[str | None, arg(metavar="FILE")] = None
    cluttered: bool = False
    scenes: Annotated[int, arg(metavar="N")] = 20_000
    keep_scenes: Annotated[str | None, arg(metavar="DIR")] = None
    exhaustive: bool = False
    left_out: Annotated[Fixed[tuple[str, ...]], arg(metavar="WNID")] = ()
    guarded: bool = False
    darknet_crops: Fixed[bool] = False

    def __post_init__(self) -> None:
        for layout, _ in self.sets:
            if layout not in LAYOUTS:
                raise Mistake(f"`sets`: {layout!r} is no layout; {', '.join(LAYOUTS)} are known")
        if twice := sorted({path for layout, path in self.sets if self.sets.count((layout, path)) > 1}):
            raise Mistake(f"{', '.join(twice)}: named twice; each data set is named once")
        drawn = [layout for layout, _ in self.sets if LAYOUTS[layout].teaches == "both"]
        for what in ("boxes", "image labels"):
            named = [layout for layout, _ in self.sets if LAYOUTS[layout].teaches in (what, "both")]
            joined = not drawn and all(LAYOUTS[layout].several for layout in named)
            if len(named) > 1 and not joined:
                names = " and ".join(f"`{name}`" for name in dict.fromkeys(named))
                raise Mistake(f"{names}: one source of {what} is needed, not {len(named)}")
        if self.boxed and not (drawn or self.is_embedded):
            raise Mistake("`boxed` chooses among the classes of scenes and tiles; other data have the boxes they have")
        if self.val is not None and not self.box_sets:
            raise Mistake("`val` holds out photographs with boxes, and no set of them is named; leave it out")
        if self.cluttered and not drawn:
            raise Mistake("`cluttered` puts tiles together: name them with `tiles`")
        if self.left_out and not any(LAYOUTS[layout].teaches != "boxes" for layout, _ in self.sets):
            raise Mistake(
                "`left_out` names wnids of images with a label: name `imagenet`, `imagenet_pack`, `label_tars` or "
                "`tiles`"
            )
        for name, least in (("scenes", 1), ("val_images", 0)):
            if getattr(self, name) < least:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least {least} is needed")

    def of(self, teaches: str) -> tuple[tuple[str, str], ...]:
        """Layout and path of the sets whose images have "boxes", "image labels" or "both"."""
        return tuple((layout, path) for layout, path in self.sets if LAYOUTS[layout].teaches == teaches)

    @property
    def box_sets(self) -> tuple[tuple[str, str], ...]:
        """Layout and path of each set of photographs with boxes."""
        return self.of("boxes")

    @property
    def label_set(self) -> tuple[str, str] | None:
        """Layout and path of the set of photographs with a label."""
        return next(iter(self.of("image labels")), None)

    @property
    def drawn_from(self) -> str | None:
        """The folder of tiles that scenes are drawn from."""
        return next((path for _, path in self.of("both")), None)

    @property
    def is_embedded(self) -> bool:
        """Whether no data of the user's are named."""
        return not self.sets

    @property
    def has_boxes(self) -> bool:
        """Whether there are images with boxes to train on."""
        return self.is_embedded or bool(self.of("boxes") or self.of("both"))

    @property
    def has_image_labels(self) -> bool:
        """Whether there are images with a label to train on."""
        return self.is_embedded or bool(self.of("image labels") or self.of("both"))


@dataclass(frozen=True, kw_only=True)
class Joint:
    """How image labels are mixed with boxes; the defaults are the recipe ``mil``'s.

    Parameters
    ----------
    enabled : bool
        Train on boxes and on image labels together. Without it the last phase sees boxes alone.
    image_labels : ImageLabels
        What an image label teaches.
    ratio : tuple of (int, int)
        Images with a label : images with boxes (paper, section 4: ImageNet larger by 4 to 1).
    mosaic : float
        Probability that an image with a label is a mosaic of four.
    batch_by_batch : bool
        One kind of image in a batch, in place of both in each.
    boxes_first : int
        Steps on boxes alone before joint training. They cost what the classifier had learnt of the classes that have
        no boxes: softmaxes that only see boxes push them down.

    Raises
    ------
    Mistake
        A number is out of its range, or `boxes_first` is set without joint training.
    """

    enabled: Annotated[bool, arg(name="joint")] = True
    image_labels: ImageLabels = ImageLabels()
    ratio: Annotated[tuple[int, int], _RATIO] = (1, 1)
    mosaic: Annotated[float, arg(metavar="P")] = 0.7
    batch_by_batch: bool = False
    boxes_first: Annotated[int, arg(name="detection-steps", metavar="N")] = 0

    def __post_init__(self) -> None:
        if min(self.ratio) < 1:
            raise Mistake(f"`ratio` {self.ratio[0]}:{self.ratio[1]}: both numbers are at least 1")
        if not 0 <= self.mosaic <= 1:
            raise Mistake(f"`mosaic` {self.mosaic}: a probability from 0 to 1 is needed")
        if self.boxes_first < 0:
            raise Mistake(f"`boxes_first` {self.boxes_first}: 0 or more is needed")
        if self.boxes_first and not self.enabled:
            raise Mistake("`boxes_first`: these steps go before joint training; without `joint` add them to `steps`")


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """The phases: a classifier of the image labels, boxes alone, then boxes with or without image labels.

    Parameters
    ----------
    classification_steps : int
        Steps of the backbone as a classifier of the image labels, with the tree softmax (paper, section 3).
    steps : int
        Steps of the last phase: joint, or on boxes alone.
    joint : Joint
        What the last phase sees, and what an image label teaches in it.
    size : int
        Side of the network's input in pixels, a multiple of 32. Evaluations use it, priors are clustered for it, and
        scenes are drawn at it.
    multi_scale : bool
        Take another size every 10 batches, from 3/4 to 3/2 of `size` (paper, section 2).
    box_mosaic : float
        Probability that an image with boxes is a mosaic of four, which small sets of photographs last longer with.
    classification_size : int
        Side of the input during the classification start (paper: 224, then 448).
    classification_learning_rate : float
        Peak rate of the classification start (darknet: .1).
    fine_tuning_steps : int
        Further steps of the classifier at `fine_tuning_size`, after those at `classification_size` (paper, section 2,
        "High Resolution Classifier": ten epochs).
    fine_tuning_size : int
        Side of the input meanwhile (paper: 448).
    fine_tuning_learning_rate : float
        Peak rate meanwhile (paper and darknet19_448.cfg: .001).
    evaluation_size : int or None
        Side of the input at which the detector is evaluated, and used unless told otherwise; a net that was trained
        at several sizes does well at a larger one (paper, section 2: 544). None is `size`.

    Raises
    ------
    Mistake
        A number is out of its range, or there is nothing to train.
    """

    classification_steps: Annotated[int, arg(metavar="N")] = 0
    steps: Annotated[int, arg(metavar="N")] = 1000
    joint: Joint = Joint()
    size: Annotated[int, arg(metavar="PIXELS")] = 416
    multi_scale: bool = False
    box_mosaic: Annotated[float, arg(metavar="P")] = 0.0
    classification_size: Annotated[int, arg(metavar="PIXELS")] = 224
    classification_learning_rate: Annotated[float, arg(name="classification-lr", metavar="RATE")] = 0.1
    fine_tuning_steps: Annotated[int, arg(metavar="N")] = 0
    fine_tuning_size: Annotated[int, arg(metavar="PIXELS")] = 448
    fine_tuning_learning_rate: Annotated[float, arg(name="fine-tuning-lr", metavar="RATE")] = 1e-3
    evaluation_size: Annotated[int | None, arg(metavar="PIXELS")] = None

    def __post_init__(self) -> None:
        for name in ("classification_steps", "steps", "fine_tuning_steps"):
            if getattr(self, name) < 0:
                raise Mistake(f"`{name}` {getattr(self, name)}: 0 or more is needed")
        if not (self.classification_steps or self.joint.boxes_first or self.steps):
            raise Mistake("nothing to train: `steps` is 0, and so are the steps of the other phases")
        for name in ("size", "classification_size", "fine_tuning_size", "evaluation_size"):
            side = getattr(self, name)
            if side is not None and (side < 32 or side % 32):
                raise Mistake(f"`{name}` {side}: a multiple of 32 is needed")
        if not 0 <= self.box_mosaic <= 1:
            raise Mistake(f"`box_mosaic` {self.box_mosaic}: a probability from 0 to 1 is needed")
        # the optimiser's own check would name the other rate
        for name in ("classification_learning_rate", "fine_tuning_learning_rate"):
            if not getattr(self, name) > 0:
                raise Mistake(f"`{name}` {getattr(self, name)}: a positive number is needed")
        if self.fine_tuning_steps and not self.classification_steps:
            raise Mistake("`fine_tuning_steps` go on with a classifier, and there are no `classification_steps`")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the network's input; several are multi-scale training.

        Examples
        --------
        >>> PlanConfig(size=416).sizes, PlanConfig(size=96, multi_scale=True).sizes
        ((416,), (96, 128))
        """
        if not self.multi_scale:
            return (self.size,)
        return tuple(side for side in range(32, 2 * self.size, 32) if 0.75 <= side / self.size <= 1.5)


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """Which net, and what it starts from.

    Parameters
    ----------
    detector : DetectorConfig
        The form of our own net.
    cfg : str or None
        A net of darknet's with its priors, in place of `detector` and `priors`, which are not looked at: a file, or a
        built-in one such as ``yolov2-tiny``.
    names : str or None
        Names of the classes of a `cfg` without a tree: a file with one a line, in the order of the cfg. The labels of
        the data are matched to them. Without names the net is given a tree of the data's labels.
    priors : int, tuple of (float, float), or "hand-picked"
        How many priors are clustered from the boxes (paper, section 2, "Dimension Clusters"); or ``yolo9000``,
        ``yolov2``, or sizes in grid cells; or ``hand-picked``: the nine of Faster R-CNN, which the paper replaces.
    location : str
        How the centre of a box is predicted: "direct", so that it stays in its cell (paper, section 2, "Direct location
        prediction"), or "unconstrained", as in Faster R-CNN, which the paper replaces.
    flat : bool
        One softmax over the classes in place of the tree's (YOLOv2). The heads of YOLOv1 know no tree anyway.
    loss : str
        "darknet": what its code does for the head. "paper": equation 3 of YOLOv1 as it is printed, for the heads "grid"
        and "connected", and for a cfg that ends in ``[detection]``. "slides": the plain squared errors of a loss that
        is shown in lectures, for "anchors" and `flat` classes; see `yolo9000.detection.slides_loss`.
    init : str or None
        Start from the weights of another run of the same net, with its priors. Over another tree the nodes of both
        are carried over, and new ones start as their ancestors. A run that is a classifier will do, over the same
        tree. So will files of darknet's, yolo9000.weights or darknet19_448.conv.23, and for a backbone of timm a
        .safetensors file of its weights.

    Raises
    ------
    Mistake
        There is no prior, one has no size, or two fields do not go together.
    """

    detector: DetectorConfig = DetectorConfig()
    cfg: Annotated[str | None, arg(metavar="FILE")] = None
    names: Annotated[str | None, arg(metavar="FILE")] = None
    priors: Annotated[int | Priors | Literal["hand-picked"], _PRIORS] = 3
    location: Literal["direct", "unconstrained"] = "direct"
    flat: bool = False
    loss: Literal["darknet", "paper", "slides"] = "darknet"
    init: Annotated[str | None, arg(metavar="RUN")] = None

    def __post_init__(self) -> None:
        if isinstance(self.priors, tuple):
            check_priors(self.priors)
        elif isinstance(self.priors, int) and self.priors < 1:
            raise Mistake(f"`priors` {self.priors}: at least 1 is needed")
        if self.cfg is not None:
            for name, is_default in (("location", self.location == "direct"), ("flat", not self.flat)):
                if not is_default:
                    raise Mistake(f"`{name}` is of a net of ours; a `cfg` says itself what its numbers mean")
        head, has_priors = self.detector.head, self.detector.has_priors
        if not has_priors and self.location == "unconstrained":
            raise Mistake(f"`location` unconstrained is relative to priors, and the `head` {head} has none")
        if self.cfg is None and self.loss == ("paper" if has_priors else "slides"):
            other = "of the heads grid and connected" if self.loss == "paper" else "of the head anchors"
            raise Mistake(f"`loss` {self.loss} is {other}, and the `head` is {head}")
        if self.loss == "slides" and not self.flat:
            raise Mistake("`loss` slides is of one softmax over the classes; say `flat`")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a run.

    Parameters
    ----------
    data : DataConfig
        Which images.
    plan : PlanConfig
        The phases, and what each sees.
    net : NetConfig
        Which net, and what it starts from.
    optimiser : OptimiserConfig
        How weights move in the detection phases.
    train : TrainConfig
        What all phases have in common.
    machine : MachineConfig
        Where it is computed.
    seed : int
        Seed of the first weights, of the images' order and of their augmentation.

    Examples
    --------
    >>> RunConfig().plan.joint.image_labels.pick
    'objectness_label'
    """

    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    net: NetConfig = field(default_factory=NetConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    seed: Annotated[int, arg(metavar="N")] = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise Mistake(f"`seed` {self.seed}: 0 or more is needed")
        if self.net.cfg is None:
            _check_form(self.plan, self.net)
        if not self.is_classifier:
            for name in ("left_out", "darknet_crops"):
                if getattr(self.data, name):
                    raise Mistake(f"`{name}` is for a classifier alone, which `python -m yolo9000.classify` trains")

    @property
    def is_classifier(self) -> bool:
        """Whether no detector is trained."""
        return not (self.plan.steps or self.plan.joint.boxes_first)

    @property
    def classification_optimiser(self) -> OptimiserConfig:
        """The optimiser of the classification start: its own rate, and poly in place of steps (darknet)."""
        return self._of_classifier(self.plan.classification_learning_rate)

    @property
    def fine_tuning_optimiser(self) -> OptimiserConfig:
        """That of the classifier's fine-tuning at a larger size."""
        return self._of_classifier(self.plan.fine_tuning_learning_rate)

    def _of_classifier(self, learning_rate: float) -> OptimiserConfig:
        schedule = "poly" if self.optimiser.schedule == "steps" else self.optimiser.schedule
        return dataclasses.replace(self.optimiser, learning_rate=learning_rate, schedule=schedule)


def _check_form(plan: PlanConfig, net: NetConfig) -> None:
    """Raise if the form of the net and what it is trained on do not go together."""
    detector = net.detector
    sides = [("size", side) for side in plan.sizes] + [("evaluation_size", plan.evaluation_size or plan.size)]
    if wrong := [(name, side) for name, side in sides if side % detector.stride]:
        raise Mistake(f"`{wrong[0][0]}`: {wrong[0][1]} is no multiple of the `stride` {detector.stride}")
    if detector.head == "connected":
        other = "multi_scale" if plan.multi_scale else "evaluation_size"
        if plan.multi_scale or plan.evaluation_size not in (None, plan.size):
            raise Mistake(f"`{other}`: the fully connected layers of the `head` connected take images of one size")
    if plan.joint.enabled and plan.steps:
        if not detector.has_priors:
            raise Mistake(
                "`joint`: an image label is taught to the boxes of an image by their own P(label) in a tree, and those "
                f"of the `head` {detector.head} share the class numbers of a cell; take anchors"
            )
        if net.loss == "slides":
            raise Mistake("`joint`: the `loss` slides knows no image labels; take darknet")
