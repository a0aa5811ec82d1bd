"""``python -m yolo9000.train``: options -> tree, data, net -> the training loop."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wordtree import load_tree
from yolo9000.detection.recipes import DEFAULT_RECIPE, RECIPES
from yolo9000.engine.assembly import Priors, RunConfig, assemble, write_run
from yolo9000.engine.data_config import DataConfig
from yolo9000.engine.optimisation import OptimiserConfig
from yolo9000.engine.phases import TrainConfig
from yolo9000.engine.plan import PlanConfig
from yolo9000.engine.training import train
from yolo9000.models.cfg_files import read_names
from yolo9000.models.region import YOLO9000_PRIORS, YOLOV2_PRIORS
from yolo9000.models.yolov2 import DetectorConfig
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint
from yolo9000.runtime.device import pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.distributed import local_device_name, start_processes, stop_processes
from yolo9000.runtime.interrupt import EXIT_INTERRUPTED
from yolo9000.runtime.mistakes import Mistake, flags_of, run
from yolo9000.runtime.run_folder import RunFolder, check_run_folder, create_run_folder

# option: (default for small drawn scenes, default for photographs, which are the paper's or darknet's)
DEFAULTS: dict[str, tuple[Any, Any]] = {
    "size": (96, 416),
    "width": (0.25, 1.0),
    "stride": (16, 32),
    "classification_size": (96, 224),
    "batch": (32, 64),
    "optimizer": ("adamw", "sgd"),
    "lr": (2e-3, 1e-3),
    "classification_lr": (2e-3, 0.1),
    "weight_decay": (0.02, 5e-4),
    "burn_in": (50, 1000),
    "schedule": ("cosine", "steps"),
    "ema": (0.99, 0.9998),
    "batch_norm_momentum": (0.1, 0.01),
    "classification_steps": (300, 0),
    "detection_steps": (300, 0),
    "steps": (500, 100_000),
    "mosaic": (0.5, 0.0),
    "evaluate_every": (0, 5000),
    "val_images": (300, 2000),
}
MAY_CHANGE = {"steps", "workers", "device", "threads", "val_images"}
MAY_CHANGE |= {"evaluate_every", "evaluate_at", "save_every", "log_every"}
"""Options that ``--resume`` accepts: none of them changes what has been trained so far."""
RENAMED = {
    "batch_size": "--batch",
    "class_weight": "--label-weight",
    "ema_decay": "--ema",
    "gradient_clip": "--clip",
    "initial": "--init",
    "interleave": "--batch-by-batch",
    "learning_rate": "--lr",
    "objectness": "--label-objectness",
}
"""Flags of the fields whose option has another name."""


def build_parser() -> argparse.ArgumentParser:
    """All options of training. Those that depend on the data are None until `_fill_defaults`."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo9000.train",
        description="Train a detector, on boxes alone or jointly on boxes and image labels over one tree of concepts. "
        "With no data named it trains on scenes of pictograms that are drawn on the fly.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python -m yolo9000.train --joint\n"
        "  python -m yolo9000.train --joint --coco COCO_DIR --imagenet IMAGENET_DIR --tree wordtree.json\n"
        "  python -m yolo9000.train --resume runs/joint",
    )

    def add(group: argparse._ArgumentGroup, name: str, text: str, **settings: Any) -> None:
        key = name.removeprefix("--").replace("-", "_")
        default = settings.get("default")
        if key in DEFAULTS:
            small, photos = DEFAULTS[key]
            text += f" (default: {small} on scenes and tiles, {photos} on photographs)"
        elif default is not None and settings.get("action") is None:
            text += f" (default: {default})"
        group.add_argument(name, help=text, **settings)

    data = parser.add_argument_group("data")
    add(data, "--joint", "train on boxes and on image labels together", action="store_true")
    add(
        data,
        "--coco",
        "images with boxes: a folder in COCO's layout, or an annotation file. It and --voc may be given several times: "
        "the sets are joined, what a set does not label is no background in it, and a pass shows each image once",
        action="append",
        metavar="DIR",
    )
    add(
        data,
        "--voc",
        "images with boxes: a folder in VOC's layout, such as VOCdevkit/VOC2007",
        action="append",
        metavar="DIR",
    )
    add(data, "--imagenet", "images with a label: folders or tars named by wnid", metavar="DIR")
    add(data, "--imagenet-pack", "the same, from a pack made by tools/pack_imagenet.py", metavar="H5")
    add(data, "--tiles", "scenes of real tiles, and the tiles as labelled images", metavar="DIR")
    add(data, "--cluttered", "labelled images are several tiles, of which the label names one", action="store_true")
    add(
        data,
        "--boxed",
        "which classes of scenes or tiles have boxes: a JSON file with the list boxed, or all, or own",
        metavar="FILE",
    )
    add(data, "--tree", "the tree of all labels (tools/build_wordtree.py); a bundled name or a file", metavar="FILE")
    add(data, "--names", "names of the classes of a --cfg without a tree, one a line in its order", metavar="FILE")
    add(data, "--splits", "trained on and held out, as the data sets name them", default="train:val", metavar="A:B")
    add(
        data,
        "--val",
        "held-out images with boxes in COCO's format (default: the held-out split of the first --coco, or of the first "
        "--voc if there is none)",
        metavar="PATH",
    )
    add(data, "--val-images", "images held out for evaluations during training, at most", type=int)
    add(data, "--scenes", "drawn scenes of each kind before they come again", type=int, default=20_000)
    add(
        data,
        "--exhaustive",
        "each set of boxes labels everything that the tree knows: punish boxes on anything else as background",
        action="store_true",
    )

    joint = parser.add_argument_group("phases and joint training")
    add(joint, "--classification-steps", "steps of the backbone as a classifier of the labelled images", type=int)
    add(
        joint,
        "--detection-steps",
        "steps on boxes alone before joint training; the recipe mil has none, and adds them to --steps",
        type=int,
    )
    add(joint, "--steps", "steps of the last phase: joint, or on boxes alone", type=int)
    add(joint, "--recipe", "what a labelled image teaches", choices=list(RECIPES), default=DEFAULT_RECIPE)
    add(joint, "--ratio", "labelled images : images with boxes (default: the recipe's, or 4:1)", metavar="M:N")
    add(
        joint,
        "--mosaic",
        "probability that a labelled image is a mosaic of four; recipe mil: 0.7",
        type=float,
        metavar="P",
    )
    add(joint, "--label-weight", "factor on what image labels teach (default: the recipe's)", type=float, metavar="W")
    add(
        joint,
        "--label-objectness",
        "what image labels do to objectness (default: the recipe's): nothing, pull the picked box up to 0.3, or all "
        "others to 0",
        choices=("none", "floor", "background"),
    )
    add(joint, "--batch-by-batch", "one kind of image in a batch, instead of both in each", action="store_true")

    net = parser.add_argument_group("net")
    add(net, "--size", "side of the network's input in pixels, a multiple of 32", type=int)
    add(net, "--multi-scale", "another size every 10 batches, from 3/4 to 3/2 of --size", action="store_true")
    add(net, "--classification-size", "side of the input during the classification start", type=int)
    add(net, "--width", "relative number of channels; 1 is Darknet-19", type=float)
    add(net, "--stride", "pixels of a grid cell", type=int, choices=(16, 32))
    add(net, "--extra-convs", "3x3 convolutions after the backbone (YOLOv2: 2)", type=int, default=0)
    add(net, "--passthrough", "bring finer features to the head (YOLOv2)", action="store_true")
    add(
        net,
        "--share-class-rows",
        "one row a class for all priors, in place of one for each: with 3 priors a third of the head's weights",
        action="store_true",
    )
    add(net, "--batch-norm-momentum", "of the running statistics", type=float)
    add(net, "--priors", "K, to cluster K priors from the boxes; or yolo9000, yolov2", default="3", metavar="K")
    add(
        net,
        "--init",
        "start from the weights of another run of the same net, with its priors; over another tree the nodes of both "
        "are carried over, and new ones start as their ancestors. A run that is a classifier will do, over the same "
        "tree. Or from darknet's: yolo9000.weights, "
        "darknet19_448.conv.23",
        metavar="RUN",
    )
    add(
        net,
        "--cfg",
        "a net of darknet's with its priors: a file, or a built-in one such as yolov2-tiny",
        metavar="FILE",
    )

    step = parser.add_argument_group("optimisation")
    add(step, "--batch", "images of a step", type=int)
    add(step, "--accumulate", "parts that a step is computed in, to save memory", type=int, default=1)
    add(step, "--optimizer", "sgd or adamw", choices=("sgd", "adamw"))
    add(step, "--lr", "peak learning rate", type=float)
    add(step, "--classification-lr", "peak learning rate of the classification start", type=float)
    add(
        step,
        "--schedule",
        "after the burn-in; steps: /10 at 80 and 90 %% of --steps",
        choices=("constant", "steps", "poly", "cosine"),
    )
    add(step, "--burn-in", "steps of rising learning rate", type=int)
    add(step, "--weight-decay", "on convolution weights", type=float)
    add(step, "--clip", "largest norm of the gradient; 0 never clips", type=float, default=0.0)
    add(step, "--ema", "decay of the averaged weights; 0 keeps none", type=float)
    add(step, "--seed", "of weights, order and augmentation", type=int, default=0)

    run = parser.add_argument_group("run")
    add(run, "--out", "the run's folder (default: runs/joint or runs/boxes)", metavar="RUN")
    add(run, "--resume", "continue a run at the exact position, with its own options", metavar="RUN")
    add(run, "--device", "cpu, cuda, cuda:1 (default: the GPU if there is one)")
    add(
        run,
        "--precision",
        "of the forward pass (default: bfloat16 where the hardware has it)",
        choices=("float32", "bfloat16", "float16"),
    )
    add(run, "--workers", "processes that read and augment images; 0: none of their own", type=int, default=0)
    add(
        run,
        "--compile",
        "compile the net, for long runs on GPUs; on CPUs steps are slower",
        action="store_true",
    )
    add(run, "--threads", "threads of torch on the CPU", type=int)
    add(run, "--log-every", "steps between rows of results.csv", type=int, default=10)
    add(run, "--evaluate-every", "steps between evaluations, besides those at the end of each phase", type=int)
    add(run, "--evaluate-at", "steps of a phase after which it is evaluated besides", type=int, nargs="+", metavar="N")
    add(run, "--save-every", "steps between checkpoints", type=int, default=500)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a training; return the exit status: 0, 2 for a mistake in options or data, 130 if it was interrupted."""
    use_huge_pages()
    given = list(sys.argv[1:] if argv is None else argv)
    options = build_parser().parse_args(given)
    return run(
        functools.partial(_train, options, given),
        flags=flags_of(vars(options), **RENAMED),
        interrupted="interrupted; what was saved before is whole",  # before the first step, or the second Ctrl-C
    )


def _train(options: argparse.Namespace, given: list[str]) -> int:
    folder, saved = RunFolder(Path()), None
    if options.resume:
        folder = create_run_folder(options.resume, resume=True)
        saved = load_checkpoint(folder.last)
        options = _options_of_run(folder, given)
    _fill_defaults(options)
    if options.threads is not None:
        if options.threads < 1:
            raise Mistake(f"`threads` {options.threads}: at least 1 is needed")
        torch.set_num_threads(options.threads)
    device = pick_device(options.device or local_device_name())
    options.precision = options.precision or pick_precision(device)
    processes = start_processes(device)
    try:
        config = _run_config(options)
        if saved is None:
            folder = RunFolder(Path(options.out or ("runs/joint" if options.joint else "runs/boxes")))
            if processes.is_first:
                check_run_folder(folder.path)  # it is made when everything else is known to be right
        tree = load_tree(options.tree) if options.tree else None
        names = read_names(options.names) if options.names else None
        initial = options.init if saved is None else None
        assembly = assemble(config, tree=tree, names=names, initial=initial, resumed=saved, processes=processes)
        if processes.is_first:
            told = vars(options)
            if saved is not None:  # the run's own tree and beginning stay on record
                told = {name: value for name, value in told.items() if name not in ("resume", "tree", "names")}
            write_run(folder, config, assembly, told, resumed=saved is not None)
            print("\n  ".join([f"{folder.path}, on {device}", *assembly.notes]), file=sys.stderr)
        result = train(
            assembly.phases,
            config.train,
            folder,
            device=device,
            description=assembly.description,
            processes=processes,
            resume=saved is not None,
        )
    finally:
        stop_processes(processes)
    if result.interrupted:
        print(f"stopped at step {result.step}; continue with --resume {folder.path}", file=sys.stderr)
        return EXIT_INTERRUPTED
    if processes.is_first:
        print(f"{folder.path}: done. Next: python -m yolo9000.evaluate {folder.path}", file=sys.stderr)
    return 0


def _options_of_run(folder: RunFolder, given: list[str]) -> argparse.Namespace:
    """The options that a run was started with, and those of the present command that may change."""
    parser = build_parser()
    before = argparse.Namespace(**{**vars(parser.parse_args([])), **folder.read_config()["options"]})
    before.tree = before.names = None  # the checkpoint has them
    for name in ("coco", "voc"):  # a run from before several could be named has one in place of a list
        if isinstance(getattr(before, name), str):
            setattr(before, name, [getattr(before, name)])
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    now = vars(parser.parse_args(given))
    wrong = [
        f"--{name.replace('_', '-')} {value} (the run has {getattr(before, name)})"
        for name, value in now.items()
        if name not in MAY_CHANGE | {"resume", "tree", "names"} and getattr(before, name) != value
    ]
    if wrong:
        raise CheckpointError(f"{folder.path}: a run is resumed with its own options; leave out {', '.join(wrong)}")
    return argparse.Namespace(**{**vars(before), **now})


def _fill_defaults(options: argparse.Namespace) -> None:
    if (options.cfg or options.init) and options.classification_steps is None:
        options.classification_steps = 0  # the start has another form there; or another classifier would overwrite it
    recipe = RECIPES[options.recipe]
    if options.mosaic is None:
        options.mosaic = recipe.mosaic
    if options.ratio is None:
        options.ratio = "4:1" if recipe.ratio is None else f"{recipe.ratio[0]}:{recipe.ratio[1]}"
    at_once = options.joint and not recipe.boxes_first and options.detection_steps is None
    given_steps = options.steps
    photographs = bool(options.coco or options.voc or options.imagenet or options.imagenet_pack)
    for name, values in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, values[photographs])
    if at_once:  # as many steps in all
        if given_steps is None:
            options.steps += options.detection_steps
        options.detection_steps = 0


def _run_config(options: argparse.Namespace) -> RunConfig:
    names = ("tiles", "imagenet", "imagenet_pack", "val", "boxed", "cluttered", "scenes", "val_images", "size")
    data = DataConfig(
        splits=_pair("splits", options.splits),
        coco=tuple(options.coco or ()),
        voc=tuple(options.voc or ()),
        **{name: getattr(options, name) for name in names},
    )
    for name in ("size", "classification_size"):
        if getattr(options, name) < 32 or getattr(options, name) % 32:
            raise Mistake(f"`{name}` {getattr(options, name)}: a multiple of 32 is needed")
    sizes: tuple[int, ...] = (options.size,)
    if options.multi_scale:
        sizes = tuple(side for side in range(32, 2 * options.size, 32) if 0.75 <= side / options.size <= 1.5)
    form = ("width", "stride", "extra_convs", "passthrough", "batch_norm_momentum", "share_class_rows")
    detector = DetectorConfig(**{name: getattr(options, name) for name in form})
    optimiser = OptimiserConfig(
        optimizer=options.optimizer,
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
        schedule=options.schedule,
        steps=(round(0.8 * options.steps), round(0.9 * options.steps)),
        scales=(0.1, 0.1),
        burn_in=options.burn_in,
        burn_in_power=4.0 if options.optimizer == "sgd" else 1.0,
        gradient_clip=options.clip or None,
    )
    if not options.classification_lr > 0:  # its config would say learning_rate, which is the flag of another
        raise Mistake(f"`classification_lr` {options.classification_lr}: a positive number is needed")
    # darknet trains its classifiers with poly, power 4, whatever the detector's schedule
    classification = dataclasses.replace(
        optimiser,
        learning_rate=options.classification_lr,
        schedule="poly" if options.schedule == "steps" else options.schedule,
    )
    first, second = _pair("ratio", options.ratio)
    if not (first.isdigit() and second.isdigit()):
        raise Mistake(f"`ratio` {options.ratio}: two whole numbers are needed, such as 4:1")
    phases = ("classification_steps", "detection_steps", "steps", "joint", "mosaic", "classification_size")
    changed = {"class_weight": options.label_weight, "objectness": options.label_objectness}
    recipe = dataclasses.replace(
        RECIPES[options.recipe], **{name: value for name, value in changed.items() if value is not None}
    )
    plan = PlanConfig(
        recipe=recipe,
        **{name: getattr(options, name) for name in (*phases, "seed", "workers")},
        ratio=(int(first), int(second)),
        interleave="batch_by_batch" if options.batch_by_batch else "in_batch",
        sizes=sizes,
        optimiser=optimiser,
        classification_optimiser=classification,
    )
    whole = ("accumulate", "precision", "compile", "log_every", "evaluate_every", "save_every")
    train_config = TrainConfig(
        **{name: getattr(options, name) for name in whole},
        batch_size=options.batch,
        ema_decay=options.ema or None,
        evaluate_at=tuple(options.evaluate_at or ()),
    )
    return RunConfig(
        data=data,
        detector=detector,
        cfg=options.cfg,
        plan=plan,
        train=train_config,
        priors=_priors(options.priors),
        size=options.size,
        exhaustive=options.exhaustive,
        seed=options.seed,
    )


def _pair(field: str, text: str) -> tuple[str, str]:
    first, colon, second = text.partition(":")
    if not (first and colon and second):
        raise Mistake(f"`{field}` {text}: two parts with a colon between are needed")
    return first, second


def _priors(text: str) -> int | Priors:
    match text:
        case "yolo9000":
            return YOLO9000_PRIORS
        case "yolov2":
            return YOLOV2_PRIORS
        case number if number.isdigit() and int(number) > 0:
            return int(number)
        case other:
            raise Mistake(f"`priors` {other}: a number, yolo9000 or yolov2 is needed")


if __name__ == "__main__":
    sys.exit(main())
