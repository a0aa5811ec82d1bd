from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from yolo9000.datasets.sample import Batch, Placement, Replacement, Sample, Target, Unreadable, collate, pixels

PLACEMENT = Placement(640, 480, 0.5, 0.5, 3.0, 40.0, 320)


def _sample(target: Target, key: str = "a.jpg", size: int = 32, replaced: tuple[Replacement, ...] = ()) -> Sample:
    return Sample(torch.rand(3, size, size), target, key, PLACEMENT, replaced)


def _batch() -> Batch:
    nodes = torch.tensor([0, 4, 5])
    with_boxes = Target(
        torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.1, 0.2, 0.1, 0.1]]),
        torch.tensor([4, 5]),
        ignore_boxes_cxcywh=torch.tensor([[0.9, 0.9, 0.1, 0.1]]),
        labelled_nodes=nodes,
    )
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), labelled_nodes=nodes)
    mosaic = Target(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        areas_cxcywh=torch.tensor([[0.25, 0.5, 0.5, 1.0]]),
        area_labels=torch.tensor([9]),
    )
    bad = (Replacement("coco", "x.jpg", "truncated"),)
    return collate(
        [_sample(with_boxes), _sample(empty, "b.jpg", replaced=bad), _sample(Target.of_image(7)), _sample(mosaic)]
    )


def _assert_same(a: Batch, b: Batch) -> None:
    assert torch.equal(a.images, b.images)
    assert (a.keys, a.placements, a.replaced) == (b.keys, b.placements, b.replaced)
    for x, y in zip(a.targets, b.targets, strict=True):
        for name, value in vars(x).items():
            other = getattr(y, name)
            if isinstance(value, torch.Tensor):
                assert value.dtype == other.dtype
                assert value.tolist() == other.tolist()
            else:
                assert value == other, name


def test_a_batch_survives_a_pickle_and_a_move() -> None:
    batch = _batch()
    _assert_same(pickle.loads(pickle.dumps(batch)), batch)
    _assert_same(batch.to("cpu"), batch)
    assert batch.to("cpu").targets[0].is_classification is False
    assert [target.is_classification for target in batch.targets] == [False, False, True, True]


def test_a_pickled_batch_shares_labelled_nodes() -> None:
    # 64 copies of a list of 9,418 nodes would go through the worker's pipe with each batch
    batch = pickle.loads(pickle.dumps(_batch()))
    assert batch.targets[0].labelled_nodes.data_ptr() == batch.targets[1].labelled_nodes.data_ptr()


def test_a_batch_without_any_boxes_moves() -> None:
    batch = collate([_sample(Target.of_image(3))]).to("cpu")
    assert batch.targets[0].boxes_cxcywh.shape == (0, 4)
    assert batch.targets[0].image_label == 3


def _bytes(value: int, side: int = 4) -> Sample:
    rows = torch.arange(side * side * 3, dtype=torch.uint8).reshape(side, side, 3) + value
    return Sample(rows.permute(2, 0, 1), Target.of_image(1), "a.jpg", PLACEMENT)


def test_bytes_stay_bytes_in_rows_of_rgb() -> None:
    batch = collate([_bytes(0), _bytes(100)])
    assert batch.images.shape == (2, 3, 4, 4)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images[1, :, 0, 1].tolist() == [103, 104, 105]


def test_pixels_are_what_dividing_in_numpy_gives() -> None:
    levels = np.arange(256, dtype=np.uint8)
    images = torch.from_numpy(levels).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    found = pixels(images)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found[1, 2].flatten().tolist() == (levels.astype(np.float32) / np.float32(255)).tolist()
    assert pixels(images, "cpu", memory_format=torch.contiguous_format).is_contiguous()


def test_pixels_leave_floats_as_they_are() -> None:
    images = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert pixels(images) is images
    rows = torch.rand(2, 3, 8, 8)
    assert torch.equal(pixels(rows), rows)
    assert pixels(rows).is_contiguous(memory_format=torch.channels_last)


def test_bytes_and_floats_in_one_batch() -> None:
    # darknet's augmentation for one source, ours for the other
    batch = collate([_sample(Target.of_image(1), size=4), _bytes(51)])
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images[1, 0, 0, 0].item() == pytest.approx(0.2)
    assert batch.images[0].max() <= 1


class Fixed(Dataset[Sample]):
    """What a worker sends: see `test_a_batch_comes_out_of_a_worker_as_it_was`."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        return _bytes(index, side=5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_comes_out_of_a_worker_as_it_was(workers: int) -> None:
    # forked, for speed, where threads of torch cannot make that a warning
    context = ("fork" if sys.version_info < (3, 12) else "spawn") if workers else None
    loader = DataLoader(Fixed(), batch_size=3, num_workers=workers, collate_fn=collate, multiprocessing_context=context)
    for first, batch in zip((0, 3), loader, strict=True):
        _assert_same(batch, collate([_bytes(i, side=5) for i in range(first, first + 3)]))
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
def test_pixels_travel_as_bytes_and_arrive_as_floats() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    batch = collate([_bytes(0), _bytes(100)]).pin_memory()
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    found = pixels(batch.images, "cuda", non_blocking=True)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found.cpu(), pixels(batch.images))


def test_collate_wants_one_size() -> None:
    with pytest.raises(ValueError, match=r"one size, not \[\(3, 32, 32\), \(3, 64, 64\)\]"):
        collate([_sample(Target.of_image(1)), _sample(Target.of_image(1), size=64)])
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_placement_leads_back() -> None:
    boxes_xyxy = torch.tensor([[0.0, 0.0, 640.0, 480.0], [10.0, 20.0, 30.0, 60.0]])
    boxes_cxcywh = PLACEMENT.to_input(boxes_xyxy)
    # 640 * .5 = 320 wide from 3; 480 * .5 = 240 high from 40
    assert boxes_cxcywh[0].tolist() == pytest.approx([163 / 320, 160 / 320, 1.0, 240 / 320])
    assert PLACEMENT.to_image(boxes_cxcywh).tolist() == [pytest.approx(row, abs=1e-3) for row in boxes_xyxy.tolist()]
    mirrored = Placement(640, 480, 0.5, 0.5, 3.0, 40.0, 320, flipped=True)
    assert mirrored.to_input(boxes_xyxy)[1, 0].item() == pytest.approx((320 - (20 * 0.5 + 3)) / 320)
    assert mirrored.to_image(mirrored.to_input(boxes_xyxy)).tolist()[1] == pytest.approx([10, 20, 30, 60], abs=1e-3)


def test_placement_clips_to_the_image() -> None:
    outside = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert PLACEMENT.to_image(outside).min() >= 0
    assert PLACEMENT.to_image(outside, clip=False).min() < 0


def test_unreadable_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(Unreadable("a.jpg", "truncated")))
    assert (error.key, error.reason, str(error)) == ("a.jpg", "truncated", "a.jpg: truncated")
