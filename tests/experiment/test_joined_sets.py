"""Several sets of boxes in one training: each by its own label map, each declaring its own classes."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000 import evaluate, train
from yolo9000.datasets.joined import JoinedSource
from yolo9000.experiment.assemble import assemble
from yolo9000.experiment.config import DataConfig, Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.coverage import measure_coverage
from yolo9000.experiment.data import box_shapes, load_data
from yolo9000.experiment.evaluate import held_out_data
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.experiment.label_counts import training_counts
from yolo9000.models import TreeClasses
from yolo9000.models.config import DetectorConfig
from yolo9000.runtime.mistakes import Mistake

NAMES = ("animal", "device", "dog", "cat", "mouse", "computer mouse", "lamp")
MAPS = {
    "instances_farm": {"dog": 2, "cat": 3, "mouse": 4},
    "instances_office": {"mouse": 5, "lamp": 6},
    "voc": {"dog": 2, "cat": 3},
}
TREE = WordTree(tuple(f"n{i}" for i in range(7)), NAMES, (-1, -1, 0, 0, 0, 1, 1), label_maps=MAPS)
SMALL = ["--size", "64", "--width", "0.05", "--stride", "32", "--batch", "4", "--optimizer", "adamw", "--burn-in", "1"]
SMALL += ["--device", "cpu", "--threads", "1", "--precision", "float32", "--val-images", "2", "--priors", "2"]
SMALL += ["--classification-steps", "0", "--log-every", "1"]


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 255, (48, 64, 3), np.uint8)).save(path)


def write_coco(file: Path, categories: list[str], boxes: list[tuple[int, str]], images: int = 3) -> str:
    """An annotation file with images beside it; each box says its image and category, box i is 8 + 4 i wide."""
    ids = {name: i for i, name in enumerate(categories, 1)}
    for i in range(images):
        write_image(file.parent / f"{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(images)],
        "categories": [{"id": i, "name": name} for name, i in ids.items()],
        "annotations": [
            {"id": i, "image_id": image, "category_id": ids[name], "bbox": [4, 4, 8 + 4 * i, 16]}
            for i, (image, name) in enumerate(boxes)
        ],
    }
    file.write_text(json.dumps(content))
    return str(file)


def write_voc(root: Path, *splits: str) -> str:
    """Two images; the first has a dog 16 x 24."""
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for split in splits:
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("1\n2\n")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>16</xmax><ymax>24</ymax></bndbox>"
    for name, content in (("1", f"<object><name>dog</name><difficult>0</difficult>{box}</object>"), ("2", "")):
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{content}</annotation>")
        write_image(root / "JPEGImages" / f"{name}.jpg")
    return str(root)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Labels dogs, cats and mice; there happens to be no cat."""
    file = tmp_path_factory.mktemp("farm") / "instances_farm.json"
    return write_coco(file, ["dog", "cat", "mouse"], [(0, "dog"), (1, "mouse"), (1, "dog")])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Labels computer mice, which it calls mice, and lamps."""
    file = tmp_path_factory.mktemp("office") / "instances_office.json"
    return write_coco(file, ["mouse", "lamp"], [(0, "mouse"), (1, "lamp")], images=2)


def test_each_set_is_mapped_and_declared_by_itself(farm: str, office: str, tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "VOC", "train", "val")
    found = load_data(DataConfig(sets=(("coco", farm), ("coco", office), ("voc", voc))), TreeClasses(TREE))
    source = found.detection
    assert isinstance(source, JoinedSource)
    assert [part.name for part in source.sources] == [f"coco {farm} (train)", f"coco {office} (train)", "voc (train)"]
    assert len(source) == 3 + 2 + 2
    records = [source.read(i) for i in range(len(source))]
    # a mouse of the one is an animal, of the other a device
    assert [record.labels.tolist() for record in records] == [[2], [4, 2], [], [5], [6], [2], []]
    nodes = [None if r.labelled_nodes is None else r.labelled_nodes.tolist() for r in records]
    assert nodes == [[2, 3, 4]] * 3 + [[5, 6]] * 2 + [[2, 3]] * 2  # cats are looked for where there are none, too
    assert found.boxed == (2, 4, 5, 6)
    widths = sorted(round(float(w) * 64) for w, _ in box_shapes(source))
    assert widths == [8, 8, 12, 12, 16, 16]  # the priors are clustered from all boxes


def test_what_is_held_out_is_of_the_first_set_or_named(
    farm: str, office: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voc = write_voc(tmp_path / "VOC", "train", "val")
    found = load_data(
        DataConfig(sets=(("voc", voc), ("voc", write_voc(tmp_path / "VOC2", "train")))), TreeClasses(TREE)
    )
    assert found.val_detection is not None
    assert (found.val_detection.name, found.evaluated) == (f"voc {voc} (val)", (2, 3))
    assert load_data(DataConfig(sets=(("coco", farm), ("coco", office))), TreeClasses(TREE)).val_detection is None
    assert f"{farm} is one annotation file; name another with `val`" in caplog.text
    for sets in ((("coco", farm), ("coco", office)), (("voc", voc),)):
        found = load_data(DataConfig(val=office, sets=sets), TreeClasses(TREE))
        assert found.val_detection is not None
        assert (len(found.val_detection), found.evaluated) == (2, (5, 6))


def test_a_split_that_is_asked_for_is_evaluated_and_not_the_file_held_out(
    farm: str, office: str, tmp_path: Path
) -> None:
    voc = write_voc(tmp_path / "VOC", "train", "val", "test")

    def of(sets: tuple[tuple[str, str], ...], config: EvaluateConfig) -> DataConfig:
        trained = SimpleNamespace(content={"data": asdict(DataConfig(sets=sets, val=office))}, path="a run")
        return held_out_data(config, trained)  # type: ignore[arg-type]

    asked = of((("voc", voc),), EvaluateConfig(split="test"))
    assert (asked.val, asked.splits) == (None, ("train", "test"))
    found = load_data(asked, TreeClasses(TREE), held_out_only=True)
    assert found.val_detection is not None
    assert found.val_detection.name == "voc (test)"
    assert of((("voc", voc),), EvaluateConfig()).val == office
    said = f"`split` test: {office} is one annotation file, and all of it is evaluated"
    with pytest.raises(Mistake, match=said):
        of((("coco", farm),), EvaluateConfig(split="test"))
    with pytest.raises(Mistake, match=said):
        of((("voc", voc),), EvaluateConfig(split="test", sets=(("coco", office),)))
    labelled = (("coco", farm), ("imagenet", str(tmp_path)))
    assert of(labelled, EvaluateConfig(split="test")).val == office  # the images with a label have parts


def test_no_set_declares_what_another_ones_map_names(farm: str, tmp_path: Path) -> None:
    tree = replace(TREE, label_maps={"instances_farm": MAPS["instances_farm"]})  # the names of VOC are found there too
    voc = write_voc(tmp_path / "VOC", "train")
    sets = (("voc", voc),), (("coco", farm), ("voc", voc))
    alone, joined = (load_data(DataConfig(sets=each), TreeClasses(tree)).detection for each in sets)
    assert alone is not None
    assert alone.labelled_nodes is not None
    assert alone.labelled_nodes.tolist() == [2, 3, 4]
    assert joined is not None
    nodes = joined.read(4).labelled_nodes
    assert nodes is not None
    assert nodes.tolist() == [2]  # only dogs for certain


def test_sets_that_share_a_label_map_label_their_own_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets go by one map, which has the names of both: as a training makes it of their labels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nodes = {"okapi": 0, "hen": 1, "forklift": 2, "crate": 3}
    maps = dict.fromkeys(("voc", "boxes", "zoo"), nodes)
    tree = WordTree(("n0", "n1", "n2", "n3"), tuple(nodes), (-1, -1, -1, -1), label_maps=maps)
    sets: dict[str, list[str]] = {"voc": [], "csv": [], "box_tars": []}
    for folder, names in (("farm", ["hen", "okapi"]), ("depot", ["crate", "forklift"])):
        voc = Path(write_voc(tmp_path / folder, "train", "val"))
        for number, name in enumerate(names, 1):  # the first has a hen or a crate
            xml = (voc / "Annotations" / "1.xml").read_text().replace("dog", name)
            (voc / "Annotations" / f"{number}.xml").write_text(xml.replace(names[0], name))
        sets["voc"].append(str(voc))
        write_image(tmp_path / folder / "a.png")
        rows = [f"a.png,1,1,30,30,{name},{split}\n" for name, split in zip(names, ("train", "val"), strict=True)]
        (tmp_path / folder / "boxes.csv").write_text("path,x0,y0,x1,y1,label,split\n" + "".join(rows))
        sets["csv"].append(str(tmp_path / folder / "boxes.csv"))
        (tmp_path / folder / "zoo").mkdir()
        record = {"width": 64, "height": 48, "boxes": [[1, 1, 30, 30], [2, 2, 9, 9]], "labels": names}
        with tarfile.open(tmp_path / folder / "zoo" / "train-0.tar", "w") as tar:
            for member, data in (
                ("a.png", (tmp_path / folder / "a.png").read_bytes()),
                ("a.json", json.dumps(record).encode()),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        sets["box_tars"].append(str(tmp_path / folder / "zoo" / "train-0.tar"))
    for layout, paths in sets.items():
        config = DataConfig(sets=tuple((layout, path) for path in paths))
        joined = load_data(config, TreeClasses(tree)).detection
        assert isinstance(joined, JoinedSource)
        # the CSV of the farm boxes okapis among its held-out images alone, and labels them all the same
        assert [part.labelled_nodes.tolist() for part in joined.sources if part.labelled_nodes is not None] == [
            [0, 1],
            [2, 3],
        ], layout
    (tmp_path / "depot" / "ImageSets" / "Main" / "train.txt").write_text("1\n")
    for xml in (tmp_path / "depot" / "Annotations").iterdir():
        xml.write_text("<annotation></annotation>")  # photographs of nothing that anybody has named
    empty = load_data(DataConfig(sets=tuple(("voc", path) for path in sets["voc"])), TreeClasses(tree)).detection
    assert isinstance(empty, JoinedSource)
    assert [empty.read(number).labelled_nodes.tolist() for number in (0, 2)] == [[0, 1], []]


def test_a_class_of_difficult_boxes_alone_is_never_boxed(tmp_path: Path) -> None:
    voc = Path(write_voc(tmp_path / "VOC", "train", "val"))
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>16</xmax><ymax>24</ymax></bndbox>"
    hard = f"<object><name>cat</name><difficult>1</difficult>{box}</object>"
    (voc / "Annotations" / "2.xml").write_text(f"<annotation>{hard}</annotation>")
    sets = (("voc", str(voc)),)
    found = load_data(DataConfig(sets=sets), TreeClasses(TREE))
    assert (found.boxed, found.never_boxed, found.evaluated) == ((2,), (), (2, 3))  # the set labels cats all the same
    assert measure_coverage(TREE, sets).boxes.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert training_counts({"sets": sets}, TreeClasses(TREE)) == {2: (1, 0)}
    save_tree(TREE, tmp_path / "tree.json")
    data = DataConfig(sets=sets, tree=str(tmp_path / "tree.json"))
    net = NetConfig(detector=DetectorConfig(width=0.05), priors=1)
    config = RunConfig(
        data=data, net=net, plan=PlanConfig(classification_steps=0, fine_tuning_steps=0, joint=Joint(enabled=False))
    )
    assert assemble(config).description["taught"] == {"boxes": {2: 1}}
    (voc / "ImageSets" / "Main" / "val.txt").write_text("3\n")
    (voc / "Annotations" / "3.xml").write_text(
        f"<annotation>{hard.replace('>1</difficult', '>0</difficult')}</annotation>"
    )
    write_image(voc / "JPEGImages" / "3.jpg")
    found = load_data(DataConfig(sets=sets), TreeClasses(TREE))
    assert (found.boxed, found.never_boxed) == ((2,), (3,))  # the held-out boxes are asked for as never boxed


def test_exhaustive_sets_declare_everything(farm: str, office: str) -> None:
    source = load_data(
        DataConfig(sets=(("coco", farm), ("coco", office)), exhaustive=True), TreeClasses(TREE)
    ).detection
    assert source is not None
    assert [source.read(i).labelled_nodes for i in range(len(source))] == [None] * 5


def test_a_tree_of_both_sets_own_labels(farm: str, tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    file = write_coco(tmp_path / "instances_pets.json", ["poodle", "whippet"], [(0, "poodle")])
    found = load_data(DataConfig(sets=(("coco", file), ("voc", write_voc(tmp_path / "VOC", "train")))), None)
    dog, poodle = sorted(found.boxed, key=lambda node: found.classes.tree.names[node])
    assert (found.classes.tree.names[dog], found.classes.tree.names[poodle]) == ("dog", "poodle")
    assert found.classes.tree.parents[poodle] == dog  # a set of breeds under a set of kinds


def test_mistakes_name_the_set(farm: str, office: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_coco(tmp_path / "instances_zoo.json", ["okapi", "dog"], [(0, "okapi")])
    save_tree(TREE, tmp_path / "tree.json")
    options = ["--coco", farm, "--coco", other, "--tree", str(tmp_path / "tree.json"), *SMALL]
    assert train.main([*options, "--steps", "1", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert f"coco {other} (train) ({other}): 1 of 2 categories have no node in the label map: okapi" in said
    assert f"yolo9000 tree build --categories {farm} --categories {other} --out wordtree.json" in said
    with pytest.raises(Mistake, match=f"{office}: named twice"):
        DataConfig(sets=(("coco", office), ("coco", farm), ("coco", office)))
    with pytest.raises(Mistake, match="`coco` and `tiles`: one source of boxes is needed, not 2"):
        DataConfig(sets=(("coco", farm), ("tiles", "tiles")))


def test_the_command_joins_sets_and_goes_on(farm: str, office: str, tmp_path: Path) -> None:
    save_tree(TREE, tmp_path / "tree.json")
    options = ["--coco", farm, "--coco", office, "--val", farm, "--tree", str(tmp_path / "tree.json"), *SMALL]
    out = tmp_path / "run"
    assert train.main([*options, "--steps", "1", "--out", str(out)]) == 0
    assert train.main(["--resume", str(out), "--steps", "2", "--coco", farm, "--coco", office]) == 0
    assert evaluate.main([str(out), "--device", "cpu"]) == 0
    assert json.loads((out / "evaluation.json").read_text())["boxed"]["classes"] == 2  # dogs and mice, the farm's
