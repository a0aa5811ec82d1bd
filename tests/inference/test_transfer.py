"""Weights carried over to a tree that lost nodes, grew, or both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import TreeDistribution, TreeMismatch, WordTree, load_tree
from wordtree.softmax import log_conditionals
from yolo9000.darknet import DarknetDetector, from_cfg
from yolo9000.inference.transfer import NodeTransfer, match_nodes, transfer_detector
from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec, TreeClasses
from yolo9000.models.output import RegionOutput
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
    region = RegionSpec(
        coding=BoxCoding(((1.0, 1.0), (2.0, 3.0))), classes=FlatClasses(7) if tree is None else TreeClasses(tree)
    )
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
        alone=(5,),  # the car, certain before for want of a rest alternative
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
        "1 nodes are the only member of their sibling group now, and begin with P(node | parent) = 0.9999: "
        "car (below vehicle)",
    ]


# ----------------------------------------------------------------------------- a group of which one member is left
# The tree is animal (dog (poodle, pug), cat), vehicle (car) again, now with a rest alternative beside the car.
ONLY_CHILD = dataclasses.replace(OLD, rest="only_child")


def far_below_zero(net: Detector) -> Detector:
    """The same net with every class logit lower by 7, which within a group without a rest changes nothing."""
    with torch.no_grad():
        net.head.class_bias.sub_(7.0)
    return net


def test_the_last_of_a_group_keeps_what_the_others_leave_it() -> None:
    """Its logit, which meant nothing but beside its siblings', was set against the rest's 0."""
    new = ONLY_CHILD.prune(["poodle", "car"]).tree
    assert new.names == ("animal", "vehicle", "dog", "car", "poodle")
    other, net = far_below_zero(detector(ONLY_CHILD)), detector(new, seed=1)
    notes = transfer_detector(net, other, "last.pt")
    (_, old_logits), (_, new_logits) = answers(other), answers(net)
    was, now = TreeDistribution(ONLY_CHILD, old_logits), TreeDistribution(new, new_logits)
    for name in ("animal", "vehicle", "car"):  # a whole group; and an only child that always was one
        torch.testing.assert_close(now.prob(name), was.prob(name))
    # dog without the cat, poodle without the pug: 9,999 in 10,000 each, in every box
    torch.testing.assert_close(now.prob("dog"), 0.9999 * was.prob("animal"))
    torch.testing.assert_close(now.prob("poodle"), 0.99980001 * was.prob("animal"))
    assert notes == [
        "last.pt: another tree; 5 of its 7 nodes are carried over",
        "2 nodes are dropped: cat, pug",
        "2 nodes are the only member of their sibling group now, and begin with P(node | parent) = 0.9999: "
        "dog (below animal), poodle (below dog)",
    ]
    rows = net.state_dict()["head.class_weight"].unflatten(0, (2, -1))
    assert (rows[:, [2, 4]] == 0).all()
    assert (rows[:, [0, 1, 3]] != 0).all()


def test_a_top_node_that_is_left_alone_is_named() -> None:
    new = ONLY_CHILD.prune(["dog", "cat"]).tree
    net = detector(new, seed=1)
    notes = transfer_detector(net, far_below_zero(detector(ONLY_CHILD)), "last.pt")
    assert notes[-1].endswith("P(node | parent) = 0.9999: animal (below the top)")
    now = TreeDistribution(new, answers(net)[1])
    torch.testing.assert_close(now.prob("animal"), torch.full((8,), 0.9999))
    torch.testing.assert_close(now.prob("dog") + now.prob("cat"), torch.full((8,), 0.9999))


def test_a_group_that_had_a_rest_keeps_its_rows() -> None:
    """With rest="all" a logit means something against the rest: e^z / (e^z + 1) once the siblings are gone."""
    tree = dataclasses.replace(OLD, rest="all")
    new = tree.prune(["poodle"]).tree
    assert match_nodes(tree, new).alone == ()
    other, net = detector(tree), detector(new, seed=1)
    transfer_detector(net, other, "last.pt")
    (_, old_logits), (_, new_logits) = answers(other), answers(net)
    was, now = log_conditionals(old_logits, tree).exp(), log_conditionals(new_logits, new).exp()
    rest = 1 - was[:, [5, 6]].sum(dim=1)
    torch.testing.assert_close(now[:, 2], was[:, 5] / (was[:, 5] + rest), rtol=1e-3, atol=1e-4)


def test_without_a_rest_there_is_nothing_to_keep() -> None:
    assert match_nodes(OLD, OLD.prune(["poodle"]).tree).alone == ()


def test_a_few_classes_of_yolo9000() -> None:
    """Two classes deep in the large tree: what is left of it is two chains."""
    old = dataclasses.replace(load_tree("yolo9000"), rest="only_child")
    new = old.prune(["cab.n.03", "zebra"]).tree
    net = detector(new, seed=1)
    notes = transfer_detector(net, far_below_zero(detector(old)), "last.pt")
    now = TreeDistribution(new, answers(net)[1])
    below = [new.names[node] for node in new.path("n02930766")]
    assert below == ["object", "whole", "artifact", "instrumentality", "container", "wheeled vehicle", *below[6:]]
    assert below[6:] == ["self-propelled vehicle", "motor vehicle", "car", "cab"]
    # artifact and living thing are two; the seven below artifact are alone, and the two above it
    torch.testing.assert_close(now.prob("n02930766"), 0.9999**7 * now.prob("artifact"))
    torch.testing.assert_close(now.prob("artifact") + now.prob("living thing"), torch.full((8,), 0.99980001))
    assert "instrumentality (below artifact)" in notes[-1]


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
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 3.0))), classes=TreeClasses(OLD))
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
