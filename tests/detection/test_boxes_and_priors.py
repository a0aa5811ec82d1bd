from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolo9000.detection.boxes import cxcywh_to_xyxy, iou, xyxy_to_cxcywh
from yolo9000.detection.priors import cluster_priors, shape_iou


def test_iou_of_hand_drawn_boxes() -> None:
    a = torch.tensor([1.0, 1.0, 2.0, 2.0])  # 0..2 x 0..2
    others = torch.tensor([[1.0, 1, 2, 2], [2, 1, 2, 2], [3, 1, 2, 2], [9, 9, 1, 1], [1, 1, 1, 1]])
    torch.testing.assert_close(iou(a, others), torch.tensor([1.0, 1 / 3, 0.0, 0.0, 0.25]))
    assert iou(torch.zeros(4), torch.zeros(4)).item() == 0  # empty boxes, no NaN


@given(st.lists(st.floats(0.01, 1), min_size=8, max_size=8))
def test_iou_is_symmetric_and_bounded(values: list[float]) -> None:
    a, b = torch.tensor(values, dtype=torch.float64).reshape(2, 4)
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(a)), a)


def test_priors_find_the_shapes_that_are_there() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([[1.0, 1.0], [2.0, 6.0], [9.0, 4.0]])
    boxes = np.repeat(truth, 50, axis=0) * rng.uniform(0.97, 1.03, (150, 2))
    priors, mean_iou = cluster_priors(boxes, 3, seed=1)
    np.testing.assert_allclose(priors, truth, rtol=0.02)
    assert mean_iou > 0.95
    again, _ = cluster_priors(boxes, 3, seed=1)
    np.testing.assert_array_equal(priors, again)


def test_more_priors_never_fit_worse() -> None:
    boxes = np.random.default_rng(3).uniform(0.1, 5, (200, 2))
    fits = [cluster_priors(boxes, k)[1] for k in (1, 3, 9)]
    assert fits == sorted(fits)


def test_shape_iou_by_hand() -> None:
    np.testing.assert_allclose(shape_iou(np.array([[2.0, 2.0]]), np.array([[1.0, 4.0], [2.0, 2.0]])), [[2 / 6, 1.0]])


@pytest.mark.parametrize("bad", [[[1.0, 0.0]], [[1.0, np.nan]], [[1.0, 1.0], [1.0, 1.0]]])
def test_priors_refuse_what_has_no_answer(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"sizes are needed|different shape"):
        cluster_priors(np.array(bad), 2)


def test_iou_as_darknet() -> None:
    z = np.load(Path(__file__).parents[1] / "golden" / "imageops.npz")
    np.testing.assert_allclose(iou(torch.tensor(z["iou_a"]), torch.tensor(z["iou_b"])).numpy(), z["iou"], atol=1e-6)
