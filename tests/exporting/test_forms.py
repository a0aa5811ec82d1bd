"""Detections in operations of fixed order, beside the decoding that the host does."""

from __future__ import annotations

import pytest
import torch

from wordtree import WordTree
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.exporting.errors import ExportError
from yolo9000.exporting.forms import decode_tensors, exported_form
from yolo9000.models import BoxCoding, DetectorConfig, FlatClasses, GridSpec, TreeClasses, Yolov1
from yolo9000.models.classes import Classes
from yolo9000.models.grid import GridOutput
from yolo9000.models.output import DenseRegionOutput, DetectorOutput

CODING = BoxCoding(((1.0, 1.0), (2.0, 1.5)))
NAMES = tuple("abcdefgh")
TREE = WordTree(NAMES, NAMES, (-1, -1, 0, 0, 1, 2, 2, 5), rest="only_child")


def assert_same(output: DetectorOutput, classes: Classes, config: DecodeConfig) -> int:
    """Compare with `detect`; return how many detections there are."""
    expected = detect(output, classes, config)
    found = decode_tensors(output, classes, config)
    for number, each in enumerate(expected):
        mine = found.image == number
        assert found.labels[mine].tolist() == each.nodes.tolist()
        torch.testing.assert_close(found.boxes_cxcywh[mine], each.boxes_cxcywh)
        torch.testing.assert_close(found.scores[mine], each.scores, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.probabilities[mine], each.probabilities, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.objectness[mine], each.objectness)
        for path, along, node, p in zip(
            found.path[mine], found.path_probabilities[mine], each.nodes.tolist(), each.paths or [], strict=False
        ):
            assert tuple(path[path >= 0].tolist()) == classes.path(node)
            assert along[path >= 0].tolist() == pytest.approx(p, abs=1e-5)
    assert len(found.image) == sum(map(len, expected))
    return len(found.image)


@pytest.mark.parametrize("nms", ["tree", "class", "all"])
@pytest.mark.parametrize("tree_threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("rest", ["none", "only_child", "all"])
def test_a_tree_is_descended_as_the_host_does(nms: str, tree_threshold: float, rest: str) -> None:
    classes = TreeClasses(WordTree(TREE.wnids, TREE.names, TREE.parents, rest=rest))
    generator = torch.Generator().manual_seed(1)
    raw = 2 * torch.randn(3, 2 * (5 + 8), 4, 5, generator=generator)
    config = DecodeConfig(threshold=0.4, tree_threshold=tree_threshold, nms=nms, nms_iou=0.2, max_detections=9)
    assert assert_same(DenseRegionOutput(raw, CODING), classes, config) > 5


@pytest.mark.parametrize("over", ["softmax", "sigmoid"])
def test_flat_classes_are_their_own_path(over: str) -> None:
    raw = 2 * torch.randn(2, 2 * (5 + 3), 4, 4, generator=torch.Generator().manual_seed(2))
    assert assert_same(DenseRegionOutput(raw, CODING), FlatClasses(3, over), DecodeConfig(nms_iou=0.2)) > 5


def test_a_grid_of_yolov1() -> None:
    spec = GridSpec(classes=FlatClasses(4, "linear"))
    raw = torch.rand(2, spec.numbers(3), generator=torch.Generator().manual_seed(3))
    assert assert_same(GridOutput(raw, spec), spec.classes, DecodeConfig(threshold=0.3)) > 5


def test_nothing_is_found() -> None:
    raw = torch.full((2, 2 * (5 + 8), 3, 3), -9.0)
    assert assert_same(DenseRegionOutput(raw, CODING), TreeClasses(TREE), DecodeConfig()) == 0


def test_a_chain_of_overlapping_boxes_is_followed() -> None:
    """Of boxes in a row that overlap in turn the greedy way keeps every other one: what each waits for is decided."""
    spec = GridSpec(classes=FlatClasses(1, "linear"), num=12, square_root=False)
    x = torch.arange(12) * 0.05 + 0.2
    boxes = torch.stack([x, torch.full_like(x, 0.5), torch.full_like(x, 0.2), torch.full_like(x, 0.2)], dim=1)
    confidences = torch.linspace(0.95, 0.6, 12)
    raw = torch.cat([torch.ones(1), confidences, boxes.flatten()])[None]
    config = DecodeConfig(threshold=0.5, nms="all", nms_iou=0.4)  # neighbours: .6, the next but one: .33
    found = decode_tensors(GridOutput(raw, spec), spec.classes, config)
    assert torch.allclose(found.boxes_cxcywh[:, 0], x[::2])
    assert assert_same(GridOutput(raw, spec), spec.classes, config) == 6


def test_a_box_by_hand() -> None:
    """One cell, two boxes in the same place: the second is the same thing, less surely."""
    tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    #                tx   ty   tw   th   to  animal dog  cat
    first = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0])
    second = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    raw = torch.cat([first, second])[None, :, None, None]
    output = DenseRegionOutput(raw, BoxCoding(((0.5, 0.5), (0.5, 0.5))))
    found = decode_tensors(output, TreeClasses(tree), DecodeConfig())
    assert [column.tolist() for column in (found.image, found.labels, found.path)] == [[0], [1], [[0, 1]]]
    assert found.boxes_cxcywh.tolist() == [[0.5, 0.5, 0.5, 0.5]]
    assert found.objectness.item() == pytest.approx(0.880797)  # 1 / (1 + exp(-2))
    assert found.path_probabilities[0].tolist() == pytest.approx([1.0, 0.731059])  # e / (e + 1)
    assert found.scores.item() == pytest.approx(0.880797 * 0.731059)


def test_a_net_without_a_sparse_head_has_no_features() -> None:
    net = Yolov1(DetectorConfig(width=0.05, head="grid"), GridSpec(classes=FlatClasses(2, "linear")), 64)
    with pytest.raises(ExportError, match="no head that reads single classes, .* take `raw` or `decoded`"):
        exported_form(net, "features", DecodeConfig())
    with torch.no_grad():
        raw = exported_form(net, "raw", DecodeConfig())(torch.zeros(1, 3, 64, 64))
    assert raw.shape == (1, 2 * 2 * (2 + 10))
