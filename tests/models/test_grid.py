"""YOLOv1's numbers: where each of them stands, and what they say."""

from __future__ import annotations

import pytest
import torch

from yolo9000.detection import DecodeConfig, detect, score_nodes
from yolo9000.models import FlatClasses, GridLossConfig, GridOutput, GridSpec
from yolo9000.models.region import copy_of_net
from yolo9000.models.yolov1 import GridHead
from yolo9000.runtime.mistakes import Mistake

SPEC = GridSpec(classes=FlatClasses(2, "linear", names=("cat", "dog")), num=2)


def vector(classes: list[list[float]], confidences: list[list[float]], boxes: list[list[list[float]]]) -> torch.Tensor:
    """A batch of one image, typed cell by cell."""
    parts = [torch.tensor(part).flatten() for part in (classes, confidences, boxes)]
    return torch.cat(parts)[None]


NOTHING = [0.0, 0.0, 0.0, 0.0]
RAW = vector(
    classes=[[0.1, 0.9], [0.0, 0.0], [0.0, 0.0], [0.7, 0.2]],
    confidences=[[0.0, 0.8], [0.0, 0.0], [0.0, 0.0], [0.6, 0.0]],
    # cell 0 (column 0, row 0): predictor 1 a box of .25 x .5 in its middle; cell 3 (column 1, row 1): predictor 0
    boxes=[
        [NOTHING, [0.5, 0.5, 0.5, 0.5**0.5]],
        [NOTHING, NOTHING],
        [NOTHING, NOTHING],
        [[0.0, 0.5, -0.5, 1.0], NOTHING],
    ],
)


def test_places_of_the_numbers() -> None:
    output = GridOutput(RAW, SPEC)
    assert output.side == 2
    assert output.boxes_cxcywh.shape == (1, 8, 4)
    torch.testing.assert_close(output.boxes_cxcywh[0, 1], torch.tensor([0.25, 0.25, 0.25, 0.5]))
    # a root below 0 is as good as one above: the width is its square
    torch.testing.assert_close(output.boxes_cxcywh[0, 6], torch.tensor([0.5, 0.75, 0.25, 1.0]))
    torch.testing.assert_close(output.objectness.sigmoid()[0, [1, 6, 0]], torch.tensor([0.8, 0.6, 1e-6]))
    torch.testing.assert_close(
        output.class_logits(torch.tensor([1, 0, 7])), torch.tensor([[0.1, 0.9]] * 2 + [[0.7, 0.2]])
    )
    assert output.class_logits_at(torch.tensor([1, 6]), torch.tensor([0, 1])).tolist() == pytest.approx([0.1, 0.2])
    of_image = output.class_logits_of_images(torch.tensor([0]), torch.tensor([[1]]))
    assert of_image[0, :, 0].tolist() == pytest.approx([0.9, 0.9, 0, 0, 0, 0, 0.2, 0.2])


def test_detections_are_those_of_confident_predictors_under_the_best_class_of_their_cell() -> None:
    (found,) = detect(GridOutput(RAW, SPEC), SPEC.classes, DecodeConfig(threshold=0.4))
    assert found.nodes.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.8 * 0.9, 0.6 * 0.7])
    (scored,) = score_nodes(GridOutput(RAW, SPEC), SPEC.classes, [0, 1], threshold=0.5)
    assert scored.scores.tolist() == pytest.approx([0.72, 0.42, 0.12, 0.08])


def test_a_convolutional_head_puts_each_cell_where_it_belongs() -> None:
    head = GridHead(12, SPEC)
    with torch.no_grad():
        head.last.weight.copy_(torch.eye(12))
        head.last.bias.zero_()
    features = torch.randn(3, 12, 2, 2)  # channels: 2 classes, 2 confidences, 2 boxes of 4
    output = GridOutput(head(features), SPEC)
    for cell, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        expected = features[:, :, row, column]
        assert torch.equal(output.cell_classes[:, cell], expected[:, :2])
        assert torch.equal(output.confidences[:, cell], expected[:, 2:4])
        assert torch.equal(output.boxes[:, cell].flatten(1), expected[:, 4:])


def test_outputs_of_parts_of_a_batch_are_joined() -> None:
    both = torch.cat([RAW, 2 * RAW])
    joined = GridOutput(RAW, SPEC).joined([GridOutput(2 * RAW, SPEC)])
    assert torch.equal(joined.raw, both)


@pytest.mark.parametrize("numbers", [0, 11, 24, 47, 49])
def test_numbers_that_make_no_grid_are_refused(numbers: int) -> None:
    with pytest.raises(ValueError, match="not S x S x 12"):
        GridOutput(torch.zeros(1, numbers), SPEC)


def test_what_a_grid_cannot_be() -> None:
    with pytest.raises(Mistake, match="`num` 0"):
        GridSpec(classes=FlatClasses(2, "linear"), num=0)
    with pytest.raises(Mistake, match="not under sigmoids"):
        GridSpec(classes=FlatClasses(2, "sigmoid"))
    with pytest.raises(Mistake, match="`forced`"):
        GridSpec(classes=FlatClasses(2, "linear"), num=1, loss=GridLossConfig(forced=True))


def test_a_copy_of_a_net_shares_what_its_numbers_mean() -> None:
    head = GridHead(12, SPEC)
    head.spec = SPEC  # type: ignore[assignment]
    assert copy_of_net(head).spec is SPEC


def test_linear_classes_have_no_cross_entropy() -> None:
    with pytest.raises(ValueError, match="cross-entropy"):
        SPEC.classes.image_loss(torch.zeros(1, 2), torch.tensor([0]))
    assert SPEC.classes.probabilities(torch.tensor([-0.5, 1.5])).tolist() == [0.0, 1.0]
    assert SPEC.classes.log_probabilities(torch.tensor([0.5, -3.0])).exp().tolist() == pytest.approx([0.5, 1e-6])
