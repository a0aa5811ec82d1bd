"""What the rows measure on: nets with numbers like a trained one's, trees, images, and our own side of each job.

No trained weights of yolo9000 are at hand. So the weights are random, batch norm knows the statistics of real images,
and the objectness biases let exactly as many boxes survive as a row wants.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from benchmarks.concept_tree import nouns_tree
from wordtree import WordTree, load_tree
from wordtree.formats import save_tree
from yolo9000.darknet import DarknetNet, from_cfg, load_darknet_weights, save_darknet_weights
from yolo9000.darknet.export import cfg_of_detector
from yolo9000.datasets.decode import decode
from yolo9000.datasets.sample import Record, Target, pixels
from yolo9000.datasets.transforms import letterbox
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.results import Detections
from yolo9000.exporting.running import ready
from yolo9000.inference.config import Engine, OpenConfig
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare_with
from yolo9000.models import (
    YOLO9000_PRIORS,
    YOLOV2_PRIORS,
    BoxCoding,
    Detector,
    DetectorConfig,
    FlatClasses,
    RegionOutput,
    RegionSpec,
    TreeClasses,
    TreeHead,
)
from yolo9000.runtime.config import Settings
from yolo9000.runtime.device import pick_precision

Forward = Callable[[Tensor], RegionOutput]

CLASS_LOGIT_STD = 6.0
"""Spread of the class logits, chosen by us: labels of YOLO9000's tree then end 1 to 5 levels deep, of 17."""

THRESHOLD = DecodeConfig().threshold

CPU = torch.device("cpu")


def flat_tree(classes: int) -> WordTree:
    """Classes that exclude each other, as a tree of one sibling group, so that image labels can be taken too.

    Examples
    --------
    >>> len(flat_tree(20).group_sizes)
    1
    """
    names = tuple(f"class{number}" for number in range(classes))
    return WordTree(names, names, (-1,) * classes)


@lru_cache(maxsize=4)
def tree_of(nodes: int) -> WordTree:
    """The tree of a row: 9,418 nodes are YOLO9000's own, 82,114 every noun of WordNet; fewer are one sibling group."""
    match nodes:
        case 9418:
            return load_tree("yolo9000")
        case 82_114:
            return nouns_tree("entity.n.01")
        case _:
            return flat_tree(nodes)


def tree_region(tree: WordTree) -> RegionSpec:
    """yolo9000.cfg's region over a tree."""
    return RegionSpec(coding=BoxCoding(YOLO9000_PRIORS), classes=TreeClasses(tree))


FLAT_80 = RegionSpec(coding=BoxCoding(YOLOV2_PRIORS), classes=FlatClasses(80))
"""yolov2.cfg's region: 80 classes without a tree."""


def targets_of(region: RegionSpec, detection: int, classification: int, *, boxes: int = 7) -> list[Target]:
    """Made-up targets: images with boxes first, then images with a label; COCO has 7.3 boxes an image."""
    rng = np.random.default_rng(0)
    targets = []
    for _ in range(detection):
        centre_size = np.concatenate([rng.uniform(0.1, 0.9, (boxes, 2)), rng.uniform(0.05, 0.6, (boxes, 2))], axis=1)
        labels = rng.integers(0, region.classes.number, boxes)
        targets.append(Target(torch.from_numpy(centre_size.astype(np.float32)), torch.from_numpy(labels)))
    return targets + [Target.of_image(int(rng.integers(0, region.classes.number))) for _ in range(classification)]


def image_files(folder: Path, count: int = 1, size: tuple[int, int] = (640, 480)) -> list[Path]:
    """JPEG files with shapes of all sizes before grain, so that grid cells differ as they do in a photograph."""
    rng = np.random.default_rng(1)
    files = []
    for number in range(count):
        picture = Image.new("RGB", size, (90, 110, 130))
        draw = ImageDraw.Draw(picture)
        for _ in range(60):
            x, y = rng.integers(0, size[0]), rng.integers(0, size[1])
            w, h = (rng.uniform(0.02, 0.4, 2) * size).astype(int)
            shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            shape((x - w // 2, y - h // 2, x + w // 2, y + h // 2), fill=tuple(rng.integers(0, 256, 3).tolist()))
        grain = rng.normal(0, 12, (size[1], size[0], 3))
        pixels = (np.asarray(picture, np.float64) + grain).clip(0, 255).astype(np.uint8)
        files.append(folder / f"shapes{number}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=90)
    return files


def read_input(file: Path, size: int) -> Tensor:
    """An image file as the net's input: (1, 3, size, size) in 0..1."""
    return pixels(letterbox(Record(decode(file.read_bytes(), str(file)), str(file)), size).image[None])


@dataclass(frozen=True)
class DarknetForm:
    """A net in darknet's files, from which every side takes the same weights."""

    cfg: Path
    weights: Path
    region: RegionSpec
    config: DetectorConfig

    def dense(self) -> DarknetNet:
        """The net with darknet's dense last layer."""
        net = with_dense_head(from_cfg(self.cfg))
        load_darknet_weights(net, self.weights)
        return net.eval()

    def ours(self) -> Detector:
        """Our detector with the same weights."""
        net = Detector(self.config, self.region)
        load_darknet_weights(net, self.weights)
        return net.eval()


@torch.no_grad()
def darknet_form(
    region: RegionSpec, config: DetectorConfig, files: Sequence[Path], size: int, survivors: int, folder: Path
) -> DarknetForm:
    """A net in which exactly `survivors` boxes of the first image pass the threshold, written to darknet's files.

    Parameters
    ----------
    region : RegionSpec
        The boxes and classes of the net.
    config : DetectorConfig
        The layers of the net.
    files : sequence of Path
        Images whose statistics batch norm gets.
    size : int
        Side of the net's input in pixels.
    survivors : int
        Boxes of the first image whose objectness exceeds the default threshold.
    folder : Path
        Where ``net.cfg``, ``net.weights`` and the tree are written.
    """
    torch.manual_seed(0)
    text = cfg_of_detector(Detector(config, region), size)
    if region.classes.tree is not None:
        save_tree(region.classes.tree, folder / "net.tree", force=True)
        text += f"tree={folder / 'net.tree'}\n"
    (folder / "net.cfg").write_text(text, encoding="utf-8")
    net = with_dense_head(from_cfg(folder / "net.cfg"))
    images = torch.cat([read_input(file, size) for file in files])
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain mean over the images
        norm.reset_running_stats()
    net.train()(images)
    net.eval()
    last = [module for module in net.modules() if isinstance(module, nn.Conv2d)][-1]
    read: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    net(images[:1])
    hook.remove()
    make_sure(last, region, read[0], survivors)
    save_darknet_weights(net, folder / "net.weights", images_seen=0)
    return DarknetForm(folder / "net.cfg", folder / "net.weights", region, config)


@torch.no_grad()
def make_sure(last: nn.Conv2d, region: RegionSpec, features: Tensor, survivors: int) -> None:
    """Make a dense last layer sure of exactly `survivors` boxes, with labels below the top of the tree.

    Parameters
    ----------
    last : Conv2d
        The layer, which is changed in place.
    features : Tensor (1, C, H, W)
        What it reads of the image whose boxes are counted.
    """
    assert last.bias is not None
    raw = last(features)[0].view(region.coding.num_priors, 5 + region.classes.number, -1)
    weight, bias = (
        last.weight.view(region.coding.num_priors, 5 + region.classes.number, -1),
        last.bias.view(region.coding.num_priors, -1),
    )
    weight[:, 5:] *= CLASS_LOGIT_STD / float(raw[:, 5:].std())
    weight[:, 4], bias[:, 4] = _objectness_of(features[0].flatten(1).T, raw[:, 4], survivors)


def _objectness_of(features: Tensor, objectness: Tensor, survivors: int) -> tuple[Tensor, Tensor]:
    """Objectness weights (A, C) and biases (A,) by which exactly the best boxes survive, by a margin.

    Random weights put the boxes so close together that bfloat16 sends others over the threshold than float32, and the
    sides would not do the same work. A trained net is sure of its boxes; so a ridge regression makes this one.

    Parameters
    ----------
    features : Tensor (cells, C)
        What the last layer reads.
    objectness : Tensor (A, cells)
        Logits of which the largest are to survive.
    """
    chosen = objectness.flatten().topk(survivors).indices
    wanted = torch.full((objectness.numel(),), -5.0).index_fill(0, chosen, 2.0).view_as(objectness)
    centred = features - features.mean(dim=0)
    gram = centred @ centred.T
    ridge = 0.1 * gram.diagonal().mean() * torch.eye(len(gram))
    weight = (centred.T @ torch.linalg.solve(gram + ridge, (wanted - wanted.mean(dim=1, keepdim=True)).T)).T
    fitted = features @ weight.T  # (cells, A)
    bias = wanted.mean(dim=1) - features.mean(dim=0) @ weight.T
    best = (fitted + bias).flatten().sort(descending=True).values
    between = float(best[survivors - 1] + best[survivors]) / 2
    return weight, bias + math.log(THRESHOLD / (1 - THRESHOLD)) - between


def prepared(detector: Detector, settings: Settings) -> Forward:
    """Our own side at inference with settings of the row's own."""
    return prepare_with(detector, settings, device=CPU)


def chosen(detector: Detector, size: int, engine: Engine | None = None) -> tuple[Forward, Settings]:
    """Our own side as `predict` chooses it on this machine, without an option or with ``--engine``."""
    trained = TrainedModel(detector, size, (), (), 0, {}, Path("net.weights"))
    running, settings = ready(trained, OpenConfig(engine=engine), device=CPU)
    return prepare_with(running.detector, settings, device=CPU), settings


def said(settings: Settings) -> str:
    """Settings in the words of the table."""
    words = [settings.engine, settings.layout.replace("_", " "), settings.precision]
    return ", ".join([*words, f"{torch.get_num_threads()} threads"])


def has_bfloat16() -> bool:
    """Whether rows in bfloat16 mean anything on this machine."""
    return pick_precision(CPU) == "bfloat16"


def detect_file(file: Path, size: int, forward: Forward, region: RegionSpec) -> Detections:
    """Image file -> detections, the whole way."""
    return detect(forward(read_input(file, size)), region.classes)[0]


@torch.no_grad()
def dense_conv_of(head: TreeHead) -> nn.Conv2d:
    """Darknet's dense last layer with the numbers of a head."""
    weights, biases = zip(*head.dense_rows(), strict=True)
    weight = torch.cat(weights)[:, :, None, None]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    assert conv.bias is not None
    conv.weight.copy_(weight)
    conv.bias.copy_(torch.cat(biases))
    return conv


def with_dense_head(net: DarknetNet) -> DarknetNet:
    """The net with a dense last layer, which is what its peers have; changed in place."""
    for number, layer in enumerate(net.layers):
        if isinstance(layer, TreeHead):
            net.layers[number] = dense_conv_of(layer)
    return net


def head_of(conv: nn.Conv2d, region: RegionSpec) -> TreeHead:
    """A head with the numbers of a dense last layer, by way of darknet's weights file, which both read."""
    head = TreeHead(conv.in_channels, region.coding, region.classes.number)
    with tempfile.TemporaryDirectory() as folder:
        save_darknet_weights(conv, Path(folder) / "head.weights", images_seen=0)
        load_darknet_weights(head, Path(folder) / "head.weights")
    return head.eval()
