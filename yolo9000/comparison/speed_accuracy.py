"""Accuracy and speed of a trained net at several sizes of its input."""

from __future__ import annotations

import itertools
import platform
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from wordtree import load_tree
from yolo9000.darknet.cfg_files import read_names
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Batch, pixels
from yolo9000.datasets.transforms import letterbox
from yolo9000.detection.decode import detect, score_nodes
from yolo9000.detection.results import Detections
from yolo9000.evaluation.average_precision import ClassScore, average_precision, classes_at_labels, mean_score
from yolo9000.evaluation.detections import find_in_batches
from yolo9000.evaluation.speed_accuracy import SpeedPoint
from yolo9000.experiment.data import load_data
from yolo9000.experiment.evaluate import held_out_data
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.inference.darknet_files import Letterbox, letterbox_of, open_detector
from yolo9000.inference.model import TrainedModel, checkpoint_of
from yolo9000.inference.prepare import prepare
from yolo9000.inference.torchvision_detector import Rival, is_rival, load_rival
from yolo9000.models.classes import Classes
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.mistakes import Mistake

WARM_UP = 5
"""Images before the first that counts: memory is asked for, and kernels are chosen."""
ROUNDS = 50
"""Images that are timed."""

Find = Callable[[Tensor], list[Detections]]
"""(B, 3, S, S) in 0..1 -> what is found in each image."""


@dataclass(frozen=True)
class _Finder:
    """A trained net, whoever trained it."""

    trained: TrainedModel | Rival
    classes: Classes
    detect: Find
    score: Callable[[Tensor, Sequence[int]], list[Detections]]
    letterbox: Letterbox
    precision: Precision
    sizes: Callable[[Sequence[int]], Sequence[int]]


def speed_accuracy(
    run: str | Path,
    sizes: Sequence[int],
    config: EvaluateConfig = EvaluateConfig(),
    *,
    method: str | None = None,
    rounds: int = ROUNDS,
) -> list[SpeedPoint]:
    """Measure a trained net at several sizes of its input.

    Parameters
    ----------
    run : str or Path
        As for `yolo9000.experiment.evaluate.evaluate_run`.
    sizes : sequence of int
        Sides in pixels. SSD has one size only, which is taken in place of them.
    config : EvaluateConfig
        Data, weights and device. With no data named they are the held-out part of the run's own.
    method : str, optional
        What the net is called; by default the name of the run.
    rounds : int
        Images that are timed, one at a time.

    Returns
    -------
    list of SpeedPoint

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        Weights and data do not fit together, a size is not a multiple of the net's cells, no image has a box, or none
        is to be timed.
    """
    if rounds < 1:
        raise Mistake(f"`rounds` {rounds}: at least 1 is needed")
    use_huge_pages()
    device = pick_device(config.open.device)
    finder = _opened(run, config, device)
    data = load_data(
        held_out_data(config, finder.trained), finder.classes, size=finder.trained.size, held_out_only=True
    )
    if data.val_detection is None:
        raise Mistake("there are no images to evaluate on; name some with `coco`, `voc`, `yolo`, `csv` or `tiles`")
    points = []
    for size in finder.sizes(sizes):
        if isinstance(finder.trained, TrainedModel):
            finder.trained.input_size(size, field="sizes")
        elif size < 32:
            raise Mistake(f"`sizes` {size}: 32 pixels at least are needed")
        loader = make_evaluation_loader(
            data.val_detection, size, batch_size=config.batch_size, workers=config.workers, letterbox=finder.letterbox
        )
        scores = _scores(finder, tqdm(loader, desc=f"{size} pixels", disable=None), data.evaluated, device)
        if not (mean := mean_score(scores))["classes"]:
            raise Mistake(f"{data.val_detection.name}: no image has a box of an evaluated class")
        single = make_evaluation_loader(data.val_detection, size, batch_size=1, letterbox=finder.letterbox)
        images = (pixels(batch.images, device) for batch in itertools.islice(single, WARM_UP + rounds))
        points.append(
            SpeedPoint(
                method=method or Path(str(run)).resolve().name,
                size=size,
                ap50=mean["ap50"],
                images_per_second=1 / statistics.median(_seconds(finder.detect, list(images), rounds, device)),
                images=len(data.val_detection),
                precision=finder.precision,
                machine=_machine(device),
            )
        )
    return points


def _opened(run: str | Path, config: EvaluateConfig, device: torch.device) -> _Finder:
    names = read_names(config.open.names) if config.open.names else None
    if is_rival(run):
        rival = load_rival(run, weights=config.weights, names=names, device=device)
        if not (config.sets or rival.content):
            raise Mistake(f"{run}: name the images it is evaluated on, with `coco` or `voc`")
        net, fixed = rival.detector, rival.detector.transform.fixed_size is not None
        return _Finder(
            rival,
            net.classes,
            net,
            lambda images, labels: net(images),
            letterbox,
            "float32",
            lambda sizes: [rival.size] if fixed else sizes,
        )
    precision = pick_precision(device, config.open.precision)
    tree = load_tree(config.open.tree) if config.open.tree else None
    trained = open_detector(
        checkpoint_of(run, best=config.open.best),
        config.open.cfg,
        tree=tree,
        names=names,
        averaged=not config.raw_weights,
        device=device,
    )
    classes = trained.classes
    prepared = prepare(trained.model, device=device, precision=precision)
    return _Finder(
        trained,
        classes,
        lambda images: detect(prepared(images), classes),
        lambda images, labels: score_nodes(prepared(images), classes, labels),
        letterbox_of(trained, config.open.letterbox),
        precision,
        lambda sizes: sizes,
    )


def _scores(
    finder: _Finder, batches: Iterable[Batch], labels: Collection[int], device: torch.device
) -> list[ClassScore]:
    asked = sorted(labels)
    found, targets, _ = find_in_batches(lambda images: finder.score(images, asked), batches, device=device)
    return average_precision(found, targets, classes_at_labels(asked))


@torch.no_grad()
def _seconds(find: Find, images: Sequence[Tensor], rounds: int, device: torch.device) -> list[float]:
    """Seconds of each of some images, one at a time, after the first few."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    seconds = []
    for number, image in enumerate(itertools.islice(itertools.cycle(images), WARM_UP + rounds)):
        start = now()
        find(image)
        if number >= WARM_UP:
            seconds.append(now() - start)
    return seconds


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return f"{model}, {torch.get_num_threads()} threads"
