"""Only my classes: the same probabilities from a smaller head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wordtree import AmbiguousName, TreeMismatch, UnknownName, WordTree, load_tree, save_tree
from wordtree.errors import NameResolutionError
from yolo9000.darknet import from_cfg
from yolo9000.darknet.detector import DarknetDetector
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.inference.model import TrainedModel, load_detector
from yolo9000.inference.restrict import restrict
from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec, TreeClasses, Yolov1
from yolo9000.models.classes import Classes
from yolo9000.models.grid import GridSpec
from yolo9000.models.model import DetectionModel
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.runtime.mistakes import Mistake

# animal (dog (poodle, pug), cat), vehicle (car, truck (pickup)), rock
TREE = WordTree(
    tuple(f"n{i}" for i in range(10)),
    ("animal", "vehicle", "rock", "dog", "cat", "car", "truck", "poodle", "pug", "pickup"),
    (-1, -1, -1, 0, 0, 1, 1, 3, 3, 6),
    rest="only_child",
    label_maps={"mine": {"Hund": 3, "Katze": 4, "Auto": 5}},
)
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
IMAGES = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
EVERYTHING = DecodeConfig(threshold=0.0, nms_iou=1.0, max_detections=10_000)


def trained(classes: Classes, *, shared: bool = False) -> TrainedModel:
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((0.5, 0.5), (1.0, 1.5))), classes=classes)
    net = Detector(DetectorConfig(width=0.05, share_class_rows=shared), region).eval()
    with torch.no_grad():
        net.head.class_weight.normal_(std=2.0)
        net.head.class_bias.normal_()
    boxed, never_boxed = ((3, 5), (4, 8)) if classes.tree is TREE else ((), ())
    return TrainedModel(net, 96, boxed, never_boxed, 7, {"size": 96}, Path("random"))


def dense(model: TrainedModel) -> Tensor:
    """P of every class of every box: (boxes, K)."""
    with torch.no_grad():
        output: Any = model.detector(IMAGES)
        logits = output.class_logits(torch.arange(output.objectness.numel()))
    return model.classes.probabilities(logits.double())


@pytest.mark.parametrize("shared", [False, True])
def test_the_probabilities_are_what_they_were(shared: bool) -> None:
    whole = trained(TreeClasses(TREE), shared=shared)
    small = restrict(whole, ["dog", "Auto"])
    tree = small.classes.tree
    assert tree is not None
    # dog with its breeds and car; and what stands beside them on the way: cat, truck, and all at the top
    assert tree.names == ("animal", "vehicle", "rock", "dog", "cat", "car", "truck", "poodle", "pug")
    before, after = dense(whole), dense(small)
    for node, name in enumerate(tree.names):
        torch.testing.assert_close(after[:, node], before[:, TREE.node(name)], rtol=0, atol=1e-6)
    rows = small.detector.get_submodule("head").class_weight
    assert rows.shape[0] == 9 * (1 if shared else 2)


def test_boxes_are_labelled_with_the_best_of_the_classes_or_something_below() -> None:
    whole = trained(TreeClasses(TREE))
    small = restrict(whole, ["dog", "car"])
    config = DecodeConfig(threshold=0.0, nms_iou=1.0, max_detections=10_000, tree_threshold=0.3)
    probability = dense(whole)
    seen = set()
    with torch.no_grad():
        found = detect(small.detector(IMAGES), small.classes, config)
    for image, each in enumerate(found):
        assert each.places is not None
        assert each.paths is not None
        for place, node, p, path in zip(
            each.places.tolist(), each.nodes.tolist(), each.probabilities.tolist(), each.paths, strict=True
        ):
            assert place // 18 == image  # 3 x 3 cells of two priors
            row = {name: probability[place, TREE.node(name)].item() for name in ("dog", "car", "poodle", "pug")}
            label = max(("dog", "car"), key=row.__getitem__)
            if label == "dog" and max(row["poodle"], row["pug"]) > 0.3:
                label = max(("poodle", "pug"), key=row.__getitem__)
            assert small.classes.name(node) == label
            assert p == pytest.approx(row[label], abs=1e-6)
            assert path == pytest.approx([probability[place, step].item() for step in TREE.path(label)], abs=1e-6)
            seen.add(label)
    assert len(seen) >= 3


def test_a_class_below_another_class_is_no_rival_of_it() -> None:
    small = restrict(trained(TreeClasses(TREE)), ["poodle", "animal"])
    with torch.no_grad():
        (first, _) = detect(small.detector(IMAGES), small.classes, EVERYTHING)
    assert small.classes.kept == (small.classes.tree.node("poodle"), 0)  # type: ignore[union-attr]
    # not the poodle of P .2 for its own sake: it comes by way of animal and dog, where it is more probable than .5
    for node, p in zip(first.nodes.tolist(), first.probabilities.tolist(), strict=True):
        assert node == 0 or p > 0.5


def test_what_had_boxes_is_known_by_the_new_numbers() -> None:
    small = restrict(trained(TreeClasses(TREE)), "dog")
    tree = small.classes.tree
    assert tree is not None
    assert [tree.names[node] for node in small.boxed] == ["dog"]
    assert [tree.names[node] for node in small.never_boxed] == ["cat", "pug"]
    assert small.step == 7
    assert tree.label_maps == {"mine": {"Hund": 3, "Katze": 4}}


def test_it_is_restricted_again_and_the_first_stays() -> None:
    whole = trained(TreeClasses(TREE))
    again = restrict(restrict(whole, ["dog", "cat"]), "cat")
    assert again.classes.tree is not None
    assert again.classes.tree.names == ("animal", "vehicle", "rock", "dog", "cat")
    torch.testing.assert_close(dense(again)[:, 4], dense(whole)[:, 4])
    assert whole.classes.kept is None
    assert whole.classes.number == 10


def test_a_restricted_net_goes_through_a_checkpoint(tmp_path: Path) -> None:
    small = restrict(trained(TreeClasses(TREE)), ["dog", "car"])
    save_checkpoint(tmp_path / "small.pt", {**small.content, "position": {"step": 7}})
    loaded = load_detector(tmp_path / "small.pt")
    assert loaded.classes == small.classes
    assert loaded.classes.kept == small.classes.kept != None  # noqa: E711
    torch.testing.assert_close(dense(loaded), dense(small), rtol=0, atol=0)


@pytest.mark.parametrize("over", ["softmax", "sigmoid"])
def test_classes_without_a_tree_keep_their_rows(over: Any) -> None:
    names = ("cat", "dog", "car", "truck")
    whole = trained(FlatClasses(4, over, names=names))
    small = restrict(whole, ["car", "cat"])
    assert small.classes.number == 4
    probability = dense(whole)
    with torch.no_grad():
        found = detect(small.detector(IMAGES), small.classes, EVERYTHING)
    for each in found:
        assert each.places is not None
        best = probability[each.places][:, [2, 0]].max(dim=1)
        assert each.nodes.tolist() == [(2, 0)[place] for place in best.indices.tolist()]
        torch.testing.assert_close(each.probabilities.double(), best.values)
    assert {small.classes.name(node) for each in found for node in each.nodes.tolist()} == {"car", "cat"}


def test_yolov1_keeps_its_numbers() -> None:
    torch.manual_seed(0)
    spec = GridSpec(classes=FlatClasses(3, "linear", names=("cat", "dog", "car")))
    net: DetectionModel = Yolov1(DetectorConfig(width=0.05, head="grid"), spec, size=96).eval()
    small = restrict(TrainedModel(net, 96, (0, 1, 2), (), 0, {}, Path("random")), "dog")
    with torch.no_grad():
        (found, _) = detect(small.detector(IMAGES), small.classes, EVERYTHING)
    assert set(found.nodes.tolist()) <= {1}


def test_a_net_of_darknets_is_pruned_too(tmp_path: Path) -> None:
    coco = load_tree("coco")
    torch.manual_seed(0)
    net = DarknetDetector(from_cfg(GOLDEN / "net_yolov2tiny_voc20.cfg", tree=coco)).eval()
    whole = TrainedModel(net, net.size, net.boxed, (), 0, {}, Path("random"))
    small = restrict(whole, ["dog", "truck"])
    assert small.classes.tree is not None
    assert len(small.classes.tree) < len(coco) / 2
    assert f"classes={len(small.classes.tree)}" in small.detector.description["cfg"]
    before, after = dense(whole), dense(small)
    for name in ("dog", "truck"):
        torch.testing.assert_close(after[:, small.classes.tree.node(name)], before[:, coco.node(name)])
    save_checkpoint(tmp_path / "small.pt", {**small.content, "position": {"step": 0}})
    torch.testing.assert_close(dense(load_detector(tmp_path / "small.pt")), after, rtol=0, atol=0)


def test_of_9418_nodes_a_few_hundred_are_left() -> None:
    tree = load_tree("yolo9000")
    small = restrict(trained(TreeClasses(tree)), ["dog", "cat", "truck"])
    assert small.classes.tree is not None
    assert len(small.classes.tree) < 700
    assert {"Norfolk terrier", "Siamese cat", "garbage truck"} <= set(small.classes.tree.names)


def test_names_are_checked_all_at_once() -> None:
    whole = trained(TreeClasses(TREE))
    with pytest.raises(NameResolutionError, match="2 names lead to no class(.|\n)*'doog'(.|\n)*'spaceship'"):
        restrict(whole, ["doog", "cat", "spaceship"])
    with pytest.raises(UnknownName, match="'carr' is no name .*close to it: car"):
        restrict(whole, ["carr"])
    with pytest.raises(AmbiguousName, match="'crane' is the name of"):
        restrict(trained(TreeClasses(load_tree("yolo9000"))), ["crane"])
    with pytest.raises(Mistake, match="no class is named"):
        restrict(whole, [])
    assert np.array_equal(restrict(whole, [3, "n4"]).classes.kept, (3, 4))


def test_what_taught_the_classes_is_known_by_the_new_numbers() -> None:
    """Of 5 boxes of cars and 7 images of cats only the latter are left with the dog, whose sibling the cat is."""
    whole = trained(TreeClasses(TREE))
    taught = {"boxes": {3: 2, 5: 5}, "images": {4: 7, 8: 1, 9: 3}}
    small = restrict(replace(whole, content={**whole.content, "taught": taught}), "dog")
    tree = small.classes.tree
    assert tree is not None
    named = {
        kind: {tree.names[node]: count for node, count in counts.items()}
        for kind, counts in small.content["taught"].items()
    }
    assert named == {"boxes": {"dog": 2}, "images": {"cat": 7, "pug": 1}}


def test_a_restricted_checkpoint_lies_in_the_folder_of_its_run(tmp_path: Path) -> None:
    """Its classes are sibling groups of the run's tree; those of another tree are refused as they were."""
    small = restrict(trained(TreeClasses(TREE)), ["dog", "car"])
    save_checkpoint(tmp_path / "small.pt", {**small.content, "position": {"step": 7}})
    save_tree(TREE, tmp_path / "tree.json")
    assert load_detector(tmp_path / "small.pt").classes == small.classes
    others = {"rest": replace(TREE, rest="none"), "absent": WordTree(("n0",), ("animal",), (-1,))}
    others["parent"] = replace(TREE, parents=(-1, -1, -1, 0, 0, 1, 1, 4, 4, 6))
    for tree in others.values():
        save_tree(tree, tmp_path / "tree.json", force=True)
        with pytest.raises(TreeMismatch, match="small.pt was (trained|restricted)"):
            load_detector(tmp_path / "small.pt")
