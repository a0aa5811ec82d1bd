"""Image operations against darknet's own: resize and letterbox to the last digit, our augmentation as far as it goes.

Darknet's own augmentation is in `test_darknet_augment`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yolo9000.datasets.darknet_augment import _bilinear
from yolo9000.datasets.darknet_images import fitted_size, letterbox_as_darknet, letterbox_image, resize
from yolo9000.datasets.sample import Placement, Record
from yolo9000.datasets.transforms import AugmentConfig, _distort, _resized, letterbox

Z = np.load(Path(__file__).parents[1] / "golden" / "imageops.npz")
IMAGES = {"wide": Z["image"], "tall": Z["image"].transpose(0, 2, 1)}


def pixels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)


@pytest.mark.parametrize("side", IMAGES)
@pytest.mark.parametrize(("width", "height"), [(32, 32), (64, 48)])
def test_resize_and_letterbox(side: str, width: int, height: int) -> None:
    of_size = f"{side}_{width}x{height}"
    np.testing.assert_allclose(resize(IMAGES[side], width, height), Z[f"resize_{of_size}"], atol=1e-6)
    np.testing.assert_allclose(letterbox_image(IMAGES[side], width, height), Z[f"letterbox_{of_size}"], atol=1e-6)


def test_single_rows_and_columns() -> None:
    image = np.array([[[0.0, 0.25, 1.0]]])
    assert resize(image, 1, 1).tolist() == [[[1.0]]]  # the last one is copied
    assert resize(image, 3, 2).tolist() == [[[0, 0.25, 1], [0, 0.25, 1]]]
    assert resize(image[..., :1], 2, 1).tolist() == [[[0, 0]]]
    assert fitted_size(1000, 1, 32, 32) == (32, 1)  # darknet: no row at all


def test_a_record_comes_back_to_its_pixels() -> None:
    record = Record(pixels(IMAGES["wide"]), "a", np.float32([[3, 4, 20, 18]]), np.array([2]))
    sample = letterbox_as_darknet(record, 64)
    np.testing.assert_allclose(sample.image.numpy(), letterbox_image(record.image.transpose(2, 0, 1) / 255, 64, 64))
    back = sample.placement.to_image(sample.target.boxes_cxcywh)
    torch.testing.assert_close(back, torch.tensor([[3.0, 4, 20, 18]]))
    assert (sample.key, sample.target.labels.tolist()) == ("a", [2])
    # ours is the same picture, but for the half pixel by which darknet's corners are moved
    assert (letterbox(record, 64).image / 255 - sample.image)[:, 12:52].abs().mean() < 0.1


class Draws:
    """Stands in for a random generator: answers what the test wants drawn."""

    def __init__(self, *values: float) -> None:
        self.values = np.array(values)

    def random(self, count: int) -> NDArray[np.float64]:
        assert count == len(self.values)
        return self.values


@pytest.mark.parametrize(("hue", "saturation", "exposure"), [(0.07, 1.4, 0.8), (-0.1, 0.7, 1.3)])
def test_our_colours_are_darknets_within_eight_bits(hue: float, saturation: float, exposure: float) -> None:
    factors = [max(f, 1 / f) for f in (saturation, exposure)]
    config = AugmentConfig(hue=0.1, saturation=factors[0], exposure=factors[1])
    draws = Draws((hue / 0.1 + 1) / 2, 1, float(saturation < 1), 1, float(exposure < 1))
    ours = _distort(pixels(Z["image"]), draws, config)  # type: ignore[arg-type]
    darknets = Z[f"distort_hue{hue}_sat{saturation}_exp{exposure}"]
    # darknet clips red, green and blue at the end, ours saturation and value: the same where nothing is too large
    value, darkest = Z["image"].max(axis=0), Z["image"].min(axis=0)
    fits = (value * exposure <= 1) & ((1 - darkest / np.maximum(value, 1e-6)) * saturation <= 1)
    assert fits.mean() > 0.3
    difference = np.abs(ours.transpose(2, 0, 1) / 255 - darknets)[:, fits]
    assert difference.max() < 0.03
    assert difference.mean() < 0.005


@pytest.mark.parametrize(("width", "height"), [(30, 21), (32, 32), (100, 27)])
def test_our_resizing_is_darknets_at_pixel_centres(width: int, height: int) -> None:
    # darknet's pixel x shows the image at x * ow / w where it places one, ours at (x + .5) * ow / w - .5
    image = pixels(Z["image"])
    x = ((np.arange(width) + 0.5) * image.shape[1] / width - 0.5).clip(0, image.shape[1] - 1)
    y = ((np.arange(height) + 0.5) * image.shape[0] / height - 0.5).clip(0, image.shape[0] - 1)
    expected = _bilinear(image.transpose(2, 0, 1) / 255, x[None], y[:, None])
    np.testing.assert_allclose(_resized(image, 1, width, height).transpose(2, 0, 1) / 255, expected, atol=1 / 255)


def test_our_shrinking_skips_no_pixel() -> None:
    stripes = np.zeros((20, 20, 3), np.uint8)
    stripes[:, ::2] = 200  # every second column, which sampling at points would find all or none of
    np.testing.assert_allclose(_resized(stripes, 1, 5, 4), 100, atol=1)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_boxes_move_as_darknets(case: int) -> None:
    dx, dy, sx, sy, flip = Z[f"boxes_args{case}"].tolist()
    placement = Placement(1, 1, sx, sy, -dx, -dy, 1, bool(flip))
    boxes = Z["boxes_in"]
    marked = (boxes[:, :2] == 0).all(axis=1)  # darknet's way to write that only the image has a label
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    moved = placement.to_input(torch.tensor(corners)).numpy()
    low, high = (moved[:, :2] - moved[:, 2:] / 2).clip(0, 1), (moved[:, :2] + moved[:, 2:] / 2).clip(0, 1)
    expected = Z[f"boxes_out{case}"]
    assert (expected[marked] == 999_999).all()
    assert marked.sum() == 1
    ours = np.concatenate([(low + high) / 2, high - low], axis=1)
    np.testing.assert_allclose(ours[~marked], expected[~marked], atol=1e-6)
