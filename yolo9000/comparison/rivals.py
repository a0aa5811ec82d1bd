"""The training of torchvision's detectors on our images, so that both can be compared on the same small data."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch
from tqdm import tqdm

from wordtree import load_tree
from yolo9000.datasets.loader import make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import pixels
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.inference.torchvision_detector import TorchvisionDetector, read_state_dict, save_rival
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.checkpoint import load_weights
from yolo9000.runtime.device import pick_device
from yolo9000.runtime.mistakes import Mistake

RATES = {"ssd": 0.002, "retinanet": 0.01, "fcos": 0.01}
"""Rates of torchvision's references for 16 images, by the beginning of the net's name; .02 for the others."""
WARM_UP = 1000
"""Steps of the linear start at most; a fifth of a shorter training."""


def train_rival(
    name: str,
    config: DataConfig,
    out: Path,
    *,
    steps: int,
    batch_size: int = 16,
    learning_rate: float | None = None,
    size: int | None = None,
    init: Path | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Path:
    """Train a detector of torchvision's with its own losses on the boxes of some data; images are augmented as ours.

    Parameters
    ----------
    name : str
        One of `yolo9000.inference.torchvision_detector.detector_names`.
    config : DataConfig
        The data; images with a label are not looked at. The net's classes are those that have boxes.
    out : Path
        The folder of the result.
    steps, batch_size : int
    learning_rate : float, optional
        Torchvision's own, in proportion to the batch, if none is given; it falls by ten at 3/5 and at 4/5 of the steps.
    size : int, optional
        Side of the input in pixels; by default the net's usual one.
    init : Path, optional
        A state dict to begin with.
    seed : int
    device : str, optional

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        The data have no boxes, the detector is not known, or a loss is not finite.
    """
    if steps < 1:
        raise Mistake(f"`steps` {steps}: at least 1 is needed")
    where = pick_device(device)
    torch.manual_seed(seed)
    tree = None if config.tree is None else TreeClasses(load_tree(config.tree))
    data = load_data(config, tree, size=size or 96)
    if data.detection is None:
        raise Mistake("no data with boxes were named; name some with `coco`, `voc`, `yolo`, `csv` or `tiles`")
    net = TorchvisionDetector(name, data.classes, (-1, *data.boxed)).to(where)
    if init is not None:
        load_weights(net.net, read_state_dict(init), init)
    side = size or net.usual_size
    images = MixedDataset(
        data.detection,
        None,
        batch_size=batch_size,
        sizes=[side],
        seed=seed,
        detection_augment=data.detection_augment,
    )
    usual = next((rate for beginning, rate in RATES.items() if name.startswith(beginning)), 0.02)
    rate = usual * batch_size / 16 if learning_rate is None else learning_rate
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=rate, momentum=0.9, weight_decay=1e-4)
    warm_up = min(WARM_UP, math.ceil(steps / 5))

    def factor(step: int) -> float:
        start = min(1.0, 0.001 + 0.999 * step / warm_up)
        return start * 0.1 ** ((step >= 0.6 * steps) + (step >= 0.8 * steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    net.train()
    batches = make_loader(images, stop=steps * batch_size)
    bar = tqdm(batches, desc=name, total=steps, disable=None)
    for number, batch in enumerate(bar, 1):
        terms = net.losses(pixels(batch.images, where), [target.to(where) for target in batch.targets])
        loss = torch.stack(list(terms.values())).sum()
        if not math.isfinite(value := float(loss.detach())):
            raise Mistake(f"{name}: the loss is {value} at step {number}; take a smaller `lr`")
        bar.set_postfix(loss=f"{value:.3f}")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return save_rival(out, net, size=side, boxed=data.boxed, step=steps, data=dataclasses.asdict(config))
