"""``python -m yolo9000.evaluate RUN``: average precision of boxed and never-boxed classes, top-1, held-out loss.

And what is behind it: are boxes where things are, is a coarser name right, do probabilities say what is so?
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wordtree import load_tree
from yolo9000.datasets.coco import CocoSource, category_names
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.detection.recipes import Recipe
from yolo9000.engine.class_maps import find_class_map, with_class_map
from yolo9000.engine.curves import draw_reliability
from yolo9000.engine.darknet_files import letterbox_of, open_detector
from yolo9000.engine.data import Data, Excerpt, load_data
from yolo9000.engine.data_config import DataConfig
from yolo9000.engine.evaluation import classification_top1, evaluate_detector, held_out_loss
from yolo9000.engine.inference import prepare
from yolo9000.engine.objectives import detection_objective
from yolo9000.engine.snapshot import TrainedModel, checkpoint_of
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.device import Precision, pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.mistakes import Mistake, flags_of, run


def build_parser() -> argparse.ArgumentParser:
    """All options of an evaluation."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo9000.evaluate",
        description="Evaluate a run on images it has not seen: average precision (COCO's) of the classes that had "
        "boxes in training and of those that had none, at the label and at its parent in the tree; how often boxes are "
        "in the right place whatever they are called, how things are named as far as the net is sure, and whether its "
        "probabilities are right as often as they say; top-1 on labelled images; mean loss of each source. "
        "Without options the held-out part of the run's own data is used.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a run, a checkpoint, or weights of darknet's")
    parser.add_argument(
        "--cfg", metavar="FILE", help="the net of darknet's weights: its cfg, or a built-in one (default: by the name)"
    )
    parser.add_argument("--coco", metavar="PATH", help="images with boxes: COCO's layout, or an annotation file")
    parser.add_argument("--voc", metavar="DIR", help="images with boxes in VOC's layout")
    parser.add_argument("--imagenet", metavar="DIR", help="labelled images: folders or tars named by wnid")
    parser.add_argument("--tiles", metavar="DIR", help="scenes of real tiles")
    parser.add_argument(
        "--split", metavar="NAME", help="which part (default: test of the embedded scenes, else the held-out part)"
    )
    parser.add_argument(
        "--images", type=int, default=1000, metavar="N", help="images of each kind, at most (default: 1000)"
    )
    parser.add_argument(
        "--tree",
        metavar="FILE",
        help="check that the run was trained with this tree; for darknet's weights without one: names of the classes",
    )
    parser.add_argument(
        "--map",
        metavar="NAME",
        help="evaluate the classes of this map: a file of darknet's (the node of each class in a line), a label map of "
        "the tree, or coco9k.map or inet9k.map, which are known (COCO and ImageNet-DET for a model of 9,418 nodes)",
    )
    parser.add_argument(
        "--letterbox",
        choices=("area", "darknet"),
        help="how images are fitted into the input: shrunk by area, or with darknet's arithmetic (default: darknet "
        "for a net that darknet trained, otherwise area)",
    )
    parser.add_argument(
        "--boxed",
        metavar="FILE",
        help="which classes of scenes or tiles count as boxed, as for training (default: those that had boxes there)",
    )
    parser.add_argument("--best", action="store_true", help="best.pt instead of last.pt")
    parser.add_argument("--raw-weights", action="store_true", help="the last weights instead of the averaged ones")
    parser.add_argument("--size", type=int, help="side of the network's input (default: as in training)")
    parser.add_argument("--batch", type=int, default=32, help="images at once (default: 32)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images (default: 0)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU if there is one)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), help="(default: bfloat16 where it pays)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where the figures go (default: evaluation.json in the run, and reliability.png beside it; for NAME.json "
        "that is NAME.reliability.png)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run an evaluation; return the exit status: 0, 2 for a mistake in options or data, 130 on Ctrl-C."""
    use_huge_pages()
    options = build_parser().parse_args(argv)
    return run(
        functools.partial(_run, options),
        flags=flags_of(vars(options), resume="train --resume", initial="train --init"),
        interrupted="interrupted; nothing was written",
    )


def _run(options: argparse.Namespace) -> int:
    for name in ("images", "batch"):
        if getattr(options, name) < 1:
            raise Mistake(f"`{name}` {getattr(options, name)}: at least 1 is needed")
    if options.size is not None and (options.size < 32 or options.size % 32):
        raise Mistake(f"`size` {options.size}: a multiple of 32 is needed")
    device = pick_device(options.device)
    precision: Precision = options.precision or pick_precision(device)
    checkpoint = checkpoint_of(options.run, best=options.best)
    given = load_tree(options.tree) if options.tree else None
    trained = open_detector(checkpoint, options.cfg, tree=given, averaged=not options.raw_weights, device=device)
    config, tree, nodes = _data_config(options, trained), trained.region.tree, None
    if options.map:
        if tree is None:
            raise Mistake(f"`map` {options.map}: {checkpoint} has no tree, so no nodes for a map to name")
        layout, root = config.box_sets[0] if config.box_sets else ("", "")  # held out is a part of the first set
        categories = category_names(root, config.splits[1]) if layout == "coco" else []
        nodes = find_class_map(options.map, tree, categories)
        tree = with_class_map(tree, nodes)
    exhaustive = bool(trained.content.get("exhaustive"))
    data = load_data(config, tree, exhaustive=exhaustive, held_out_only=True)
    report = _evaluate(trained, data, options, device, precision, nodes)
    report |= {"checkpoint": str(checkpoint), "step": trained.step, "precision": precision}
    out = Path(options.out) if options.out else checkpoint.parent / "evaluation.json"
    print(format_report(report), flush=True)  # first: the figures shall not be lost where no file can be written
    write_atomically(out, (json.dumps(_without_nan(report), indent=1) + "\n").encode())
    if "calibration" in report:
        picture = f"{out.stem}.reliability.png" if options.out else "reliability.png"
        draw_reliability(report["calibration"], out.with_name(picture))
    print(f"written to {out}", file=sys.stderr)
    return 0


def _data_config(options: argparse.Namespace, trained: TrainedModel) -> DataConfig:
    """The run's own data, or those that the options name; the held-out split is the one evaluated."""
    saved = trained.content.get("data", {})
    known = {field.name for field in dataclasses.fields(DataConfig)}
    config = DataConfig(**{name: _tupled(value) for name, value in saved.items() if name in known})
    named = {name: getattr(options, name) for name in ("coco", "voc", "imagenet", "tiles") if getattr(options, name)}
    # which classes had boxes the checkpoint knows; the file that said so may be gone
    config = dataclasses.replace(config, boxed=None)
    if named:
        nothing = dict.fromkeys(("coco", "voc", "imagenet", "imagenet_pack", "tiles", "val"))
        nothing |= {"cluttered": False}
        if options.coco and Path(options.coco).is_file():
            named["val"] = options.coco  # an annotation file has no splits: all of it is evaluated
        config = dataclasses.replace(config, **{**nothing, **named})
    split = options.split or ("test" if config.is_embedded else config.splits[1])
    config = dataclasses.replace(config, boxed=options.boxed)
    return dataclasses.replace(config, splits=(config.splits[0], split), val_images=options.images)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _evaluate(
    trained: TrainedModel,
    data: Data,
    options: argparse.Namespace,
    device: torch.device,
    precision: Precision,
    nodes: Mapping[str, int] | None,
) -> dict[str, Any]:
    # what had boxes is a fact of the training, not of the data looked at now
    boxed = set(data.evaluated) & set(data.boxed if options.boxed else trained.boxed)
    never_boxed = set(data.evaluated) - boxed
    if nodes is not None:
        boxed = set(nodes.values()) & set(trained.boxed)
        never_boxed = set(nodes.values()) - boxed
    size = options.size or trained.size
    loss = detection_objective(trained.region, Recipe(**trained.content["recipe"]))
    report: dict[str, Any] = {"held_out_loss": {}}
    loaders = {
        name: make_evaluation_loader(
            source,
            size,
            batch_size=options.batch,
            workers=options.workers,
            letterbox=letterbox_of(trained, options.letterbox),
        )
        for name, source in (("detection", data.val_detection), ("classification", data.val_classification))
        if source is not None
    }
    if not loaders:
        raise Mistake("there are no images to evaluate on; name some with `coco`, `voc`, `tiles` or `imagenet`")
    model = prepare(trained.detector, device=device, precision=precision)  # which takes care of the precision
    if "detection" in loaders:
        boxes = data.val_detection.source if isinstance(data.val_detection, Excerpt) else data.val_detection
        report |= evaluate_detector(
            model,
            loaders["detection"],
            trained.region,
            boxed=boxed,
            never_boxed=never_boxed,
            device=device,
            baseline=True,
            coco=boxes.truth() if isinstance(boxes, CocoSource) else None,
            diagnosis=True,
        )
        if nodes is not None:
            found = [report[name] for name in ("boxed", "never_boxed") if report[name]["classes"]]
            classes = sum(each["classes"] for each in found)
            means = {
                key: sum(each[key] * each["classes"] for each in found) / classes if classes else math.nan
                for key in ("ap50", "ap")
            }
            report["map"] = {"name": options.map, **means, "classes": classes}
    if "classification" in loaders:
        report["top1"] = classification_top1(
            model, loaders["classification"], trained.region, data.image_labels, device=device
        )
    for name, loader in loaders.items():
        report["held_out_loss"][name] = held_out_loss(model, loader, loss, device=device)
    return report


def format_report(report: dict[str, Any], *, worst: int = 5) -> str:
    """The figures as a table for people.

    Examples
    --------
    >>> print(format_report({"images": 2, "top1": 0.25, "boxed": {"ap50": 0.5, "ap": 0.25, "classes": 3},
    ...     "never_boxed": {"ap50": float("nan"), "ap": float("nan"), "classes": 0}}))
                                 classes    AP50   AP50:95
    with boxes                         3   0.500     0.250
    never boxed                        0       -         -
    top-1 on labelled images               0.250
    """
    lines: list[str] = []

    def row(name: str, classes: Any, ap50: Any, ap: Any) -> None:
        cells = [f"{v:.3f}" if isinstance(v, float) and not math.isnan(v) else "-" for v in (ap50, ap)]
        lines.append(f"{name:<27}{classes:>9}{cells[0]:>8}{cells[1]:>10}")

    names = {"boxed": "with boxes", "never_boxed": "never boxed"}
    if "boxed" in report:
        lines.append(f"{'':<27}{'classes':>9}{'AP50':>8}{'AP50:95':>10}")
        if "map" in report:
            scores = report["map"]
            row(f"all of {Path(scores['name']).name}"[:27], scores["classes"], scores["ap50"], scores["ap"])
        for key, name in names.items():
            row(name, report[key]["classes"], report[key]["ap50"], report[key]["ap"])
        for key, scores in report.get("at_parents", {}).items():
            row(f"{names[key]}, at parents", scores["classes"], scores["ap50"], scores["ap"])
        for key, scores in report.get("constant_box", {}).items():
            row(f"constant box, {names[key]}"[:27], "", scores["ap50"], None)
        if "coco" in report:
            lines += _coco_lines(report["coco"])
        if "corloc" in report:
            lines += _diagnosis_lines(report, names)
        classes = [c for c in report.get("classes", []) if c["boxes"]]
        for what, some in (
            ("best", sorted(classes, key=lambda c: -c["ap50"])[:worst]),
            ("worst", sorted(classes, key=lambda c: c["ap50"])[:worst]),
        ):
            if some:
                lines.append(f"{what}: " + ", ".join(f"{c.get('name', c['node'])} {c['ap50']:.2f}" for c in some))
    if "top1" in report:
        lines.append(f"{'top-1 on labelled images':<27}{'':>9}{report['top1']:>8.3f}")
    for name, terms in report.get("held_out_loss", {}).items():
        if terms:
            lines.append(f"{'loss of ' + name:<27}{'':>9}{terms['loss']:>8.3f}")
    return "\n".join(lines)


def _diagnosis_lines(report: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Whether boxes are in the right place, rightly named, and as sure as they should be, in up to three small tables.

    Examples
    --------
    >>> sweep = [{"tree_threshold": t / 10, "precision": t / 10, "depth": 0.5} for t in range(1, 10)]
    >>> shares = {"exact": 0.25, "less_exact": 0.375, "finer": 0.0, "wrong": 0.125, "missed": 0.25, "depth": 0.75}
    >>> report = {
    ...     "corloc": {"boxed": {"share": 0.5, "labels": 7}},
    ...     "recall_at_10": {"boxed": {"share": 0.875, "boxes": 8}},
    ...     "back_off": {"tree_threshold": 0.5, "boxed": {**shares, "sweep": sweep}},
    ...     "calibration": {"boxed": {"ece": 0.125, "unclaimed": float("nan")}},
    ... }
    >>> print("\\n".join(_diagnosis_lines(report, {"boxed": "with boxes"})))
    placed                         boxes   CorLoc   of ten      ECE  unclaimed
    with boxes                         8    0.500    0.875    0.125          -
    named, backing off at 0.5      exact  coarser    finer    wrong   missed    depth
    with boxes                     0.250    0.375    0.000    0.125    0.250    0.750
    precision/depth at                 0.1        0.3        0.5        0.7        0.9
    with boxes                   0.10/0.50  0.30/0.50  0.50/0.50  0.70/0.50  0.90/0.50
    """

    def number(value: float, digits: int = 3) -> str:
        return "-" if math.isnan(value) else f"{value:.{digits}f}"

    def row(name: str, *cells: str, width: int = 9) -> str:
        return f"{name:<27}" + "".join(f"{cell:>{width}}" for cell in cells)

    lines = [row("placed", "boxes", "CorLoc", "of ten", "ECE") + f"{'unclaimed':>11}"]
    for key in report["corloc"]:
        recall, calibration = report["recall_at_10"][key], report["calibration"][key]
        shares = (report["corloc"][key]["share"], recall["share"], calibration["ece"])
        unclaimed = f"{number(calibration['unclaimed']):>11}"
        lines.append(row(names[key], str(recall["boxes"]), *map(number, shares)) + unclaimed)
    if "back_off" not in report:
        return lines
    back_off = {key: scores for key, scores in report["back_off"].items() if key in names}
    columns = {"exact": "exact", "less_exact": "coarser", "finer": "finer", "wrong": "wrong", "missed": "missed"}
    columns |= {"depth": "depth"}
    lines.append(row(f"named, backing off at {report['back_off']['tree_threshold']}", *columns.values()))
    lines += [row(names[key], *(number(scores[column]) for column in columns)) for key, scores in back_off.items()]
    for key, scores in back_off.items():
        sweep = scores["sweep"][::2]
        cells = [f"{number(each['precision'], 2)}/{number(each['depth'], 2)}" for each in sweep]
        if key == next(iter(back_off)):
            lines.append(row("precision/depth at", *(str(each["tree_threshold"]) for each in sweep), width=11))
        lines.append(row(names[key], *cells, width=11))
    return lines


def _coco_lines(numbers: Mapping[str, float]) -> list[str]:
    """COCO's twelve numbers in two lines.

    Examples
    --------
    >>> ap = {"ap": 0.4, "ap50": 0.6, "ap75": 0.45, "ap_small": 0.1, "ap_medium": 0.5, "ap_large": float("nan")}
    >>> ar = {"ar_1": 0.3, "ar_10": 0.5, "ar_100": 0.52, "ar_small": 0.2, "ar_medium": 0.6, "ar_large": float("nan")}
    >>> print("\\n".join(_coco_lines(ap | ar)))
    COCO's AP 0.400, at IoU .5 0.600, at .75 0.450; small 0.100, medium 0.500, large -
    COCO's AR 0.520, at 10 boxes 0.500, at 1 0.300; small 0.200, medium 0.600, large -
    """
    shown = {name: "-" if math.isnan(value) else f"{value:.3f}" for name, value in numbers.items()}
    return [
        "COCO's AP {ap}, at IoU .5 {ap50}, at .75 {ap75}; "
        "small {ap_small}, medium {ap_medium}, large {ap_large}".format(**shown),
        "COCO's AR {ar_100}, at 10 boxes {ar_10}, at 1 {ar_1}; "
        "small {ar_small}, medium {ar_medium}, large {ar_large}".format(**shown),
    ]


def _without_nan(value: Any) -> Any:
    """The same values with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(main())
