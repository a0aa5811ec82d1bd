"""What the four box numbers mean, in both forms: by hand, and there and back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.models import BoxCoding, DenseRegionOutput
from yolo9000.runtime.mistakes import Mistake

PRIORS = ((1.0, 1.0), (2.0, 0.5))


def test_direct_location_prediction() -> None:
    raw = torch.zeros(1, 2, 2, 4, 4)
    raw[0, 1, 1, 2] = torch.tensor([0.0, 0.0, math.log(2.0), 0.0])
    boxes = BoxCoding(PRIORS).decode(raw)
    # column 2 of 4, row 1 of 2, sigmoid(0) = .5; prior 2 x .5 cells, width doubled
    torch.testing.assert_close(boxes[0, 1, 1, 2], torch.tensor([2.5 / 4, 1.5 / 2, 4 / 4, 0.5 / 2]))
    torch.testing.assert_close(boxes[0, 0, 0, 0], torch.tensor([0.5 / 4, 0.5 / 2, 1 / 4, 1 / 2]))


def test_unconstrained_offsets_leave_the_cell() -> None:
    raw = torch.zeros(1, 2, 2, 4, 4)
    raw[0, 1, 1, 2] = torch.tensor([-1.0, 3.0, math.log(2.0), 0.0])
    boxes = BoxCoding(PRIORS, "unconstrained").decode(raw)
    # the middle of column 2 is 2.5, a prior's width of 2 to the left of it .5; row 1 -> 1.5 + 3 * .5 = 3 of 2 rows
    torch.testing.assert_close(boxes[0, 1, 1, 2], torch.tensor([0.5 / 4, 3.0 / 2, 4 / 4, 0.5 / 2]))
    torch.testing.assert_close(boxes[0, 0, 0, 0], torch.tensor([0.5 / 4, 0.5 / 2, 1 / 4, 1 / 2]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # 2.25 of 4 columns and .5 of 2 rows in cell (2, 0); twice the prior's width, as high as it is
        ("direct", [0.25, 0.5, math.log(2.0), 0.0]),
        ("unconstrained", [(0.25 - 0.5) / 2.0, 0.0, math.log(2.0), 0.0]),
    ],
)
def test_targets_by_hand(kind: Any, expected: list[float]) -> None:
    box = torch.tensor([2.25 / 4, 0.25, 1.0, 0.25])
    found = BoxCoding(PRIORS, kind).encode(box, torch.tensor([2.0, 0.0]), torch.tensor(1), torch.tensor([4.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor(expected))


@settings(deadline=None)
@given(kind=st.sampled_from(["direct", "unconstrained"]), seed=st.integers(0, 2**32 - 1))
def test_there_and_back(kind: Any, seed: int) -> None:
    """Every raw box, decoded and encoded at its own cell and prior, is its activated numbers again."""
    coding = BoxCoding(PRIORS, kind)
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(2, 2, 3, 5, 4, generator=generator, dtype=torch.float64) * 2
    row, column = torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing="ij")
    cell = torch.stack([column, row], dim=-1).double()
    prior = torch.arange(2)[:, None, None].expand(2, 3, 5)
    back = coding.encode(coding.decode(raw), cell, prior, torch.tensor([5.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(back, coding.activate(raw))


@pytest.mark.parametrize("kind", ["direct", "unconstrained"])
def test_at_rest_a_box_is_its_prior_in_the_middle_of_its_cell(kind: Any) -> None:
    coding = BoxCoding(PRIORS, kind)
    raw = torch.zeros(1, 2, 1, 1, 4)
    torch.testing.assert_close(coding.activate(raw)[0, 0, 0, 0], coding.rest(raw))
    assert coding.decode(raw)[0, :, 0, 0].tolist() == [[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 2.0, 0.5]]


def test_an_output_decodes_its_boxes_once_and_without_a_gradient() -> None:
    raw = torch.randn(2, 2 * 6, 3, 5, requires_grad=True)
    output = DenseRegionOutput(raw, BoxCoding(PRIORS, "unconstrained"))
    boxes = output.boxes_cxcywh
    assert boxes.shape == (2, 2 * 3 * 5, 4)
    assert not boxes.requires_grad
    assert output.boxes_cxcywh is boxes
    assert torch.equal(boxes, BoxCoding(PRIORS, "unconstrained").decode(output.boxes).flatten(1, 3))
    assert output.decoded(torch.float64).dtype == torch.float64
    # low precision is decoded in full, whatever autocast made of the head
    assert DenseRegionOutput(raw.bfloat16(), BoxCoding(PRIORS)).boxes_cxcywh.dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "`priors`"),
        ((((0.0, 1.0),),), "positive"),
        ((((1.0, math.nan),),), "positive"),
        ((PRIORS, "other"), "direct or unconstrained"),
    ],
)
def test_what_cannot_be_is_refused(values: Any, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        BoxCoding(*(values or ((),)))
