"""Loss and detections from the sparse head, against the same net's dense array."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wordtree import TreeDistribution, WordTree, load_tree
from wordtree.softmax import log_probs
from yolo9000.datasets.sample import Target
from yolo9000.detection import RegionSpec, joint_loss
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect, score_nodes
from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses, TreeClasses, TreeHead, tree_classes

COCO = load_tree("coco")
PRIORS = ((0.6, 0.9), (1.5, 1.2), (2.5, 3.0))
D, SIZE = 6, 4


def random_head(classes: int, seed: int, *, shared: bool, dtype: torch.dtype, spread: float = 1.0) -> TreeHead:
    torch.manual_seed(seed)
    head = TreeHead(D, BoxCoding(PRIORS), classes, share_class_rows=shared).to(dtype)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=spread)
    return head


def dense(head: TreeHead, features: torch.Tensor) -> DenseRegionOutput:
    weights, biases = zip(*head.dense_rows(), strict=True)
    raw = nn.functional.conv2d(features, torch.cat(weights)[:, :, None, None], torch.cat(biases))
    return DenseRegionOutput(raw, head.coding)


@st.composite
def batches(draw: st.DrawFn, tree: WordTree | None, classes: int) -> list[Target]:
    """Any mixture: boxes (none, some, equal ones), ignored areas, partly labelled sources, image labels, mosaics."""
    label = st.integers(0, classes - 1)
    some_source = torch.tensor(sorted(draw(st.sets(label, min_size=1, max_size=20))))
    targets = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["boxes", "boxes", "label", "regions"] if tree is not None else ["boxes"]))
        if kind == "label":
            targets.append(Target.of_image(draw(label)))
            continue
        count = draw(st.integers(0, 5))
        rows = torch.tensor([draw(st.tuples(*[st.floats(0.125, 0.875, width=32)] * 4)) for _ in range(count)])
        labels = torch.tensor([draw(label) for _ in range(count)], dtype=torch.int64)
        rows = rows.reshape(-1, 4)
        if kind == "regions":
            empty = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
            targets.append(Target(*empty, areas_cxcywh=rows, area_labels=labels))
            continue
        if count > 1 and draw(st.booleans()):
            rows[1] = rows[0]  # two truths at one box
        if count and draw(st.booleans()):
            rows[-1, 2] = 0.0  # no truth
        partly = some_source if draw(st.booleans()) else None
        targets.append(Target(rows, labels, ignore_boxes_cxcywh=rows[:1] * 0.5, labelled_nodes=partly))
    return targets


def terms_and_gradients(
    head: TreeHead, features: torch.Tensor, targets: list[Target], region: RegionSpec, recipe: str, *, sparse: bool
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    x = features.clone().requires_grad_()
    output = head(x) if sparse else dense(head, x)
    terms = torch.stack(list(joint_loss(output, targets, region, images_seen=64, recipe=recipe).values()))
    return terms.detach(), list(torch.autograd.grad(terms.sum(), [x, *head.parameters()]))


@pytest.mark.parametrize("recipe", ["paper", "darknet", "overlap"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_same_loss_and_gradients_on_a_tree(
    recipe: str, dtype: torch.dtype, tolerance: float, data: st.DataObject
) -> None:
    region = RegionSpec(coding=BoxCoding(PRIORS), classes=TreeClasses(COCO))
    shared, seed = data.draw(st.booleans()), data.draw(st.integers(0, 1000))
    head = random_head(len(COCO), seed, shared=shared, dtype=dtype)
    targets = data.draw(batches(COCO, len(COCO)))
    features = torch.randn(len(targets), D, SIZE, SIZE, dtype=dtype)
    ours, our_gradients = terms_and_gradients(head, features, targets, region, recipe, sparse=True)
    theirs, their_gradients = terms_and_gradients(head, features, targets, region, recipe, sparse=False)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for one, two in zip(our_gradients, their_gradients, strict=True):
        largest = float(two.abs().max())
        torch.testing.assert_close(one, two, rtol=0, atol=tolerance * max(1.0, largest))


@pytest.mark.parametrize("softmax", [True, False])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_same_loss_and_gradients_on_flat_classes(softmax: bool, data: st.DataObject) -> None:
    region = RegionSpec(coding=BoxCoding(PRIORS), classes=FlatClasses(7, "softmax" if softmax else "sigmoid"))
    head = random_head(7, data.draw(st.integers(0, 1000)), shared=False, dtype=torch.float64)
    targets = data.draw(batches(None, 7))
    features = torch.randn(len(targets), D, SIZE, SIZE, dtype=torch.float64)
    ours, our_gradients = terms_and_gradients(head, features, targets, region, "overlap", sparse=True)
    theirs, their_gradients = terms_and_gradients(head, features, targets, region, "overlap", sparse=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    for one, two in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def test_a_step_reads_the_classes_on_the_paths_of_its_labels_alone() -> None:
    """Class rows that no label's path touches have no gradient; those of a path's groups have one."""
    region = RegionSpec(coding=BoxCoding(PRIORS), classes=TreeClasses(COCO))
    head = random_head(len(COCO), 0, shared=False, dtype=torch.float32)
    dog = COCO.node("dog")
    targets = [Target(torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([dog])), Target.of_image(COCO.node("car"))]
    joint = joint_loss(head(torch.randn(2, D, SIZE, SIZE)), targets, region, images_seen=64)
    torch.stack(list(joint.values())).sum().backward()
    assert head.class_weight.grad is not None
    touched = head.class_weight.grad.view(3, len(COCO), D).abs().sum(dim=(0, 2)) > 0
    on_paths = {node for label in ("dog", "car") for step in COCO.path(label) for node in (step, *COCO.siblings(step))}
    multiple = {node for node in on_paths if len(COCO.siblings(node)) or COCO.rest != "none"}
    assert set(touched.nonzero().squeeze(1).tolist()) == multiple


@pytest.mark.parametrize("most_descents", [0, 400])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_same_detections(most_descents: int, data: st.DataObject) -> None:
    """Over random nets and thresholds, whether the tree is descended or whole rows are computed."""
    spread = data.draw(st.sampled_from([0.1, 0.5, 2.0]))
    head = random_head(
        len(COCO),
        data.draw(st.integers(0, 10_000)),
        shared=data.draw(st.booleans()),
        dtype=torch.float32,
        spread=spread,
    )
    region = RegionSpec(coding=BoxCoding(PRIORS), classes=TreeClasses(COCO))
    features = torch.randn(data.draw(st.integers(1, 2)), D, SIZE, SIZE)
    config = DecodeConfig(
        threshold=data.draw(st.floats(0.05, 1.0)),
        tree_threshold=data.draw(st.floats(0.0, 1.0)),
        nms=data.draw(st.sampled_from(["tree", "class", "all"])),
    )
    output = dense(head, features)
    distribution = TreeDistribution(COCO, output.class_logits(torch.arange(output.objectness.numel())))
    nearby = [min(1.0, max(0.0, config.tree_threshold + by)) for by in (-1e-6, 1e-6)]
    labels = [distribution.back_off(threshold) for threshold in nearby]
    close = (output.objectness.sigmoid() - config.threshold).abs().min() < 1e-6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_classes, "MOST_DESCENTS", most_descents)
        ours = detect(head(features), region.classes, config)
        patch.setattr(tree_classes, "MOST_DESCENTS", -1)
        theirs = detect(output, region.classes, config)
        every = detect(output, region.classes, replace(config, threshold=0.0, max_detections=999))
    close |= any((found.scores - config.threshold).abs().min() < 1e-5 for found in every if len(found))
    if close or not torch.equal(*labels):  # rounding decides what is above a threshold
        return
    for found, expected in zip(ours, theirs, strict=True):
        assert found.nodes.tolist() == expected.nodes.tolist()
        torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.boxes_cxcywh, expected.boxes_cxcywh, rtol=1e-4, atol=1e-5)
        assert found.paths is not None
        assert expected.paths is not None
        for path, wanted, node in zip(found.paths, expected.paths, found.nodes.tolist(), strict=True):
            assert len(path) == len(COCO.path(node))
            torch.testing.assert_close(torch.tensor(path), torch.tensor(wanted), rtol=0, atol=1e-5)


def test_nodes_are_scored_from_the_groups_on_their_paths() -> None:
    """As from all logits: average precision reads the columns of the evaluated nodes' paths."""
    tree = load_tree("yolo9000")
    region = RegionSpec(coding=BoxCoding(PRIORS), classes=TreeClasses(tree))
    head = random_head(len(tree), 5, shared=False, dtype=torch.float32, spread=0.3)
    features = torch.randn(2, D, SIZE, SIZE)
    nodes = [tree.node("Norfolk terrier"), tree.node("dog"), 0, 9000]
    ours, theirs = (
        score_nodes(head(features), region.classes, nodes),
        score_nodes(dense(head, features), region.classes, nodes),
    )
    probability = log_probs(dense(head, features).class_logits(torch.arange(96)), tree).exp()
    for image, (found, expected) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-7)
        # and by the definition: objectness * P(node) of some box
        products = head(features).objectness[image].sigmoid().flatten()[:, None] * probability.view(2, 48, -1)[image]
        for score, node in zip(found.scores[:20], found.nodes[:20].tolist(), strict=True):
            assert (products[:, node] - score).abs().min() < 1e-6
