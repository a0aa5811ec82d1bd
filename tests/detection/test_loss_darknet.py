"""The darknet recipe against darknet's own numbers, and against a loop twin on random cases."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wordtree import WordTree, load_tree
from yolo9000.darknet import from_cfg
from yolo9000.detection import RegionSpec, Target, joint_loss
from yolo9000.models import BoxCoding, FlatClasses, LossConfig, TreeClasses

GOLDEN = Path(__file__).parents[1] / "golden"
spec = importlib.util.spec_from_file_location("darknet_twin", Path(__file__).parent / "darknet_twin.py")
assert spec is not None
assert spec.loader is not None
twin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twin)


def targets_of(truth: NDArray[np.float32]) -> list[Target]:
    """Rows (B, 30, 5) of darknet -> targets: the list ends at x = 0, x > 100000 is an image label."""
    targets = []
    for rows in truth:
        end = int(np.argmin(rows[:, 0] != 0)) if (rows[:, 0] == 0).any() else len(rows)
        rows = rows[:end]
        weak = rows[:, 0] > 100_000
        label = int(rows[weak][0, 4]) if weak.any() else None
        rows = rows[~weak]
        targets.append(Target(torch.tensor(rows[:, :4]), torch.tensor(rows[:, 4]).long(), image_label=label))
    return targets


def gradient(raw: torch.Tensor, targets: list[Target], region: RegionSpec, seen: int) -> torch.Tensor:
    raw = raw.clone().requires_grad_()
    terms = joint_loss(raw, targets, region, images_seen=seen, recipe="darknet")
    torch.stack(list(terms.values())).sum().backward()
    assert raw.grad is not None
    return raw.grad


@pytest.mark.parametrize("seen", [6400, 64000])
def test_tree_region_has_the_gradient_of_darknet(seen: int) -> None:
    z = np.load(GOLDEN / "region_tree40.npz")
    tree = load_tree(str(GOLDEN / "tree40.tree"))
    box_map = (35, 16, 29, 38, 5)
    region = RegionSpec(
        coding=BoxCoding(tuple(map(tuple, z["anchors"].reshape(-1, 2)))), classes=TreeClasses(tree, box_map)
    )
    grad = gradient(torch.tensor(z["raw"]), targets_of(z["truth"]), region, seen)
    np.testing.assert_allclose(grad.numpy(), -z[f"delta_in_seen{seen}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seen", [6400, 64000])
def test_flat_region_has_the_gradient_of_darknet(seen: int) -> None:
    z = np.load(GOLDEN / "region_voc20.npz")
    region = RegionSpec(coding=BoxCoding(tuple(map(tuple, z["anchors"].reshape(-1, 2)))), classes=FlatClasses(20))
    grad = gradient(torch.tensor(z["raw"]), targets_of(z["truth"]), region, seen)
    np.testing.assert_allclose(grad.numpy(), -z[f"delta_in_seen{seen}"], rtol=1e-4, atol=1e-6)


def before_the_sigmoids(grad: torch.Tensor, raw: torch.Tensor, anchors: int) -> torch.Tensor:
    """Minus the gradient at the region layer's output, of which x, y and objectness went through a sigmoid."""
    delta, x = -grad.unflatten(1, (anchors, -1)), raw.unflatten(1, (anchors, -1))
    for channel in (0, 1, 4):
        delta[:, :, channel] /= x[:, :, channel].sigmoid() * (-x[:, :, channel]).sigmoid()
    return delta.flatten(1, 2)


@pytest.mark.parametrize(
    ("case", "raw_name", "suffix", "seen"),
    [
        ("region_tree40", "raw", "_seen6400", 6400),
        ("region_tree40", "raw", "_seen64000", 64000),
        ("region_voc20", "raw", "_seen6400", 6400),
        ("region_voc20", "raw", "_seen64000", 64000),
        ("net_yolov2tiny_voc20", "train_raw", "", 64000),
        ("net_yolov2tiny_voc20", "train_raw", "_seen6400", 6400),
    ],
)
def test_the_logged_cost_is_the_sum_of_squared_deltas(case: str, raw_name: str, suffix: str, seen: int) -> None:
    z = np.load(GOLDEN / f"{case}.npz")
    region = from_cfg(GOLDEN / f"{case}.cfg").region
    assert region is not None
    raw = torch.tensor(z[raw_name], dtype=torch.float64)
    delta = before_the_sigmoids(gradient(raw, targets_of(z["truth"]), region, seen), raw, len(region.coding.priors))
    train = "train_" if raw_name == "train_raw" else ""
    if f"{train}delta_out{suffix}" in z:
        np.testing.assert_allclose(delta.numpy(), z[f"{train}delta_out{suffix}"], rtol=1e-4, atol=1e-4)
    assert float((delta**2).sum()) == pytest.approx(float(z[f"{train}cost{suffix}"]), rel=1e-4)


TREE = WordTree(
    tuple("abcdefghijk"),
    tuple("abcdefghijk"),
    (-1, -1, 0, 0, 0, 1, 2, 2, 5, 8, 8),  # an only child (f under b, i under f), groups of 2 and 3, depth 4
)


@pytest.mark.parametrize("seed", range(12))
def test_random_batches_have_the_gradient_of_the_loop_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = [TREE, WordTree(TREE.wnids, TREE.names, TREE.parents, rest="all"), None][seed % 3]
    use_softmax = seed % 2 == 0
    options = {
        "rescore": bool(rng.integers(2)),
        "bias_match": bool(rng.integers(2)),
        "object_scale": 3.0,
        "noobject_scale": 0.5,
        "class_scale": 1.5,
        "coord_scale": 2.0,
        "thresh": 0.3,
    }
    box_map = tuple(int(n) for n in rng.permutation(11)[:6]) if seed % 4 == 1 and tree is not None else None
    priors = ((0.6, 0.9), (1.5, 1.2), (2.5, 3.0))
    b, h, w = 4, 3, 5
    raw = rng.normal(size=(b, 3 * 16, h, w))
    truths: list[list[tuple[float, float, float, float, int]]] = []
    image_labels: list[int | None] = []
    for i in range(b):
        count = [0, 3, 12, 5][i]  # twelve truths on fifteen cells: some share a box
        centres, sizes = rng.uniform(0.05, 0.95, (count, 2)), rng.uniform(0.05, 0.9, (count, 2))
        if count == 12:
            centres[6:] = centres[:6]
            sizes[6:9] = sizes[:3]
        labels = rng.integers(0, 6 if box_map else 11, count)
        truths.append([(*c, *s, int(n)) for c, s, n in zip(centres, sizes, labels, strict=True)])
        image_labels.append(int(rng.integers(11)) if i == 3 and tree is not None else None)
    targets = [
        Target(
            torch.tensor([t[:4] for t in rows], dtype=torch.float64).reshape(-1, 4),
            torch.tensor([t[4] for t in rows], dtype=torch.long),
            image_label=label,
        )
        for rows, label in zip(truths, image_labels, strict=True)
    ]
    seen = 100 if seed % 2 else 20_000
    flat = FlatClasses(11, "softmax" if use_softmax else "sigmoid", map=box_map)
    classes = flat if tree is None else TreeClasses(tree, box_map)
    region = RegionSpec(coding=BoxCoding(priors), classes=classes, loss=LossConfig(**options))
    expected = twin.region_delta(
        raw, truths, image_labels, priors=list(priors), tree=tree, seen=seen, box_map=box_map, use_softmax=use_softmax,
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(gradient(torch.tensor(raw), targets, region, seen).numpy(), -expected, atol=1e-9)
