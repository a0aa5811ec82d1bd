"""Nets built from a cfg and filled from a weights file give darknet's own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wordtree import load_tree
from wordtree.softmax import log_probs
from yolo9000.darknet import from_cfg, load_darknet_weights, region_activations
from yolo9000.darknet.net import DarknetNet
from yolo9000.detection import Target, joint_loss
from yolo9000.models import TreeClasses

GOLDEN = Path(__file__).parents[1] / "golden"


def golden_net(cfg: str, weights: str) -> DarknetNet:
    model = from_cfg(GOLDEN / cfg)
    header = load_darknet_weights(model, GOLDEN / weights)
    assert (header.version, header.images_seen, header.not_filled) == ((0, 2, 0), 123456, ())
    return model.eval()


def load(name: str) -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / name) as file:
        return dict(file)


def targets_of(truth: NDArray[np.float32]) -> list[Target]:
    """Rows x, y, w, h, class of detection images; the list ends at x = 0."""
    rows = [image[: int(np.argmin(image[:, 0] != 0))] for image in truth]
    return [Target(torch.tensor(r[:, :4]), torch.tensor(r[:, 4]).long()) for r in rows]


RAW, PROBABILITIES = 1e-4, 1e-5
"""What a whole net's sums may differ by: their order depends on processor, threads and version."""


def close(actual: torch.Tensor, expected: NDArray[np.float32], atol: float, rtol: float = 0.0) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=rtol, atol=atol)


@torch.no_grad()
def test_tiny_detector_gives_darknets_raw_numbers_and_activations() -> None:
    z = load("net_yolov2tiny_voc20.npz")
    model = golden_net("net_yolov2tiny_voc20.cfg", "net_yolov2tiny_voc20.weights")
    assert model.region is not None
    output = model(torch.tensor(z["input"]))
    close(output.raw, z["raw_gpubn"], RAW)
    close(region_activations(output, model.region), z["output"], RAW)  # tw and th stay as they are
    assert len(model.region.coding.priors) == 5
    assert model.region.coding.priors[4] == (3.6, 3.9)
    assert (
        model.region.classes.tree,
        model.region.classes.map,
        model.region.loss.rescore,
        model.region.loss.bias_match,
    ) == (
        None,
        None,
        True,
        True,
    )


@torch.no_grad()
def test_every_hidden_layer_has_darknets_mean_and_deviation() -> None:
    z = load("net_yolov2tiny_voc20.npz")
    model = golden_net("net_yolov2tiny_voc20.cfg", "net_yolov2tiny_voc20.weights")
    x = torch.tensor(z["input"][:1])
    for number, layer in enumerate(model.layers[:14]):
        x = layer(x)
        assert tuple(x.shape[1:]) == model.shapes[number]
        expected = z[f"img0_L{number}_meanstd"]
        np.testing.assert_allclose([x.mean().item(), x.std(correction=0).item()], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_tree_classifier_gives_darknets_logits_and_probabilities() -> None:
    z = load("net_darknet19_tree40.npz")
    model = golden_net("net_darknet19_tree40.cfg", "net_darknet19_40.weights")
    assert model.classes.tree == load_tree(GOLDEN / "tree40.tree")
    logits = model(torch.tensor(z["input"])).raw
    close(logits, z["logits"], RAW)
    close(model.classes.conditionals(logits), z["output"], PROBABILITIES)
    absolute = log_probs(logits, model.classes.tree).exp()
    close(absolute, z["hier_abs"], PROBABILITIES)
    inner = torch.ones(40, dtype=torch.bool)
    inner[list(model.classes.tree.leaves)] = False
    close(absolute.masked_fill(inner, 0.0), z["hier_abs_leaves"], PROBABILITIES)


@pytest.mark.parametrize("case", ["region_tree40", "region_voc20"])
def test_a_cfg_of_one_region_layer(case: str) -> None:
    z = load(f"{case}.npz")
    model = from_cfg(GOLDEN / f"{case}.cfg")
    assert model.region is not None
    raw = torch.tensor(z["raw"])
    assert torch.equal(model(raw).raw, raw)
    close(region_activations(model(raw), model.region), z["output"], 1e-5)
    np.testing.assert_array_equal(np.float32(model.region.coding.priors).reshape(-1), z["anchors"])
    assert model.region.classes.map == ((35, 16, 29, 38, 5) if case == "region_tree40" else None)


def test_a_cfg_of_one_reorg_layer() -> None:
    z = load("reorg.npz")
    output = from_cfg(GOLDEN / "reorg.cfg")(torch.tensor(z["input"])).raw
    np.testing.assert_array_equal(output.numpy(), z["output"])


@pytest.mark.parametrize("name", ["tree40", "9k"])
def test_trees_have_darknets_groups(name: str) -> None:
    z = load("trees.npz")
    tree = load_tree("yolo9000" if name == "9k" else GOLDEN / "tree40.tree")
    np.testing.assert_array_equal(tree.parents, z[f"{name}_parent"])
    np.testing.assert_array_equal(tree.child_group, z[f"{name}_child"])
    np.testing.assert_array_equal(tree.group_of, z[f"{name}_group"])
    np.testing.assert_array_equal(tree.group_sizes, z[f"{name}_group_size"])
    np.testing.assert_array_equal(tree.group_offsets, z[f"{name}_group_offset"])
    np.testing.assert_array_equal(np.flatnonzero(z[f"{name}_leaf"]), tree.leaves)


def test_a_training_pass_of_the_tiny_detector() -> None:
    """Batch statistics, loss and its gradient at the raw numbers."""
    z = load("net_yolov2tiny_voc20.npz")
    model = golden_net("net_yolov2tiny_voc20.cfg", "net_yolov2tiny_voc20.weights").train()
    assert model.region is not None
    raw = model(torch.tensor(z["input"])).raw
    close(raw, z["train_raw"], 2e-4)
    close(region_activations(raw, model.region), z["train_output"], 1e-4)
    # darknet's own raw numbers go into the loss, so that only the loss is compared
    leaf = torch.tensor(z["train_raw"], requires_grad=True)
    terms = joint_loss(leaf, targets_of(z["truth"]), model.region, images_seen=64_000, recipe="darknet")
    torch.stack(list(terms.values())).sum().backward()
    assert leaf.grad is not None
    close(leaf.grad, -z["train_delta_in"], atol=1e-6, rtol=1e-4)


def test_labels_losses_and_costs_of_the_tree_classifier() -> None:
    """Given darknet's logits: its truth over the path's groups, and minus the logarithm of each node on the path."""
    z = load("net_darknet19_tree40.npz")
    tree = load_tree(GOLDEN / "tree40.tree")
    truth = np.full((4, 40), -1234.0)  # darknet's mark of a sibling group off the path
    for image, label in enumerate(z["label"].tolist()):
        for node in tree.path(label):
            truth[image, tree.group_of == tree.group_of[node]] = 0
        truth[image, list(tree.path(label))] = 1
    np.testing.assert_array_equal(truth, z["truth"])
    logits = torch.tensor(z["train_logits"], dtype=torch.float64, requires_grad=True)
    conditional = TreeClasses(tree).conditionals(logits)
    close(conditional, z["train_output"], 1e-6)
    loss = torch.where(torch.tensor(truth == 1), -conditional.log(), 0.0)
    close(loss, z["train_loss"], 5e-6)
    nll = -log_probs(logits, tree)[torch.arange(4), torch.tensor(z["label"])].sum()
    for cost in ("train_cost", "net_cost"):
        close(loss.sum(), z[cost], atol=0, rtol=1e-6)
        close(nll, z[cost], atol=0, rtol=1e-6)
    gradient = torch.autograd.grad(nll, logits)[0]
    close(gradient, -z["train_delta"], 1e-6)
    close(gradient, -z["train_delta_after_backward"], 1e-6)  # the softmax's own backward pass is the identity


def test_a_training_pass_of_the_tree_classifier() -> None:
    z = load("net_darknet19_tree40.npz")
    model = golden_net("net_darknet19_tree40.cfg", "net_darknet19_40.weights").train()
    logits = model(torch.tensor(z["input"])).raw
    close(logits, z["train_logits"], 2e-4)
    assert model.classes.tree is not None
    nll = -log_probs(logits, model.classes.tree)[torch.arange(4), torch.tensor(z["label"])]
    close(nll.sum(), z["train_cost"], atol=0, rtol=1e-4)
    gradient = torch.autograd.grad(nll.sum(), logits, retain_graph=True)[0]
    close(gradient, -z["train_delta"], 2e-5)
    nll.sum().backward()
    first, last = model.layers[0][0], model.layers[23][0]  # type: ignore[index]
    for grad, name in ((last.weight.grad.flatten(1), "last_conv_dW"), (last.bias.grad, "last_conv_db"),
                       (first.weight.grad, "first_conv_dW")):  # fmt: skip
        close(grad, -z[name], atol=1e-4 * float(np.abs(z[name]).max()))
