"""``yolo9000 check`` on tars, and a training's data from them: each flaw is found at its tar and member."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000.__main__ import main
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.coverage import measure_coverage
from yolo9000.experiment.data import box_shapes, load_data
from yolo9000.experiment.labels import classes_of_labels
from yolo9000.models import TreeClasses

CAT, DOG = "n02121620", "n02084071"
TREE = WordTree(("n00015388", CAT, DOG), ("animal", "cat", "dog"), (-1, 0, 0), label_maps={"zoo": {"cat": 1, "dog": 2}})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1)).save(file, "JPEG")
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def boxes(*rows: list[float], labels: list[str], **more: Any) -> bytes:
    return json.dumps({"width": 64, "height": 48, "boxes": list(rows), "labels": labels} | more).encode()


def both(number: int, name: str) -> dict[str, bytes]:
    """An image with a box and with a label."""
    stated = boxes([4, 8, 36, 40], labels=[name])
    return {f"{number}.jpg": picture(number), f"{number}.json": stated, f"{number}.cls": name.encode()}


def write_clean(root: Path) -> str:
    write(root / "zoo" / "train-0.tar", both(0, "dog") | both(1, "cat"))
    write(root / "zoo" / "train-1.tar", both(2, "dog"))
    write(root / "zoo" / "val-0.tar", both(3, "cat"))
    return f"{root}/zoo/{{train-{{0..1}},val-0}}.tar"


def check(root: Path, *words: str) -> tuple[int, set[tuple[str, str, str]], dict[str, Any]]:
    """Status, what was found (kind, tar, record), and the report."""
    save_tree(TREE, root / "tree.json", force=True)
    status = main(["check", *words, "--tree", str(root / "tree.json"), "--out", str(root / "out"), "--overwrite"])
    report = json.loads((root / "out" / "check.json").read_text())
    return status, {(each["kind"], Path(each["file"]).name, each["record"]) for each in report["findings"]}, report


def test_clean_tars_have_no_flaw(tmp_path: Path) -> None:
    url = write_clean(tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "zoo").iterdir()}
    status, found, report = check(tmp_path, "--box-tars", url, "--label-tars", url)
    assert (status, found) == (0, set()), report["findings"]
    assert {file: file.read_bytes() for file in (tmp_path / "zoo").iterdir()} == before


def test_a_held_out_tar_that_ends_too_early_is_a_finding(tmp_path: Path) -> None:
    url = write_clean(tmp_path)
    held_out = tmp_path / "zoo" / "val-0.tar"
    held_out.write_bytes(held_out.read_bytes()[:700])
    status, found, report = check(tmp_path, "--box-tars", url)
    assert (status, len(found)) == (1, 1)
    (finding,) = report["findings"]
    assert (finding["kind"], finding["split"]) == ("refused", "val")
    assert "val-0.tar" in finding["text"]
    status, found, _ = check(tmp_path, "--box-tars", f"{tmp_path}/zoo/train-*.tar")
    assert (status, found) == (0, set())  # there is none


def test_flaws_are_found_at_tar_and_member(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    write(
        tmp_path / "zoo" / "train-0.tar",
        {
            **both(0, "dog"),
            "nan.jpg": picture(10),
            "nan.json": b'{"width": 64, "height": 48, "boxes": [[1, 2, NaN, 4]], "labels": ["dog"]}',
            "nan.cls": b"dog",
            "out.jpg": picture(11),
            "out.json": boxes([4, 8, 36, 40], [90, 8, 99, 40], labels=["cat", "cat"]),
            "out.cls": b"a\nb",
            "large.jpg": picture(12),
            "large.json": boxes(labels=[], width=99),
            "large.cls": b"cat",
            "bare.jpg": picture(13),
            "lonely.json": boxes(labels=[]),
        },
    )
    write(tmp_path / "zoo" / "train-1.tar", {**both(2, "dog"), "half.jpg": picture(14)[:900], "half.cls": b"unicorn"})
    write(tmp_path / "zoo" / "val-0.tar", both(0, "dog"))
    url = f"{tmp_path}/zoo/*.tar"
    status, found, _ = check(tmp_path, "--box-tars", url)
    assert status == 1
    assert found == {
        ("wrong-record", "train-0.tar", "nan.jpg"),
        ("outside", "train-0.tar", "out.jpg: boxes[1]"),
        ("other-size", "train-0.tar", "large.jpg"),
        ("missing-annotation", "train-0.tar", "bare.jpg"),
        ("label-without-image", "train-0.tar", "lonely.json"),
        ("missing-annotation", "train-1.tar", "half.jpg"),
        ("in-both", "val-0.tar", "val-0.tar/0.jpg"),
    }
    _, found, _ = check(tmp_path, "--label-tars", url)
    assert found == {
        ("wrong-record", "train-0.tar", "out.jpg"),
        ("missing-annotation", "train-0.tar", "bare.jpg"),
        ("label-without-image", "train-0.tar", "lonely.json"),
        ("truncated", "train-1.tar", "train-1.tar/half.jpg"),
        ("no-node", "*.tar", "unicorn"),
        ("in-both", "val-0.tar", "val-0.tar/0.jpg"),
    }
    with pytest.raises(DatasetError, match=r"train-0\.tar: nan\.jpg: NaN is no number"):  # a training does what is said
        load_data(DataConfig(sets=(("box_tars", url),)), TreeClasses(TREE))


def test_both_kinds_are_the_data_of_a_run(tmp_path: Path) -> None:
    url = write_clean(tmp_path)
    sets = (("box_tars", url), ("label_tars", url))
    data = load_data(DataConfig(sets=sets), TreeClasses(TREE))
    assert data.detection is not None
    assert data.classification is not None
    assert data.val_detection is not None
    assert data.val_classification is not None
    found = [(source.name, len(source)) for source in (data.detection, data.classification)]
    assert found == [("box_tars (train)", 3), ("label_tars (train)", 3)]
    assert (len(data.val_detection), len(data.val_classification)) == (1, 1)
    assert (data.boxed, data.image_labels, data.evaluated) == ((1, 2), (1, 2), (1, 2))
    assert data.val_detection.read(0).labels.tolist() == [1]
    assert box_shapes(data.detection).tolist() == [[0.5, 0.5]] * 3
    (tmp_path / "zoo" / "classes.txt").write_text("dog\ncat\nanimal\n")
    declared = load_data(DataConfig(sets=sets[:1]), TreeClasses(TREE)).detection
    assert declared is not None
    assert declared.labelled_nodes is not None
    assert declared.labelled_nodes.tolist() == [0, 1, 2]


def test_a_tree_is_built_of_their_labels(tmp_path: Path) -> None:
    url = write_clean(tmp_path)
    write(tmp_path / "wnids" / "train-0.tar", {"1.jpg": picture(1), "1.cls": DOG.encode()})
    wnids = f"{tmp_path}/wnids/train-0.tar"
    tree = classes_of_labels(DataConfig(sets=(("box_tars", url), ("label_tars", wnids)))).tree
    assert sorted(tree.label_maps) == ["imagenet", "zoo"]
    assert sorted(tree.label_maps["zoo"]) == ["cat", "dog"]
    both = classes_of_labels(DataConfig(sets=(("box_tars", url), ("label_tars", url)))).tree
    assert sorted(both.label_maps) == ["zoo", "zoo_labels"]  # what only images have is not looked for among boxes
    out = tmp_path / "built.json"
    assert main(["tree", "build", "--box-tars", url, "--label-tars", wnids, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["wnids"] == list(tree.wnids)


def test_classes_are_left_out_of_a_classifier(tmp_path: Path) -> None:
    write(
        tmp_path / "zoo" / "train-0.tar",
        {"1.jpg": picture(1), "1.cls": DOG.encode(), "2.jpg": picture(2), "2.cls": CAT.encode()},
    )
    write(
        tmp_path / "zoo" / "val-0.tar",
        {"3.jpg": picture(3), "3.cls": CAT.encode(), "4.jpg": picture(4), "4.cls": DOG.encode()},
    )
    config = DataConfig(sets=(("label_tars", f"{tmp_path}/zoo/*.tar"),), left_out=(CAT,))
    data = load_data(
        config, TreeClasses(WordTree(("n00015388", DOG), ("animal", "dog"), (-1, 0), label_maps={"left_out": {CAT: 0}}))
    )
    assert data.classification is not None
    assert [data.classification.read(i).image_label for i in range(len(data.classification))] == [1]


def test_labels_of_tars_are_found_in_their_own_map(tmp_path: Path) -> None:
    """A mouse of the desk is a device, and one of the pets an animal, in a training as in `tree coverage`."""
    desk, pets = {"mouse": 2}, {"mouse": 3, "hamster": 4}
    tree = WordTree(
        ("n1", "n2", "n3", "n4", "n5"),
        ("device", "animal", "mouse", "mouse", "hamster"),
        (-1, -1, 0, 1, 1),
        label_maps={"desk": desk, "pets_labels": pets},
    )
    (tmp_path / "desk.csv").write_text("path,x0,y0,x1,y1,label\na.jpg,1,1,30,30,mouse\n")
    (tmp_path / "a.jpg").write_bytes(picture(0))
    images = {"0.jpg": picture(1), "0.cls": b"mouse", "1.jpg": picture(2), "1.cls": b"hamster"}
    write(tmp_path / "pets" / "train-0.tar", images)
    write(tmp_path / "pets" / "val-0.tar", images)
    sets = (("csv", str(tmp_path / "desk.csv")), ("label_tars", f"{tmp_path}/pets/{{train,val}}-0.tar"))
    data = load_data(DataConfig(sets=sets), TreeClasses(tree))
    assert data.detection is not None
    assert data.classification is not None
    assert data.detection.read(0).labels.tolist() == [2]
    assert [data.classification.read(number).image_label for number in range(2)] == [3, 4]
    assert data.image_labels == (3, 4)
    assert measure_coverage(tree, sets).images.tolist() == [0, 0, 0, 1, 1]
