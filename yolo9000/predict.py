"""``python -m yolo9000.predict RUN IMAGES...``: pictures with boxes and back-off labels, and JSON with the path."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from yolo9000.inference.config import PredictConfig
from yolo9000.options import flags_of, parse, typed
from yolo9000.runtime.mistakes import Mistake, run

PROGRAM = "python -m yolo9000.predict"
ABOUT = """Detect things in images and say what they are as precisely as the net is sure.

  python -m yolo9000.predict [options] RUN IMAGES...
  python -m yolo9000.predict [options] --weights FILE [--cfg FILE] IMAGES...

two thresholds, two questions:
  --threshold       Is there a thing at all? A box is shown if its objectness is above this. Lower it to see more boxes,
                    also wrong ones; raise it to see only the surest.
  --tree-threshold  What is it, and how precisely do we say so? A label starts at the top of the tree and goes to the
                    best child as long as that child is more probable than this. At 0.5 a dog of which the net cannot
                    tell the breed is shown as "dog". Higher: safer, more general labels. Lower: bolder, more specific
                    ones. It never removes a box.
The number beside a label is the probability of that label, given that there is a thing. The score in the JSON, by which
boxes are ordered, is objectness times that probability."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of a prediction."""

    config: Annotated[PredictConfig, arg(name="")] = PredictConfig()


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """A prediction.

    Parameters
    ----------
    paths : tuple of str
        The folder of a run or an export, or a checkpoint (none with --weights); then image files, or folders of them.
    """

    paths: Positional[Annotated[tuple[str, ...], arg(metavar="RUN IMAGES")]]


def main(words: Sequence[str] | None = None) -> int:
    """Predict; return the exit status: 0, 1 if an image could not be read, 2 for a mistake, 130 on Ctrl-C."""
    return run(
        lambda: _predict(parse(Command, typed(words), program=PROGRAM, about=ABOUT, options=Options)),
        flags={**flags_of(Command), "resume": "train --resume", "init": "train --init"},
        interrupted="interrupted; predictions.json was not written",
    )


def _predict(command: Command) -> int:
    from tqdm import tqdm  # these here, for --help needs no torch

    from wordtree import load_tree
    from yolo9000.darknet.cfg_files import read_names
    from yolo9000.darknet.decoding import detect_as_darknet
    from yolo9000.datasets.sample import Unreadable
    from yolo9000.detection.decode import detect
    from yolo9000.exporting.opening import open_any
    from yolo9000.inference.darknet_files import letterbox_of
    from yolo9000.inference.predict import choose_folder, find_images, predict_images, read_images, write_predictions
    from yolo9000.runtime.device import pick_device, pick_precision, use_huge_pages

    config, opened = command.config, command.config.open
    net, paths = config.weights, command.paths
    if net is None:
        if len(paths) < 2:
            given = f"{paths[0]} is taken for the run" if paths else "neither a run nor an image is named"
            raise Mistake(f"which images? {given}; or name `weights`")
        net, paths = paths[0], paths[1:]
    use_huge_pages()
    unreadable: list[Unreadable] = []
    device = pick_device(opened.device)
    images = find_images(paths)
    out = choose_folder(config.out, images, overwrite=config.overwrite)
    tree = load_tree(opened.tree) if opened.tree else None
    names = read_names(opened.names) if opened.names else None
    trained = open_any(net, opened.cfg, tree=tree, names=names, best=opened.best, engine=opened.engine, device=device)
    predictions = predict_images(
        trained,
        read_images(tqdm(images, unit="image", disable=None), unreadable),
        config.decode,
        device=device,
        precision=pick_precision(device, opened.precision),
        size=opened.size,
        batch_size=config.batch_size,
        letterbox=letterbox_of(trained, opened.letterbox),
        decode=detect_as_darknet if config.decoding == "darknet" else detect,
        compile=config.compile,
    )
    entries = write_predictions(predictions, trained, out, inputs=images, overwrite=config.overwrite)
    for entry in entries:
        found = ", ".join(f"{each.get('name', each['node'])} {each['probability']:.2f}" for each in entry["detections"])
        print(f"{entry['image']}: {found or 'nothing'}")
    for image in unreadable:
        print(f"skipped: {image}", file=sys.stderr)
    print(f"written to {out}/predictions.json and pictures beside it", file=sys.stderr)
    return 1 if unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
