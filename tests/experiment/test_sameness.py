"""What is compared when a run goes on: each difference is named, and what is the same is not."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from wordtree import WordTree, save_tree
from yolo9000.datasets.box_index import BoxIndex
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.packed_imagenet import PackedImageNet, write_pack
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.data import Data
from yolo9000.experiment.left_out import shown
from yolo9000.experiment.sameness import fingerprints, other_configuration, other_data, other_tree
from yolo9000.models import FlatClasses

TREE = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))


def test_a_tree_that_was_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "tree.json"
    save_tree(TREE, file)
    assert other_tree(TREE, str(file)) == []
    save_tree(WordTree(("a", "b"), ("animal", "dog"), (-1, 0)), file, force=True)
    assert other_tree(TREE, str(file)) == [f"`tree` {file}: 2 nodes (the checkpoint has 3)"]
    save_tree(WordTree(("a", "b", "d"), ("animal", "dog", "cow"), (-1, 0, 0)), file, force=True)
    assert other_tree(TREE, str(file)) == [f"`tree` {file}: node 2 is cow (the checkpoint has cat)"]
    file.unlink()
    assert other_tree(TREE, str(file)) == []  # the checkpoint has its own


def test_a_configuration_that_was_changed() -> None:
    before = RunConfig()
    saved = {"config": dataclasses.asdict(before)}
    may_change = {"train.keep": 9, "machine.workers": 3, "plan.steps": 7}
    assert other_configuration(saved, override(before, may_change)) == []
    other = override(before, {"optimiser.momentum": 0.5, "data.sets": (("coco", "here"),)})
    assert other_configuration(saved, other) == [
        "`sets` (('coco', 'here'),) (the checkpoint has ())",
        "`momentum` 0.5 (the checkpoint has 0.9)",
    ]
    assert other_configuration({}, other) == []  # an older checkpoint says nothing
    assert "unknown key" in other_configuration({"config": {"another": 1}}, before)[0]


class Photographs:
    kind, labelled_nodes = "detection", None

    def __init__(self, **changes: Any) -> None:
        self.name = changes.pop("name", "photographs")
        index = BoxIndex(
            folder=Path("."),
            names=NameTable(["a.jpg", "b.jpg"]),
            sizes=np.full((2, 2), 64, np.int32),
            offsets=np.array([0, 1, 2]),
            boxes_xyxy=np.array([[0, 0, 8, 8], [4, 4, 9, 9]], np.float32),
            labels=np.array([1, 0]),
            ignore=np.zeros(2, np.bool_),
            dropped={},
        )
        self.index = dataclasses.replace(index, **changes)
        self.labels = self.index.labels

    def __len__(self) -> int:
        return len(self.index.names)


def of(source: Any) -> Data:
    rest: dict[str, Any] = dict.fromkeys(("classification", "val_detection", "val_classification"))
    labels = dict.fromkeys(("boxed", "never_boxed", "image_labels", "evaluated"), ())
    return Data(classes=FlatClasses(2, "softmax"), detection=source, **rest, **labels)


def test_data_that_were_changed() -> None:
    saved = {"fingerprints": fingerprints(of(Photographs()))}
    assert other_data(saved, of(Photographs())) == []
    said = ["photographs (boxes): 2 images as before, but other names, boxes or labels"]
    for change in (
        {"names": NameTable(["a.jpg", "c.jpg"])},
        {"boxes_xyxy": np.array([[0, 0, 8, 8], [4, 4, 9, 8]], np.float32)},
        {"labels": np.array([1, 1])},
        {"ignore": np.array([False, True])},
    ):
        assert other_data(saved, of(Photographs(**change))) == said
    fewer = Photographs(names=NameTable(["a.jpg"]))
    assert other_data(saved, of(fewer)) == ["photographs (boxes): 1 images (the checkpoint has 2)"]
    assert other_data(saved, of(Photographs(name="paintings"))) == [
        "photographs (boxes): not there any more",
        "paintings (boxes): it was not there",
    ]
    assert other_data({}, of(fewer)) == []


def test_images_with_a_label_that_were_exchanged(tmp_path: Path) -> None:
    """Of a folder, of a pack, and of what `left_out` leaves of either; earlier versions hashed less of the last two."""
    nodes = {"cat": 0, "dog": 1, "fox": 1}

    def sources(version: str, *images: str) -> dict[str, Any]:
        for image in images:
            file = tmp_path / version / image
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"no pixel of it is read")
        folder = ImageNetSource(tmp_path / version, nodes, split=None)
        write_pack(folder, tmp_path / f"{version}.h5")
        pack = PackedImageNet(tmp_path / f"{version}.h5", nodes)
        assert list(pack.names) == [pack.key(number) for number in range(len(pack))] == list(images)
        left = {f"{kind} left": shown(source, ["cat"]) for kind, source in (("folder", folder), ("pack", pack))}
        return {"folder": folder, "pack": pack, **left}

    def labelled(source: Any) -> Data:
        return dataclasses.replace(of(None), classification=source)

    before = sources("before", "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")
    saved = {kind: {"fingerprints": fingerprints(labelled(source))} for kind, source in before.items()}
    said = "imagenet (image labels): {} images as before, but other names, boxes or labels"

    def differ(now: dict[str, Any]) -> list[str]:
        """The sources whose change is noticed."""
        found = {kind: other_data(saved[kind], labelled(source)) for kind, source in now.items()}
        assert all(each in ([], [said.format(len(now[kind]))]) for kind, each in found.items())
        return [kind for kind, each in found.items() if each]

    assert differ(before) == []
    assert differ(sources("other-dog", "cat/1.jpg", "dog/1.jpg", "dog/3.jpg")) == list(before)
    assert differ(sources("other-cat", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg")) == ["folder", "pack"]
    nodes["dog"] = 2
    assert differ(sources("other-label", "cat/1.jpg", "dog/1.jpg", "dog/2.jpg")) == list(before)

    nothing = hashlib.sha256().hexdigest()
    labels_alone = hashlib.sha256(b"int64 (3,);" + np.array([0, 1, 1]).tobytes()).hexdigest()
    for kind, sha256 in (("pack", labels_alone), ("pack left", nothing), ("folder left", nothing)):
        content = {"imagenet (image labels)": {"images": len(before[kind]), "sha256": sha256}}
        assert saved[kind] != {"fingerprints": content}
        assert other_data({"fingerprints": content}, labelled(before[kind])) == []  # the run goes on
    content = {"imagenet (image labels)": {"images": 3, "sha256": nothing}}
    assert other_data({"fingerprints": content}, labelled(before["folder"])) == [said.format(3)]
