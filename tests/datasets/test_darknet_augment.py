"""Darknet's augmentation: its functions against its own numbers and hand-typed ones, and what the whole keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yolo9000.datasets.darknet_augment import (
    DarknetAugment,
    DarknetCrops,
    augment_as_darknet,
    crop_as_darknet,
    crop_image,
    distort,
    place_image,
    rotate_crop,
)
from yolo9000.datasets.darknet_images import resize
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Record

Z = np.load(Path(__file__).parents[1] / "golden" / "imageops.npz")
STILL = DarknetAugment(jitter=0, hue=0, saturation=1, exposure=1, flip=0)


@pytest.mark.parametrize(("nw", "nh", "dx", "dy"), [(30, 21, 2, 7), (40, 32, -5, 0)])
def test_placing_is_darknets(nw: int, nh: int, dx: int, dy: int) -> None:
    placed = place_image(Z["image"], (nw, nh), (dx, dy), (32, 32))
    np.testing.assert_allclose(placed, Z[f"place_nw{nw}_nh{nh}_dx{dx}_dy{dy}"], atol=1e-5)


@pytest.mark.parametrize(("hue", "saturation", "exposure"), [(0.07, 1.4, 0.8), (-0.1, 0.7, 1.3)])
def test_colours_are_darknets(hue: float, saturation: float, exposure: float) -> None:
    expected = Z[f"distort_hue{hue}_sat{saturation}_exp{exposure}"]
    np.testing.assert_allclose(distort(Z["image"], hue, saturation, exposure), expected, atol=1e-5)


def test_rotated_crop_is_darknets() -> None:
    crop = rotate_crop(Z["image"], 0.1, 1.2, (24, 24), (3, -2), 0.9)
    np.testing.assert_allclose(crop, Z["rotcrop_rad.1_s1.2_dx3_dy-2_aspect.9"], atol=1e-5)


def test_placed_by_hand() -> None:
    image = np.array([[[0.2, 0.6]]])
    # twice as wide: 0, 0.5, 1 and 1.5 in the image, the last half beyond it, where all is 0
    assert place_image(image, (4, 1), (0, 0), (4, 1))[0, 0] == pytest.approx([0.2, 0.4, 0.6, 0.3])
    assert place_image(image, (4, 1), (-1, 0), (2, 2))[0].ravel() == pytest.approx([0.4, 0.6, 0.5, 0.5])
    assert (place_image(image, (2, 1), (5, 5), (3, 3)) == 0.5).all()


def test_turned_by_hand() -> None:
    image = np.arange(9.0).reshape(1, 3, 3)
    # no turn: pixel x of a crop as large as the image is pixel x
    assert rotate_crop(image, 0, 1, (3, 3)).tolist() == image.tolist()
    # moved by one to the right: beyond the image is black
    assert rotate_crop(image, 0, 1, (3, 3), (1, 0)).tolist() == [[[1, 2, 0], [4, 5, 0], [7, 8, 0]]]
    # twice as large, wide pixels: x = (0 - 1) * 2 / 2 + 1.5, y = (0 - 1) / 2 + 1.5
    assert rotate_crop(image, 0, 2, (2, 2), (0, 0), 2.0)[0, 0, 0] == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("colour", "change", "expected"),
    [
        ((1, 0, 0), (1 / 6, 1, 1), (1, 1, 0)),
        ((0, 0, 1), (1 / 3, 1, 0.5), (0.5, 0, 0)),
        ((1, 0, 0), (-1 / 6, 1, 1), (1, 0, 1)),
        ((0.4, 0.4, 0.4), (0.1, 1.5, 1.5), (0.6, 0.6, 0.6)),
        ((0, 0, 0), (0.1, 1.5, 1.5), (0, 0, 0)),
        ((0.8, 0.4, 0.4), (0, 1.5, 1), (0.8, 0.2, 0.2)),
        ((0.8, 0.4, 0.4), (0, 4, 2), (1, 0, 0)),  # saturation 2, value 1.6: clipped only at the end
    ],
)
def test_coloured_by_hand(colour: Any, change: Any, expected: Any) -> None:
    pixel = np.float32(colour).reshape(3, 1, 1)
    assert distort(pixel, *change).ravel() == pytest.approx(expected, abs=1e-6)


def test_nothing_changes_when_all_is_off() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    sample = augment_as_darknet(Record(image, "a"), 32, np.random.default_rng(3), STILL)
    np.testing.assert_allclose(sample.image.numpy(), image.transpose(2, 0, 1) / 255, atol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_the_whole_image_stays_visible_and_boxes_with_it(seed: int) -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:40, 30:60] = 255
    whole, thing = [0, 0, 90, 60], [30, 20, 60, 40]
    record = Record(image, "a", np.float32([whole, thing, [5, 5, 5.01, 50]]), np.array([1, 2, 3]))
    rng = np.random.default_rng(seed)
    sample = augment_as_darknet(record, 96, rng, DarknetAugment(hue=0, saturation=1, exposure=1))
    assert sample.target.labels.tolist() == [1, 2]  # what is thinner than 0.001 is left out
    back = sample.placement.to_image(sample.target.boxes_cxcywh)
    torch.testing.assert_close(back, torch.tensor([whole, thing], dtype=torch.float32), atol=1e-3, rtol=0)
    cx, cy, w, h = sample.target.boxes_cxcywh[0].tolist()
    assert min(cx - w / 2, cy - h / 2, 1 - cx - w / 2, 1 - cy - h / 2) >= -1e-6
    assert max(w, h) == pytest.approx(1)
    assert 1.5 * 0.8 / 1.2 - 1e-6 <= w / h <= 1.5 * 1.2 / 0.8 + 1e-6
    # white pixels lie where the box says, but for the pixel lost to whole offsets
    rows, columns = np.nonzero(sample.image[0].numpy() > 0.75)
    cx, cy, w, h = (sample.target.boxes_cxcywh[1] * 96).tolist()
    assert [columns.min(), columns.max() + 1] == pytest.approx([cx - w / 2, cx + w / 2], abs=2.1)
    assert [rows.min(), rows.max() + 1] == pytest.approx([cy - h / 2, cy + h / 2], abs=2.1)


def test_draws_do_not_depend_on_boxes_and_a_label_takes_the_boxes_place() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    boxed = Record(image, "a", np.float32([[1, 2, 20, 30]]), np.array([4]))
    labelled = Record(image, "a", image_label=4)
    one, other = (augment_as_darknet(each, 32, np.random.default_rng(7)) for each in (boxed, labelled))
    assert torch.equal(one.image, other.image)
    assert other.target.image_label == 4
    assert len(other.target.boxes_cxcywh) == 0
    assert float(one.image.min()) >= 0
    assert float(one.image.max()) <= 1


def test_factors_are_drawn_from_one_to_the_largest_or_its_inverse() -> None:
    image = np.full((8, 8, 3), 102, np.uint8)
    for largest in (1.5, 1 / 1.5):
        config = DarknetAugment(jitter=0, exposure=largest)
        seen = [
            float(augment_as_darknet(Record(image, "a"), 8, np.random.default_rng(i), config).image[0, 0, 0]) / 0.4
            for i in range(300)
        ]
        assert 1 / 1.5 - 1e-6 <= min(seen) < 0.69
        assert 1.45 < max(seen) <= 1.5 + 1e-6
        assert 100 < sum(value < 1 for value in seen) < 200


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_thin_images(size: tuple[int, int]) -> None:
    for seed in range(5):
        sample = augment_as_darknet(Record(np.zeros((*size, 3), np.uint8), "a"), 32, np.random.default_rng(seed))
        assert sample.image.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"jitter": 1.0}, {"hue": -0.1}, {"flip": 2.0}, {"saturation": 0.0}, {"exposure": float("nan")}]
)
def test_wrong_values(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="DarknetAugment"):
        DarknetAugment(**wrong)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_a_part_is_cut_and_stretched_as_for_yolov1(case: int) -> None:
    with np.load(Path(__file__).parents[1] / "golden" / "detection_truth.npz") as z:
        left, top, w, h, width, height, flip = map(int, z[f"crop_args{case}"])
        part = resize(crop_image(z["image"], (left, top), (w, h)), width, height)
        part = part[:, :, ::-1] if flip else part
        np.testing.assert_allclose(part, z[f"crop{case}"], rtol=0, atol=1e-5)


def test_a_stretched_image_and_its_box_stay_together() -> None:
    """A white rectangle on black: the box of what is bright in the input is the target, to a pixel."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[40:80, 50:110] = 255
    record = Record(image, "a", np.float32([[50, 40, 110, 80]]), np.array([0]))
    config = DarknetAugment(hue=0, saturation=1, exposure=1, stretched=True)
    placements = set()
    for seed in range(20):
        sample = augment_as_darknet(record, 96, np.random.default_rng(seed), config)
        rows, columns = np.nonzero(sample.image[0].numpy() > 0.5)
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        cx, cy, w, h = (sample.target.boxes_cxcywh[0] * 96).tolist()
        np.testing.assert_allclose([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], seen, atol=1.2)
        place = sample.placement
        placements.add((place.scale_x, place.flipped))
        assert 96 / (160 * 1.4) <= place.scale_x <= 96 / (160 * 0.6)
    assert len(placements) > 15
    still = augment_as_darknet(record, 96, np.random.default_rng(0), DarknetAugment(
        jitter=0, hue=0, saturation=1, exposure=1, flip=0, stretched=True,
    ))  # fmt: skip
    assert (still.placement.scale_x, still.placement.scale_y, still.placement.offset_x) == (0.6, 0.8, 0)


PLAIN = DarknetCrops(crop=(1, 1), angle=0, aspect=1, hue=0, saturation=1, exposure=1, flip=0)


def test_a_crop_of_a_classifier_that_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    sample = crop_as_darknet(Record(image, "a", image_label=3), 32, np.random.default_rng(1), PLAIN)
    np.testing.assert_allclose(sample.image.numpy(), image.transpose(2, 0, 1) / 255, atol=1e-6)
    assert sample.target.image_label == 3


@pytest.mark.parametrize("seed", range(4))
def test_the_placement_of_a_crop_is_where_its_pixels_come_from(seed: int) -> None:
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None] * 3, (60, 80, 3))  # interpolates to itself
    config = dataclasses.replace(PLAIN, crop=(1.25, 2.5), aspect=0.75, flip=seed % 2)
    sample = crop_as_darknet(Record(ramp, "a", image_label=0), 32, np.random.default_rng(seed), config)
    red = sample.image[0, 16].numpy() * 255 / 3  # the column of the image that each pixel of the row shows
    x = np.arange(32.0)
    if sample.placement.flipped:
        red = red[::-1]
    inside = (red > 0) & (red < 79)
    expected = (x - sample.placement.offset_x) / sample.placement.scale_x
    assert inside.sum() > 20
    np.testing.assert_allclose(red[inside], expected[inside], atol=1e-3)


def test_crops_of_a_classifier_keep_their_range() -> None:
    record = Record(np.full((60, 80, 3), 200, np.uint8), "a", image_label=0)
    sides = [
        60
        * crop_as_darknet(
            record, 64, np.random.default_rng(seed), dataclasses.replace(PLAIN, crop=(0.5, 1.75))
        ).placement.scale_y
        for seed in range(200)
    ]
    # the shorter side, from half the crop to 7/4 of it
    assert 32 <= min(sides) < 36
    assert 108 < max(sides) <= 112


def test_crops_that_cannot_be() -> None:
    for wrong, said in (({"crop": (0, 1)}, "crop"), ({"angle": 200}, "angle"), ({"aspect": 0}, "aspect")):
        with pytest.raises(DatasetError, match=said):
            DarknetCrops(**wrong)  # type: ignore[arg-type]
