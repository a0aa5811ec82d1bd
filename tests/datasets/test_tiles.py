from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wordtree import WordTree
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Unreadable
from yolo9000.datasets.tiles import TileConfig, TileScenes, read_split
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.models.tree_classes import TreeClasses

BOXED, NEVER = ("n00000001", "n00000003"), ("n00000002",)
COLOUR = {"n00000001": (255, 0, 0), "n00000002": (0, 255, 0), "n00000003": (0, 0, 255)}
BOX = (10, 20, 41, 51)  # inclusive pixels: 32 by 32


def tile(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a grey tile whose box is full of one colour."""
    pixels = np.full((64, 64, 3), 128, np.uint8)
    x0, y0, x1, y1 = BOX
    pixels[y0 : y1 + 1, x0 : x1 + 1] = colour
    return pixels


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tiles"
    (root / "boxes").mkdir(parents=True)
    for split in ("train", "val"):
        rows = ["wnid\tfile\tx0\ty0\tx1\ty1"]
        for wnid, colour in COLOUR.items():
            grey = np.asarray(Image.fromarray(tile(colour)).convert("L"))
            files = {f"{split}_a.png": png(tile(colour)), f"{split}_flat.png": png(grey)}
            write_tar(root / split / f"{wnid}.tar", files)
            rows.append(f"{wnid}\t{split}_a.png\t{BOX[0]}\t{BOX[1]}\t{BOX[2]}\t{BOX[3]}")
            rows.append(f"{wnid}\t{split}_flat.png\t5\t5\t5\t60")  # zero width: dropped
        (root / "boxes" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    split_table = {"boxed": BOXED, "image_only": NEVER, "names": {w: w[-1] for w in COLOUR}}
    (root / "split.json").write_text(json.dumps(split_table))
    return root


def test_the_split_lists_classes_in_order(root: Path) -> None:
    split = read_split(root)
    assert (split.boxed, split.image_only) == (BOXED, NEVER)
    assert split.wnids == ("n00000001", "n00000002", "n00000003")


def test_boxes_follow_their_tiles(root: Path, tmp_path: Path) -> None:
    scenes = TileScenes(root, split="val", cache=tmp_path, config=TileConfig(size=128))
    for index in range(60):
        record = scenes.read(index)
        assert (record.image.shape, record.image.dtype) == ((128, 128, 3), np.uint8)
        assert 1 <= len(record.labels) <= 4
        for box, label in zip(record.boxes_xyxy, record.labels.tolist(), strict=True):
            side = box[2] - box[0]
            assert side == pytest.approx(box[3] - box[1])
            assert 0.3 * 128 / 2 - 1 <= side <= 0.65 * 128 / 2 + 1  # half the tile's
            x0, y0, x1, y1 = np.round(box).astype(int)
            inside = record.image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].reshape(-1, 3)
            colour = np.array(list(COLOUR.values())[label])
            assert np.median(np.abs(inside.astype(int) - colour)) <= 2
            # Two pixels beyond the box's edges the tile is grey again (unless another tile begins there).
            above = record.image[max(y0 - 3, 0), (x0 + x1) // 2].astype(int)
            assert np.abs(above - colour).max() > 60


def test_boxes_are_for_the_tiles_as_they_are_stored(root: Path, tmp_path: Path) -> None:
    config = TileConfig(size=128)
    before = TileScenes(root, split="val", cache=tmp_path / "a", config=config).read(0)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for wnid, colour in COLOUR.items():
        file = io.BytesIO()
        Image.fromarray(tile(colour)).save(file, "PNG", exif=exif)
        grey = np.asarray(Image.fromarray(tile(colour)).convert("L"))
        write_tar(root / "val" / f"{wnid}.tar", {"val_a.png": file.getvalue(), "val_flat.png": png(grey)})
    after = TileScenes(root, split="val", cache=tmp_path / "b", config=config).read(0)
    assert np.array_equal(before.image, after.image)
    assert np.array_equal(before.boxes_xyxy, after.boxes_xyxy)


def test_training_uses_tiles_of_boxed_classes_and_tests_all(root: Path, tmp_path: Path) -> None:
    def labels(**options: str) -> set[int]:
        source = TileScenes(root, cache=tmp_path, **options)  # type: ignore[arg-type]
        return {label for i in range(40) for label in source.read(i).labels.tolist()}

    assert labels(split="train") == {0, 2}
    assert labels(split="val") == {0, 1, 2}
    assert labels(split="train", classes="all") == {0, 1, 2}
    assert labels(split="val", classes="boxed") == {0, 2}


def test_a_scene_depends_on_seed_split_and_index_alone(root: Path, tmp_path: Path) -> None:
    one, two = (TileScenes(root, cache=tmp_path) for _ in range(2))
    two.read(3)
    assert np.array_equal(one.read(7).image, two.read(7).image)
    other = TileScenes(root, cache=tmp_path, config=TileConfig(seed=1))
    assert not np.array_equal(one.read(7).image, other.read(7).image)
    assert not np.array_equal(one.read(7).image, one.read(8).image)
    with pytest.raises(IndexError):
        TileScenes(root, cache=tmp_path, length=3).read(3)


def test_labels_go_through_the_label_map(root: Path, tmp_path: Path) -> None:
    scenes = TileScenes(root, {"n00000001": 10, "n00000002": 20, "n00000003": 30}, cache=tmp_path)
    assert {label for i in range(20) for label in scenes.read(i).labels.tolist()} == {10, 30}
    with pytest.raises(DatasetError, match="no node for n00000002, n00000003"):
        TileScenes(root, {"n00000001": 10}, cache=tmp_path)


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"looked for split\.json"):
        TileScenes(root / "train", cache=tmp_path)
    (root / "boxes" / "val.tsv").unlink()
    with pytest.raises(DatasetError, match=r"looked for .*val\.tsv, found .*train\.tsv"):
        TileScenes(root, split="val", cache=tmp_path)
    (root / "boxes" / "val.tsv").write_text("wnid\tfile\tx0\ty0\tx1\ty1\nn00000001\tval_a.png\t1\t2\t3\tx\n")
    with pytest.raises(DatasetError, match=r"val\.tsv, line 2"):
        TileScenes(root, split="val", cache=tmp_path)
    (root / "boxes" / "val.tsv").write_text("wnid\tfile\tx0\ty0\tx1\ty1\nn00000001\tval_a.png\t1\t2\t30\t40\n")
    with pytest.raises(DatasetError, match="no tile with a box of n00000002, n00000003"):
        TileScenes(root, split="val", cache=tmp_path)


def test_a_class_in_both_lists_is_refused(root: Path) -> None:
    (root / "split.json").write_text(json.dumps({"boxed": BOXED, "image_only": BOXED[:1]}))
    with pytest.raises(DatasetError, match="n00000001 in boxed and in image_only"):
        read_split(root)


def test_a_tile_that_cannot_be_decoded_is_named(root: Path, tmp_path: Path) -> None:
    for wnid in COLOUR:
        write_tar(root / "train" / f"{wnid}.tar", {"train_a.png": b"no image", "train_flat.png": b"no image"})
    with pytest.raises(Unreadable, match=r"n0000000./train_"):
        TileScenes(root, cache=tmp_path).read(0)


def test_real_tiles(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "tiny-imagenet"
    if not root.is_dir():
        pytest.skip("needs the real tiles")
    scenes = TileScenes(root, split="val", length=1000, cache=tmp_path)
    assert len(scenes.split.wnids) == 57
    records = [scenes.read(i) for i in range(300)]
    assert set(np.concatenate([r.labels for r in records]).tolist()) == set(range(57))
    boxes = np.concatenate([r.boxes_xyxy for r in records])
    assert boxes.min() >= 0
    assert boxes.max() <= 96
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_labelled_scene_says_what_its_first_tile_shows_and_nothing_more(root: Path) -> None:
    config = TileConfig(size=96, tiles=(2, 3))
    detection = TileScenes(root, config=config, length=40, classes="all")
    labelled = TileScenes(root, kind="classification", config=config, length=40)
    labels = set()
    for i in range(40):
        record = labelled.read(i)
        assert len(record.boxes_xyxy) == 0
        assert record.image_label is not None
        labels.add(record.image_label)
        # the colour of the label's tiles is somewhere in the image
        colour = list(COLOUR.values())[record.image_label]
        assert (np.abs(record.image.astype(int) - colour).max(axis=-1) < 60).any()
    assert labels == {0, 1, 2}  # never-boxed ones too
    assert not np.array_equal(labelled.read(0).image, detection.read(0).image)  # other scenes, of the same tiles


def test_other_classes_may_have_the_boxes(root: Path) -> None:
    scenes = TileScenes(root, boxed=["n00000002"], length=20)
    assert {int(label) for i in range(20) for label in scenes.read(i).labels} == {1}
    with pytest.raises(DatasetError, match="n9, which split"):
        TileScenes(root, boxed=["n9"])


@pytest.mark.parametrize("options", [{}, {"cluttered": True}])
def test_the_option_guards_every_source_of_tiles(root: Path, options: dict[str, bool]) -> None:
    tree = WordTree(tuple(COLOUR), tuple(COLOUR), (-1, -1, -1))
    config = DataConfig(sets=(("tiles", str(root)),), guarded=True, scenes=4, val_images=4, **options)
    data = load_data(config, TreeClasses(tree))
    plain = load_data(dataclasses.replace(config, guarded=False), TreeClasses(tree))
    for name in ("detection", "classification", "val_detection", "val_classification"):
        source, unguarded = getattr(data, name), getattr(plain, name)
        assert getattr(source, "source", source).guard is not None  # an excerpt's is that of its source
        assert getattr(unguarded, "source", unguarded).guard is None
        assert np.array_equal(source.read(0).image, unguarded.read(0).image)


def test_an_unreadable_tile_that_is_held_out_costs_itself(root: Path) -> None:
    broken, *others = COLOUR
    write_tar(root / "val" / f"{broken}.tar", {"val_a.png": b"no image", "val_flat.png": b"no image"})
    tree = WordTree(tuple(COLOUR), tuple(COLOUR), (-1, -1, -1))
    data = load_data(DataConfig(sets=(("tiles", str(root)),), val_images=20), TreeClasses(tree))
    assert data.val_detection is not None
    seen = {label for index in range(len(data.val_detection)) for label in data.val_detection.read(index).labels}
    assert seen == {tree.node(wnid) for wnid in others}


def test_the_option_guards_tiles_of_which_classes_are_left_out(root: Path) -> None:
    tree = WordTree(("n00000000", *COLOUR), ("animal", *COLOUR), (-1, 0, 0, 0))
    config = DataConfig(sets=(("tiles", str(root)),), guarded=True, left_out=NEVER)
    data = load_data(config, TreeClasses(tree))
    assert data.classification.source.guard is not None  # type: ignore[union-attr]
    assert data.val_classification.source.source.guard is not None  # type: ignore[union-attr]
