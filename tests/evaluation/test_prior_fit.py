"""How well priors fit: the rows of the paper's table, the numbers of its figure, and a picture that can be opened."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from yolo9000.evaluation.prior_fit import (
    PriorFit,
    compare_priors,
    comparison_table,
    curve_csv,
    draw_fits,
    fit_curves,
    fixed_fits,
)
from yolo9000.models.config import HAND_PICKED

BOXES = np.random.default_rng(0).uniform(0.05, 1, (60, 2))


def test_the_hand_picked_priors_are_faster_r_cnns() -> None:
    """Typed in its own pixels, areas 128, 256 and 512 squared, of an image of 800 by 600."""
    pixels = np.array(HAND_PICKED) * 800
    square = [(128, 128), (256, 256), (512, 512)]
    tall = [(90.51, 181.02), (181.02, 362.04), (362.04, 724.08)]
    wide = [(height, width) for width, height in tall]
    np.testing.assert_allclose(sorted(pixels.tolist()), sorted([*square, *tall, *wide]), atol=0.01)
    assert (np.diff(pixels.prod(axis=1)) > -1).all()  # smallest first, up to rounding


def test_published_priors_at_their_size_by_hand() -> None:
    """A box of 9.22725 x 9.61974 cells of 32 pixels is a prior of yolo9000.cfg; at 416 pixels there are 13 cells."""
    fits = {fit.name: fit.mean_iou for fit in fixed_fits(np.array([[9.22725 / 13, 9.61974 / 13]]))}
    assert fits["yolo9000.cfg at 416"] == pytest.approx(1)
    assert fits["yolo9000.cfg at 544, its cfg's size"] == pytest.approx((13 / 17) ** 2)
    fits = {fit.name: fit.mean_iou for fit in fixed_fits(np.array([[11.2364 / 13, 10.0071 / 13]]))}
    assert fits["yolov2-voc.cfg at 416, its cfg's size"] == pytest.approx(1)
    assert fits["yolov2.cfg (COCO) at 416"] == pytest.approx(9.77052 * 9.16828 / (11.2364 * 10.0071))


def test_the_comparison_has_the_papers_rows() -> None:
    fits = compare_priors(BOXES, restarts=3)
    paper = [(fit.name, len(fit.priors), fit.paper) for fit in fits if fit.paper is not None]
    assert paper == [
        ("Cluster SSE 5", 5, 58.7),
        ("Cluster IoU 5", 5, 61.0),
        ("Cluster IoU 9", 9, 67.2),
        ("Anchor Boxes 9 (picked by hand)", 9, 60.9),
    ]
    table = comparison_table(fits).splitlines()
    assert len(table) == 2 + len(fits)
    assert table[3].startswith("| Cluster IoU 5 | 5 | ")


def test_the_curves_end_where_the_boxes_do() -> None:
    few = np.array([[0.1, 0.1], [0.2, 0.1], [0.3, 0.1], [0.1, 0.1]])
    curves = fit_curves(few)
    assert [len(fit.priors) for fit in curves["iou"]] == [1, 2, 3]
    assert curves["iou"][-1].mean_iou == pytest.approx(1)
    assert [len(fits) for fits in fit_curves(BOXES, most=4).values()] == [4, 4]


def test_csv_by_hand() -> None:
    fits = [PriorFit("one", np.ones((1, 2)), 0.25), PriorFit("two", np.ones((2, 2)), 1 / 3)]
    assert curve_csv({"iou": fits, "euclidean": fits[::-1]}) == "k,iou,euclidean\n1,0.2500,0.3333\n2,0.3333,0.2500"


@pytest.mark.parametrize("marked", [2, 9])
def test_the_picture_has_the_colours_of_both_curves(tmp_path: Path, marked: int) -> None:
    path = tmp_path / "fit.png"
    draw_fits(fit_curves(BOXES, most=3), fixed_fits(BOXES), marked, "60 boxes", path)
    drawn = cv2.imread(str(path))
    assert drawn is not None
    for bgr in ((180, 119, 31), (14, 127, 255)):  # matplotlib's blue and orange
        assert (drawn == bgr).all(axis=-1).sum() > 50
