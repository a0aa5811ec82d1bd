"""``python -m yolo9000.predict RUN IMAGES...``: pictures with boxes and back-off labels, and JSON with the path."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

from tqdm import tqdm

from wordtree import load_tree
from yolo9000.datasets.sample import Unreadable
from yolo9000.detection.postprocess import DecodeConfig
from yolo9000.engine.darknet_files import letterbox_of, open_detector
from yolo9000.engine.prediction import choose_folder, find_images, predict_images, read_images, write_predictions
from yolo9000.models.cfg_files import read_names
from yolo9000.runtime.device import pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.mistakes import Mistake, flags_of, run

THRESHOLDS = """two thresholds, two questions:
  --threshold       Is there a thing at all? A box is shown if its objectness is above this. Lower it to see more boxes,
                    also wrong ones; raise it to see only the surest.
  --tree-threshold  What is it, and how precisely do we say so? A label starts at the top of the tree and goes to the
                    best child as long as that child is more probable than this. At 0.5 a dog of which the net cannot
                    tell the breed is shown as "dog". Higher: safer, more general labels. Lower: bolder, more specific
                    ones. It never removes a box.
The number beside a label is the probability of that label, given that there is a thing. The score in the JSON, by which
boxes are ordered, is objectness times that probability."""


def build_parser() -> argparse.ArgumentParser:
    """All options of a prediction."""
    decode = DecodeConfig()
    parser = argparse.ArgumentParser(
        prog="python -m yolo9000.predict",
        usage="%(prog)s [options] RUN IMAGES...\n       %(prog)s [options] --weights FILE [--cfg FILE] IMAGES...",
        description="Detect things in images and say what they are as precisely as the net is sure.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=THRESHOLDS,
    )
    parser.add_argument(
        "paths",
        metavar="RUN IMAGES",
        nargs="+",
        help="the folder of a run or a checkpoint (none with --weights); then image files, or folders of them",
    )
    parser.add_argument("--weights", metavar="FILE", help="in place of RUN: weights of a net that darknet trained")
    parser.add_argument(
        "--cfg", metavar="FILE", help="the net of --weights: its cfg, or a built-in one (default: by the file's name)"
    )
    parser.add_argument("--tree", metavar="FILE", help="classes in place of those of --weights without a tree")
    parser.add_argument(
        "--names", metavar="FILE", help="names of the classes of --weights without a tree, one a line in its order"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="where pictures and predictions.json go, an empty folder or a new one (default: the first of predictions, "
        "predictions-2, .. that is free)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="also write to a folder that holds something, over the files of an earlier prediction; never over an "
        "image that is predicted on",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=decode.threshold,
        metavar="P",
        help=f"least objectness of a box, see below (default: {decode.threshold})",
    )
    parser.add_argument(
        "--tree-threshold",
        type=float,
        default=decode.tree_threshold,
        metavar="P",
        help=f"how sure before a label goes deeper, see below (default: {decode.tree_threshold})",
    )
    parser.add_argument(
        "--nms",
        choices=("tree", "class", "all"),
        default=decode.nms,
        help=f"which overlapping boxes (IoU > {decode.nms_iou}) are one object, of which the best is kept: those whose "
        "labels are the same, one above the other or siblings in the tree; those of one label; all (default: tree)",
    )
    parser.add_argument(
        "--max-detections",
        type=int,
        default=decode.max_detections,
        help=f"boxes of an image, at most (default: {decode.max_detections})",
    )
    parser.add_argument(
        "--decoding",
        choices=("probability", "darknet"),
        default=decode.decoding,
        help="probability: labels and scores by P(label); darknet: by darknet's arithmetic, to compare its numbers "
        "(default: probability)",
    )
    parser.add_argument(
        "--letterbox",
        choices=("area", "darknet"),
        help="how images are fitted into the input: shrunk by area, or with darknet's arithmetic (default: darknet "
        "for a net that darknet trained, otherwise area)",
    )
    parser.add_argument("--best", action="store_true", help="best.pt instead of last.pt")
    parser.add_argument(
        "--size", type=int, help="side of the network's input, a multiple of 32 (default: as in training)"
    )
    parser.add_argument("--batch", type=int, default=16, help="images at once (default: 16)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: the GPU if there is one)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "float16"), help="(default: bfloat16 where it pays)"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the net first: tens of seconds, which many images win back"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; return the exit status: 0, 1 if an image could not be read, 2 for a mistake, 130 on Ctrl-C."""
    use_huge_pages()
    options = build_parser().parse_intermixed_args(argv)  # options may stand between the run and the images
    return run(
        functools.partial(_run, options),
        flags=flags_of(vars(options), resume="train --resume", initial="train --init"),
        interrupted="interrupted; predictions.json was not written",
    )


def _run(options: argparse.Namespace) -> int:
    if options.batch < 1:
        raise Mistake(f"`batch` {options.batch}: at least 1 is needed")
    if options.size is not None and (options.size < 32 or options.size % 32):
        raise Mistake(f"`size` {options.size}: a multiple of 32 is needed")
    config = DecodeConfig(
        threshold=options.threshold,
        tree_threshold=options.tree_threshold,
        nms=options.nms,
        max_detections=options.max_detections,
        decoding=options.decoding,
    )
    trained_file, paths = options.weights, options.paths
    if trained_file is None:
        trained_file, paths = paths[0], paths[1:]
        if not paths:
            raise Mistake(f"which images? {trained_file} is taken for the run; or name `weights`")
    unreadable: list[Unreadable] = []
    device = pick_device(options.device)
    images = find_images(paths)
    out = choose_folder(options.out, images, overwrite=options.overwrite)
    tree = load_tree(options.tree) if options.tree else None
    names = read_names(options.names) if options.names else None
    trained = open_detector(trained_file, options.cfg, tree=tree, names=names, best=options.best, device=device)
    shown = tqdm(images, unit="image", disable=None)
    predictions = predict_images(
        trained,
        read_images(shown, unreadable),
        config,
        device=device,
        precision=options.precision or pick_precision(device),
        size=options.size,
        batch_size=options.batch,
        letterbox=letterbox_of(trained, options.letterbox),
        compile=options.compile,
    )
    entries = write_predictions(predictions, trained, out, inputs=images, overwrite=options.overwrite)
    for entry in entries:
        found = ", ".join(f"{each.get('name', each['node'])} {each['probability']:.2f}" for each in entry["detections"])
        print(f"{entry['image']}: {found or 'nothing'}")
    for image in unreadable:
        print(f"skipped: {image}", file=sys.stderr)
    print(f"written to {out}/predictions.json and pictures beside it", file=sys.stderr)
    return 1 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
