from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.datasets.sample import Record, Sample, pixels
from yolo9000.datasets.transforms import (
    CLASSIFICATION,
    DETECTION,
    AugmentConfig,
    augment,
    box_mosaic,
    letterbox,
    mosaic,
)

STILL = AugmentConfig(scale=(1, 1), aspect=0, flip=0, hue=0, saturation=1, exposure=1)
ONLY_MOVED = replace(DETECTION, hue=0, saturation=1, exposure=1)


def _with_rectangle(width: int, height: int, box: tuple[int, int, int, int], **more: Any) -> Record:
    """A black image with one red rectangle, which is the box."""
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2], 0] = 255
    return Record(image, "a.png", np.array([box], np.float32), np.array([7]), **more)


def _shown(sample: Sample) -> torch.Tensor:
    """``(3, H, W)`` as the network sees it, 0..1."""
    return pixels(sample.image[None])[0]


def _found(image: torch.Tensor) -> list[float]:
    """The rectangle's edges, to a fraction of a pixel: how far the red reaches along the lines through its middle."""
    red = (image[0] - image[1]).clamp(min=0).numpy()
    rows, columns = red.max(1), red.max(0)
    edges: list[float] = []
    for profile in (columns, rows):
        inside = np.flatnonzero(profile > 0.5)
        low, high = inside[0], inside[-1] + 1
        edges += [low - float(profile[:low].sum()), high + float(profile[high:].sum())]
    return [edges[0], edges[2], edges[1], edges[3]]


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6), width=st.integers(40, 300), height=st.integers(40, 300))
def test_the_box_follows_the_pixels(data: st.DataObject, seed: int, width: int, height: int) -> None:
    x0, y0 = data.draw(st.integers(0, width - 20)), data.draw(st.integers(0, height - 20))
    x1, y1 = data.draw(st.integers(x0 + 20, width)), data.draw(st.integers(y0 + 20, height))
    record = _with_rectangle(width, height, (x0, y0, x1, y1))
    sample = augment(record, 128, np.random.default_rng(seed), replace(ONLY_MOVED, min_visible=0.5))
    boxes = sample.target.boxes_cxcywh * 128
    if not len(boxes):  # cut off by more than half, or altogether
        assert sample.target.labels.tolist() == []
        return
    assert sample.target.labels.tolist() == [7]
    cx, cy, w, h = boxes[0].tolist()
    assert _found(_shown(sample)) == pytest.approx([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], abs=1.01)
    # and the placement leads back to the pixels of the input, where the box was not cut
    if min(cx - w / 2, cy - h / 2) > 0.01 and max(cx + w / 2, cy + h / 2) < 127.99:
        back = sample.placement.to_image(sample.target.boxes_cxcywh)[0].tolist()
        assert back == pytest.approx([x0, y0, x1, y1], abs=0.01)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(1, 256),
    height=st.integers(1, 256),
    scale=st.sampled_from([(0.1, 0.3), (0.5, 1), (1, 1), (1, 4), (0.2, 3)]),
)
def test_pixels_lie_where_the_placement_says(seed: int, width: int, height: int, scale: tuple[float, float]) -> None:
    # Red tells a pixel's column and green its row, so that each input pixel tells where it is from; blue is the image.
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 0], image[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    sample = augment(Record(image, "a"), 64, np.random.default_rng(seed), replace(ONLY_MOVED, scale=scale))
    place, seen = sample.placement, sample.image.numpy()
    seen = seen[:, :, ::-1] if place.flipped else seen
    shown = seen[2] == 255
    for axis, n, scaled, offset in (
        (0, width, place.scale_x, place.offset_x),
        (1, height, place.scale_y, place.offset_y),
    ):
        expected = (np.arange(64) + 0.5 - offset) / scaled - 0.5
        inside = (expected > -0.5) & (expected < n - 0.5)
        # Halving drops what fills no whole block, up to an input pixel and a half, and rounding may hide another half.
        lost = inside & ~shown.any(axis)
        assert lost.sum() <= 2
        assert shown.any(axis).sum() == (inside & ~lost).sum()
        found = (seen[axis] * shown).max(axis)[inside & ~lost]
        # At an edge there is nothing to mix with but half of a block, which is at most 1.2 input pixels; then rounding.
        block = 1.2 / min(place.scale_x, place.scale_y, 1.2)
        assert np.abs(found - expected[inside & ~lost]).max() <= block / 2 + 0.5
    assert (seen[:, ~shown] == 127).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([32, 96, 128]))
def test_boxes_stay_inside_and_ignored_ones_follow(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [200, 100, 200, 100], (20, 4)).astype(np.float32)
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    image = np.zeros((100, 200, 3), np.uint8)
    record = Record(image, "a", boxes[:10], np.arange(10), ignore_boxes_xyxy=boxes[10:])
    target = augment(record, size, np.random.default_rng(seed + 1)).target
    assert len(target.boxes_cxcywh) == len(target.labels) <= 10
    assert target.boxes_cxcywh.dtype == torch.float32
    assert target.labels.dtype == torch.int64
    assert target.ignore_boxes_cxcywh is not None
    for found in (target.boxes_cxcywh, target.ignore_boxes_cxcywh):
        low, high = found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2
        assert (low >= -1e-6).all()
        assert (high <= 1 + 1e-6).all()
        assert (found[:, 2:] >= 1e-3).all()


def test_without_any_jitter_nothing_changes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    record = Record(image, "a", np.array([[8, 16, 24, 48]], np.float32), np.array([2]))
    sample = augment(record, 64, np.random.default_rng(1), STILL)
    assert torch.equal(sample.image, torch.from_numpy(image).permute(2, 0, 1))
    assert sample.target.boxes_cxcywh.tolist() == [[0.25, 0.5, 0.25, 0.5]]
    mirrored = augment(record, 64, np.random.default_rng(1), replace(STILL, flip=1))
    assert torch.equal(mirrored.image, sample.image.flip(-1))
    assert mirrored.target.boxes_cxcywh.tolist() == [[0.75, 0.5, 0.25, 0.5]]
    assert mirrored.placement.flipped


@pytest.mark.parametrize("side", [40, 64, 200])
def test_samples_show_the_rows_of_rgb_without_a_copy(side: int) -> None:
    record = Record(np.zeros((side, side, 3), np.uint8), "a", image_label=1)
    for sample in (
        augment(record, 64, np.random.default_rng(0)),
        letterbox(record, 64),
        mosaic([record] * 4, 64, np.random.default_rng(0), STILL),
    ):
        assert sample.image.dtype == torch.uint8
        assert sample.image.stride() == (1, 3 * 64, 3)
    assert not record.image.any()  # nothing is painted into the source's pixels


def test_a_box_that_is_mostly_cut_off_is_ignored() -> None:
    # Drawn 4 times as large as fits, so that 16 x 16 of 64 x 64 pixels are seen, somewhere.
    config = replace(STILL, scale=(4, 4), min_visible=0.3)
    record = Record(np.zeros((64, 64, 3), np.uint8), "a", np.array([[0, 0, 64, 64]], np.float32), np.array([2]))
    target = augment(record, 64, np.random.default_rng(1), config).target
    assert target.boxes_cxcywh.shape == (0, 4)
    assert target.ignore_boxes_cxcywh is not None
    assert target.ignore_boxes_cxcywh.tolist() == [[0.5, 0.5, 1, 1]]
    kept = augment(record, 64, np.random.default_rng(1), replace(config, min_visible=0.05)).target
    assert kept.boxes_cxcywh.tolist() == [[0.5, 0.5, 1, 1]]
    assert kept.ignore_boxes_cxcywh is None


def test_shrinking_averages() -> None:
    # Single-pixel stripes: sampling would give black or white, averaging gives grey.
    image = np.zeros((512, 512, 3), np.uint8)
    image[:, ::2] = 255
    for seed in range(5):
        sample = augment(Record(image, "a"), 64, np.random.default_rng(seed), STILL)
        assert (_shown(sample) - 0.5).abs().max() < 0.02
    assert (_shown(letterbox(Record(image, "a"), 64)) - 0.5).abs().max() < 0.02


def test_a_classification_image_never_has_boxes() -> None:
    record = _with_rectangle(80, 60, (10, 10, 40, 40), image_label=3, ignore_boxes_xyxy=np.ones((1, 4), np.float32))
    bare = Record(record.image, "a.png", image_label=3)
    for transformed in (augment(record, 64, np.random.default_rng(5)), letterbox(record, 64)):
        assert transformed.target.image_label == 3
        assert transformed.target.boxes_cxcywh.shape == (0, 4)
        assert transformed.target.ignore_boxes_cxcywh is None
    a, b = (augment(each, 64, np.random.default_rng(5)).image for each in (record, bare))
    assert torch.equal(a, b)  # boxes draw no random numbers


def test_colours_are_distorted_but_not_lost() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:] = [200, 120, 40]
    seen = [augment(Record(image, "a"), 32, np.random.default_rng(i), replace(STILL, exposure=1.5)) for i in range(50)]
    value = np.array([float(sample.image.max()) for sample in seen])
    assert value.min() >= 200 / 1.5 - 3
    assert value.max() == 255
    assert 0.3 < (value > 200).mean() < 0.7
    grey = np.full((32, 32, 3), 90, np.uint8)
    tinted = augment(Record(grey, "a"), 32, np.random.default_rng(0), replace(STILL, hue=0.5, saturation=3)).image
    assert torch.equal(tinted[0], tinted[1])  # grey has no hue to turn


def test_letterbox_by_hand() -> None:
    record = _with_rectangle(200, 100, (50, 0, 100, 100), ignore_boxes_xyxy=np.array([[0, 0, 1, 1]], np.float32))
    sample = letterbox(record, 100)
    assert sample.target.boxes_cxcywh.tolist() == [[0.375, 0.5, 0.25, 0.5]]
    assert sample.target.ignore_boxes_cxcywh is not None
    assert sample.image[:, 0, 0].tolist() == [127, 127, 127]
    assert sample.image[:, 50, 40].tolist() == [255, 0, 0]
    assert sample.placement.to_image(sample.target.boxes_cxcywh).tolist() == [[50, 0, 100, 100]]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (3000, 7), (33, 57)])
def test_any_shape_of_image(width: int, height: int) -> None:
    record = Record(
        np.full((height, width, 3), 9, np.uint8), "a", np.array([[0, 0, width, height]], np.float32), np.array([1])
    )
    boxed = letterbox(record, 64)
    assert boxed.target.labels.tolist() == [1]
    assert boxed.placement.to_image(boxed.target.boxes_cxcywh)[0].tolist() == pytest.approx(
        [0, 0, width, height], abs=1e-2
    )
    for seed in range(3):
        sample = augment(record, 64, np.random.default_rng(seed))
        assert sample.image.shape == (3, 64, 64)
        assert sample.placement.scale_x > 0
        assert sample.placement.scale_y > 0


def _tile(level: int) -> Record:
    pixels: NDArray[np.uint8] = np.full((20, 30, 3), level, np.uint8)
    return Record(pixels, f"{level}", image_label=level)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_mosaic_cells_tile_the_input(n: int) -> None:
    config = replace(STILL, scale=(2, 2))  # each image covers its cell
    for seed in range(10):
        sample = mosaic([_tile(10 * (i + 1)) for i in range(n * n)], 96, np.random.default_rng(seed), config)
        assert sample.target.image_label is None
        assert sample.target.is_classification
        assert sample.target.boxes_cxcywh.shape == (0, 4)
        regions = sample.target.areas_cxcywh
        assert regions is not None
        assert sample.target.area_labels is not None
        assert (regions[:, 2] * regions[:, 3]).sum().item() == pytest.approx(1)
        seen = torch.zeros(96, 96)
        for (cx, cy, w, h), label in zip((regions * 96).tolist(), sample.target.area_labels.tolist(), strict=True):
            rows, columns = slice(round(cy - h / 2), round(cy + h / 2)), slice(round(cx - w / 2), round(cx + w / 2))
            seen[rows, columns] += 1
            middle = sample.image[:, round(cy), round(cx)]
            assert middle.tolist() == pytest.approx([label] * 3, abs=1)
            assert w >= 96 / n / 2
        assert (seen == 1).all()


class _Middle:
    """Numbers from 0 to 1 that are all the same: borders in the middle, images in the middle of what is free."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def random(self, number: int) -> NDArray[np.float64]:
        return np.full(number, self.value)

    def uniform(self, low: float, high: float, number: int) -> NDArray[np.float64]:
        return np.full(number, low + self.value * (high - low))


def test_boxes_of_a_mosaic_by_hand() -> None:
    # 80 x 40 pixels in cells of 32 x 32: scale .4, a band of 8 above and below
    wide = Record(np.zeros((40, 80, 3), np.uint8), "w", np.array([[20, 10, 60, 40]], np.float32), np.array([3]))
    tall = Record(np.zeros((32, 16, 3), np.uint8), "t", np.array([[0, 0, 16, 32]], np.float32), np.array([5]))
    crowd = replace(tall, boxes_xyxy=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    crowd = replace(crowd, ignore_boxes_xyxy=np.array([[0, 16, 16, 32]], np.float32))
    sample = box_mosaic([wide, tall, crowd, wide], 64, _Middle(), STILL)  # type: ignore[arg-type]
    corners = sample.target.boxes_cxcywh * 64
    # the middle half of the wide one is 8..24 in its cell, and its rows 10..40 are 12..24
    assert corners.tolist() == [[16, 18, 16, 12], [48, 16, 16, 32], [48, 50, 16, 12]]
    assert sample.target.labels.tolist() == [3, 5, 3]
    assert sample.target.ignore_boxes_cxcywh is not None
    assert (sample.target.ignore_boxes_cxcywh * 64).tolist() == [[16, 56, 16, 16]]
    assert sample.target.image_label is None
    # mirrored (0 is below any probability): the place in its cell is mirrored, and the cell stays
    left = replace(wide, boxes_xyxy=np.array([[0, 0, 20, 40]], np.float32))
    mirrored = box_mosaic([left] * 4, 64, _Middle(), replace(STILL, flip=1))  # type: ignore[arg-type]
    assert (mirrored.target.boxes_cxcywh * 64).tolist() == [
        [28, 16, 8, 16],
        [60, 16, 8, 16],
        [28, 48, 8, 16],
        [60, 48, 8, 16],
    ]


def test_boxes_of_a_mosaic_end_at_the_borders_of_their_cell() -> None:
    # twice as large as its cell and in its middle, so half of it is seen along each axis
    whole = Record(np.zeros((32, 32, 3), np.uint8), "a", np.array([[0, 0, 32, 32]], np.float32), np.array([1]))
    twice = replace(STILL, scale=(2, 2))
    sample = box_mosaic([whole] * 4, 64, _Middle(), replace(twice, min_visible=0.2))  # type: ignore[arg-type]
    corners = sample.target.boxes_cxcywh * 64
    assert corners.tolist() == [[16, 16, 32, 32], [48, 16, 32, 32], [16, 48, 32, 32], [48, 48, 32, 32]]
    hidden = box_mosaic([whole] * 4, 64, _Middle(), replace(twice, min_visible=0.3))  # type: ignore[arg-type]
    assert hidden.target.labels.tolist() == []
    assert hidden.target.ignore_boxes_cxcywh is not None
    assert len(hidden.target.ignore_boxes_cxcywh) == 4


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_boxes_of_a_mosaic_follow_the_pixels(seed: int) -> None:
    shown = _with_rectangle(90, 60, (20, 15, 70, 50))
    blank = Record(np.zeros((50, 50, 3), np.uint8), "b")
    place = seed % 4
    records = [shown if i == place else blank for i in range(4)]
    sample = box_mosaic(records, 192, np.random.default_rng(seed), replace(ONLY_MOVED, min_visible=0.5))
    for cx, cy, w, h in (sample.target.boxes_cxcywh * 192).tolist():  # none if it was cut off
        found = _found(_shown(sample))
        assert found == pytest.approx([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], abs=1.01)


def test_a_mosaic_of_boxes_wants_a_square_of_images_with_boxes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="square, not 2"):
        box_mosaic([Record(np.zeros((4, 4, 3), np.uint8), "a")] * 2, 64, rng, DETECTION)
    with pytest.raises(ValueError, match="image_label"):
        box_mosaic([_tile(1)] * 4, 64, rng, DETECTION)


def test_mosaic_wants_a_square_of_labelled_images() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="square, not 3"):
        mosaic([_tile(1)] * 3, 64, rng, CLASSIFICATION)
    with pytest.raises(ValueError, match="image_label"):
        mosaic([Record(np.zeros((4, 4, 3), np.uint8), "a")] * 4, 64, rng, CLASSIFICATION)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0, 1)}, {"scale": (2, 1)}, {"flip": 2}, {"aspect": 1}, {"exposure": 0.5}, {"min_visible": -1}]
)
def test_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AugmentConfig"):
        AugmentConfig(**wrong)
