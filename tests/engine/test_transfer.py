"""Weights carried over to a tree that lost nodes, grew, or both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import TreeDistribution, TreeMismatch, WordTree
from wordtree.softmax import log_conditionals
from yolo9000.engine.transfer import NodeTransfer, match_nodes, transfer_detector
from yolo9000.models import DarknetDetector, Detector, DetectorConfig, RegionSpec, from_cfg
from yolo9000.models.region_output import RegionOutput
from yolo9000.runtime.checkpoint import CheckpointError

FORM = DetectorConfig(width=0.05)
# animal (dog (poodle, pug), cat), vehicle (car)
OLD = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6", "n7"),
    ("animal", "vehicle", "dog", "cat", "car", "poodle", "pug"),
    (-1, -1, 0, 0, 1, 2, 2),
)


def detector(tree: WordTree | None, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    region = RegionSpec(priors=((1.0, 1.0), (2.0, 3.0)), num_classes=7 if tree is None else len(tree), tree=tree)
    net = Detector(FORM, region).eval()
    for parameter in net.head.parameters():
        torch.nn.init.normal_(parameter)
    return net


def answers(net: Detector) -> tuple[RegionOutput, torch.Tensor]:
    """The output for one image, and the class logits of all its boxes."""
    with torch.no_grad():
        output: RegionOutput = net(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    return output, output.class_logits(torch.arange(8))


def test_a_pruned_tree_keeps_boxes_and_whole_groups() -> None:
    new = OLD.prune(["poodle", "pug", "car"]).tree  # without the cat: dog is now an only child
    other, net = detector(OLD), detector(new, seed=1)
    notes = transfer_detector(net, other, "last.pt")
    (before, old_logits), (after, new_logits) = answers(other), answers(net)
    torch.testing.assert_close(after.boxes, before.boxes)
    torch.testing.assert_close(after.objectness, before.objectness)
    was, now = log_conditionals(old_logits, OLD).exp(), log_conditionals(new_logits, new).exp()
    for name in ("animal", "vehicle", "poodle", "pug", "car"):
        torch.testing.assert_close(was[:, OLD.node(name)], now[:, new.node(name)])
    assert (now[:, new.node("dog")] == 1).all()
    assert notes == ["last.pt: another tree; 6 of its 7 nodes are carried over", "1 nodes are dropped: cat"]


def test_new_nodes_start_as_their_nearest_ancestor() -> None:
    # under dog a new level: toy dog (poodle, pug, chihuahua); plant is a new top node with one child
    new = WordTree(
        ("n1", "n2", "x4", "n3", "n4", "n5", "x5", "x1", "n6", "n7", "x2"),
        ("animal", "vehicle", "plant", "dog", "cat", "car", "tree", "toy dog", "poodle", "pug", "chihuahua"),
        (-1, -1, -1, 0, 0, 1, 2, 3, 7, 7, 7),
        rest="only_child",
    )
    assert match_nodes(OLD, new) == NodeTransfer(
        source=(0, 1, -1, 2, 3, 4, -1, 2, 5, 6, 2),
        kept=(0, 1, 3, 4, 5, 8, 9),
        inherited=(7, 10),
        fresh=(2, 6),
        dropped=(),
    )
    other, net = detector(OLD), detector(new, seed=1)
    untouched = net.state_dict()["head.class_weight"].clone()
    notes = transfer_detector(net, other, "last.pt")
    (_, old_logits), (_, new_logits) = answers(other), answers(net)
    torch.testing.assert_close(new_logits[:, 7], old_logits[:, 2])  # toy dog as dog
    torch.testing.assert_close(new_logits[:, 10], old_logits[:, 2])  # chihuahua as dog
    was, now = TreeDistribution(OLD, old_logits), TreeDistribution(new, new_logits)
    odds = now.prob("poodle") / now.prob("pug")
    torch.testing.assert_close(odds, was.prob("poodle") / was.prob("pug"), rtol=1e-4, atol=0)  # e^(raw numbers)
    weight = net.state_dict()["head.class_weight"].unflatten(0, (2, -1))
    assert torch.equal(weight[:, 2], untouched.unflatten(0, (2, -1))[:, 2])  # plant: as it was
    assert notes[1:] == [
        "2 of them stand under another parent, and have other siblings to compete with",
        "2 new nodes start from an ancestor: toy dog, chihuahua",
        "2 new nodes start from nothing: plant, tree",
        "it was trained with rest='none', this tree has 'only_child': probabilities will move",
    ]


@given(st.sets(st.integers(0, 6), min_size=1))
@settings(max_examples=25, deadline=None)
def test_there_and_back(keep: set[int]) -> None:
    """Rows of kept nodes come through a smaller tree and back unchanged, and other rows are their ancestors'."""
    small = OLD.prune(keep)
    there, back = match_nodes(OLD, small.tree), match_nodes(small.tree, OLD)
    assert there.inherited == there.fresh == back.dropped == ()
    assert [there.source[n] for n in small.old_to_new if n >= 0] == [
        n for n, m in enumerate(small.old_to_new) if m >= 0
    ]
    for node, source in enumerate(back.source):
        nearest = next((n for n in reversed(OLD.path(node)) if small.old_to_new[n] >= 0), None)
        assert source == (-1 if nearest is None else small.old_to_new[nearest])
        assert (node in back.kept) == (small.old_to_new[node] >= 0)


def test_nothing_in_common() -> None:
    strangers = dataclasses.replace(OLD, wnids=tuple(f"x{i}" for i in range(7)))
    with pytest.raises(TreeMismatch, match=r"last\.pt was trained on a tree of 7 nodes, and none of its ids \(n1, "):
        transfer_detector(detector(strangers), detector(OLD), "last.pt")
    with pytest.raises(TreeMismatch, match=r"last\.pt has no tree, but a tree is used here"):
        transfer_detector(detector(OLD), detector(None), "last.pt")
    with pytest.raises(TreeMismatch, match=r"last\.pt has a tree, but no tree is used here"):
        transfer_detector(detector(None), detector(OLD), "last.pt")


def test_heads_of_another_form_are_refused_with_another_tree() -> None:
    region = RegionSpec(priors=((1.0, 1.0), (2.0, 3.0)), num_classes=7, tree=OLD)
    shared = Detector(dataclasses.replace(FORM, share_class_rows=True), region)
    for net, other in ((detector(OLD.prune([6]).tree), shared), (shared, detector(OLD.prune([6]).tree))):
        with pytest.raises(CheckpointError, match="class rows cannot be carried over: both nets must end"):
            transfer_detector(net, other, "last.pt")


def test_a_last_convolution_that_is_no_head_is_refused_with_another_tree(tmp_path: Path) -> None:
    """Its rows are boxes and classes mixed."""

    def wide(tree: WordTree) -> DarknetDetector:
        text = (
            "[net]\nwidth=32\nheight=32\nchannels=3\n"
            f"[convolutional]\nsize=3\npad=1\nfilters={2 * (5 + len(tree))}\nactivation=linear\n"
            f"[region]\nnum=2\nclasses={len(tree)}\nsoftmax=1\nanchors=1,1,2,3\n"
        )
        (tmp_path / "wide.cfg").write_text(text)
        return DarknetDetector(from_cfg(tmp_path / "wide.cfg", tree=tree))

    with pytest.raises(CheckpointError, match="class rows cannot be carried over"):
        transfer_detector(wide(OLD.prune([6]).tree), wide(OLD), "last.pt")
