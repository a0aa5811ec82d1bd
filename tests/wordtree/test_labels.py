"""Classes of data sets: the tables made by hand, and files and folders right and wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from wordtree import load_tree
from wordtree.concepts import ConceptError, resolve_concepts
from wordtree.labels import (
    LabelError,
    category_file,
    coco_classes,
    imagenet1k_classes,
    imagenet_folder,
    lvis_file,
    noun_file,
    voc_classes,
    wnid_file,
)
from wordtree.sources import (
    LabelSource,
    build_from_labels,
    categories,
    coco,
    darknet,
    imagenet,
    resolve_labels,
    voc,
    write_templates,
    write_tree,
)
from wordtree.wordnet import open_wordnet

DATA = Path(__file__).resolve().parents[2] / "wordtree" / "data"


# ------------------------------------------------------------------------------------------------ tables made by hand


@pytest.mark.parametrize("table", ["coco", "voc"])
def test_synset_and_wnid_of_every_row_are_one_thing_below_the_root(table: str) -> None:
    with (DATA / f"{table}.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == {"coco": 80, "voc": 20}[table]
    for row in rows:
        assert open_wordnet().synset(row["wnid"]) == row["synset"]
    resolution = resolve_concepts(row["synset"] for row in rows)
    assert not resolution.problems
    assert list(resolution.ids) == [row["wnid"] for row in rows]


def test_tables_are_in_the_order_of_the_class_indexes() -> None:
    assert list(coco_classes())[:3] == ["person", "bicycle", "car"]
    assert list(coco_classes())[-2:] == ["hair drier", "toothbrush"]
    assert list(voc_classes())[:2] == ["aeroplane", "bicycle"]
    assert list(voc_classes())[-1] == "tvmonitor"
    assert next(iter(imagenet1k_classes())) == "n02119789"  # kit fox


def test_the_things_meant_are_those_in_the_pictures() -> None:
    meant = {name: open_wordnet().synset(wnid) for name, wnid in coco_classes().items()}
    assert meant["mouse"] == "mouse.n.04"
    assert meant["orange"] == "orange.n.01"
    assert meant["kite"] == "kite.n.03"  # the bird comes first
    assert meant["tie"] == "necktie.n.01"
    assert meant["bowl"] == "bowl.n.03"
    assert meant["cow"] == "cattle.n.01"


def test_coco_and_the_original_maps_as_they_were_given(shared: Path) -> None:
    with (shared / "tree" / "coco80_synsets.csv").open(encoding="utf-8", newline="") as lines:
        assert coco_classes() == {row["name"]: row["wnid"] for row in csv.DictReader(lines)}
    tree = load_tree("yolo9000")
    for source, file in (("coco", "coco9k.map"), ("imagenet_det", "inet9k.map")):
        nodes = [int(line) for line in (shared / "tree" / file).read_text().split()]
        assert list(tree.label_maps[source].values()) == nodes
    lines = (shared / "tree" / "9k.tree").read_text().split("\n")
    pairs = zip(tree.wnids, tree.parents, strict=True)
    assert [f"{wnid} {parent}" for wnid, parent in pairs] == [line.strip() for line in lines if line.strip()]


def test_bundled_trees() -> None:
    original = load_tree("yolo9000")
    assert (len(original), original.rest, original.root) == (9_418, "none", "physical_entity.n.01")
    assert original.names[original.label_maps["coco"]["airplane"]] == "airplane"
    assert len(original.label_maps["imagenet_det"]) == 200
    for name, source, count in (("imagenet1k", "imagenet1k", 1000), ("coco", "coco", 80)):
        tree = load_tree(name)
        assert len(tree.label_maps[source]) == count
        assert tree.rest == "only_child"
    imagenet = load_tree("imagenet1k")
    assert all(imagenet.wnids[node] == wnid for wnid, node in imagenet.label_maps["imagenet1k"].items())
    assert load_tree("coco") == build_from_labels(resolve_labels([coco()]))


# --------------------------------------------------------------------------------------------------- ImageNet folders


def test_wnids_of_tars_and_folders(tmp_path: Path) -> None:
    (tmp_path / "n02084071.tar").touch()
    (tmp_path / "n01440764").mkdir()
    (tmp_path / "README").touch()
    assert imagenet_folder(tmp_path) == {"n01440764": "n01440764", "n02084071": "n02084071"}


def test_folders_and_tars_may_be_named_by_nouns(tmp_path: Path) -> None:
    for place in ("n02084071", "kangaroo", "polar bear/images", "notes", ".cache"):
        (tmp_path / place).mkdir(parents=True)
    for picture in ("kangaroo/1.JPG", "polar bear/images/2.png", "notes/read.txt", ".cache/3.png"):
        (tmp_path / picture).touch()
    for tar in ("wombat.tar", "ILSVRC2012_img_train.tar"):
        (tmp_path / tar).touch()
    found = imagenet_folder(tmp_path)
    assert found == {name: name for name in ("polar bear", "kangaroo", "n02084071", "wombat")}
    tree = build_from_labels(resolve_labels([imagenet(tmp_path)]))
    assert {name: tree.names[node] for name, node in tree.label_maps["imagenet"].items()} == {
        "polar bear": "ice bear",
        "kangaroo": "kangaroo",
        "n02084071": "dog",
        "wombat": "wombat",
    }


def test_a_wrong_folder_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="it is empty"):
        imagenet_folder(tmp_path)
    with pytest.raises(LabelError, match="there is no such folder"):
        imagenet_folder(tmp_path / "nowhere")
    one_up = tmp_path / "imagenet"
    (one_up / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(LabelError, match=r"one level down, in train/: name .*imagenet/train"):
        imagenet_folder(one_up)
    with pytest.raises(LabelError, match=r"two levels down: name .*imagenet/train$"):
        imagenet_folder(tmp_path)
    with pytest.raises(LabelError, match=r"the folder of one class: name .*train"):
        imagenet_folder(one_up / "train" / "n01440764")
    outer = tmp_path / "outer"
    outer.mkdir()
    (outer / "ILSVRC2012_img_train.tar").touch()
    with pytest.raises(LabelError, match="this is a file: name the folder"):
        imagenet_folder(outer / "ILSVRC2012_img_train.tar")
    with pytest.raises(LabelError, match=r"ILSVRC2012_img_train.tar may be a tar of tars"):
        imagenet_folder(outer)
    flat = tmp_path / "val"
    flat.mkdir()
    (flat / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(LabelError, match="pictures that no folder assigns to a class"):
        imagenet_folder(flat)


# -------------------------------------------------------------------------------------------------------------- files


def written(folder: Path, name: str, text: str) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_wnid_files(tmp_path: Path) -> None:
    assert wnid_file(written(tmp_path, "a.txt", "\ufeffn02084071 12\r\n\r\nn02121620, cat\r\n")) == {
        "n02084071": "n02084071",
        "n02121620": "n02121620",
    }
    with pytest.raises(LabelError, match=r"b.txt:2: expected a wnid such as n02958343, found 'dog'"):
        wnid_file(written(tmp_path, "b.txt", "n02084071\ndog\n"))
    with pytest.raises(LabelError, match="c.txt: the file is empty"):
        wnid_file(written(tmp_path, "c.txt", "\n"))
    with pytest.raises(LabelError, match="no such file"):
        noun_file(tmp_path / "nowhere.txt")
    with pytest.raises(LabelError, match="is a folder"):
        noun_file(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(LabelError, match="not UTF-8"):
        noun_file(tmp_path / "latin.txt")


def test_categories_from_csv(tmp_path: Path) -> None:
    text = 'concept,name,price\ncar.n.01,Auto,1\n,zebra,2\n-,"nothing, really",3\npallet jack < truck.n.01,Hubwagen,4\n'
    expected = {"Auto": "car.n.01", "zebra": "zebra", "Hubwagen": "pallet jack < truck.n.01"}
    assert category_file(written(tmp_path, "a.csv", text)) == expected
    assert category_file(written(tmp_path, "b.csv", "Auto,car.n.01\nzebra\n")) == {"Auto": "car.n.01", "zebra": "zebra"}
    with pytest.raises(LabelError, match=r"c.csv:2: two categories are called 'Auto'"):
        category_file(written(tmp_path, "c.csv", "Auto,car.n.01\nAuto,truck.n.01\n"))
    with pytest.raises(LabelError, match=r"d.csv:2: expected 'name,concept'"):
        category_file(written(tmp_path, "d.csv", "Auto,car.n.01\n,truck.n.01\n"))
    with pytest.raises(LabelError, match="the file is empty"):
        category_file(written(tmp_path, "e.csv", "\n"))


def test_a_class_may_begin_with_a_number_sign(tmp_path: Path) -> None:
    text = "name,concept\n#5 screw,screw.n.04\n#hash\nkangaroo,\n"
    expected = {"#5 screw": "screw.n.04", "#hash": "#hash", "kangaroo": "kangaroo"}
    assert category_file(written(tmp_path, "a.csv", text)) == expected


def coco_json(folder: Path, categories: list[dict[str, object]], name: str = "a.json") -> Path:
    """Write a COCO JSON."""
    return written(folder, name, json.dumps({"images": [], "categories": categories}))


def test_categories_from_json_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    both = [{"id": 9, "name": "zebra"}, {"id": 2, "name": "Gabelstapler", "concept": "forklift.n.01"}]
    found = category_file(coco_json(tmp_path, both))
    assert list(found.items()) == [("Gabelstapler", "forklift.n.01"), ("zebra", "zebra")]


def test_names_that_are_all_cocos_mean_what_coco_means(tmp_path: Path) -> None:
    assert category_file(coco_json(tmp_path, [{"id": 1, "name": "mouse"}])) == {"mouse": "n03793489"}
    both = [{"id": 1, "name": "mouse"}, {"id": 2, "name": "hedgehog"}]
    assert category_file(coco_json(tmp_path, both)) == {"mouse": "mouse", "hedgehog": "hedgehog"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [], "annotations": []}', 'looked for a list "categories".*found the keys images, annotations'),
        ("[1, 2]", "found a list"),
        ('{"categories": []}', "looked for a list"),
        ('{"categories": [\n1,]}', r"a.json:2: not JSON"),
        ('{"categories": [{"id": 1}]}', r'categories\[0\] has no "name"'),
        ('{"categories": [{"name": "a"}]}', r"categories\[0\] \('a'\) has no \"id\""),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}', "two categories are called 'a'"),
    ],
)
def test_a_json_that_is_not_cocos_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        category_file(written(tmp_path, "a.json", text))


def test_a_json_may_state_the_wnid_of_a_category(tmp_path: Path) -> None:
    both = [{"id": 1, "name": "pottedplant", "wnid": "n03991062"}, {"id": 2, "name": "mouse", "wnid": "n02330245"}]
    assert category_file(coco_json(tmp_path, both)) == {"pottedplant": "n03991062", "mouse": "n02330245"}
    one = [{"id": 1, "name": "mouse", "wnid": "n02330245", "concept": "mouse.n.04"}]
    assert category_file(coco_json(tmp_path, one)) == {"mouse": "mouse.n.04"}


def test_concepts_in_a_json(tmp_path: Path) -> None:
    given = {"Reh": "roe_deer.n.01", "zebra": None, "okapi": "", "crowd": "-", "jack": "pallet jack < truck.n.01"}
    classes = [{"id": k, "name": name, "concept": concept} for k, (name, concept) in enumerate(given.items())]
    expected = {"Reh": "roe_deer.n.01", "zebra": "zebra", "okapi": "okapi", "jack": "pallet jack < truck.n.01"}
    assert category_file(coco_json(tmp_path, classes)) == expected
    # Only what is said leaves a category out: one may be called so.
    dash = [{"id": 1, "name": "-"}, {"id": 2, "name": "crowd", "wnid": "-"}, {"id": 3, "name": "zebra"}]
    assert category_file(coco_json(tmp_path, dash)) == {"-": "-", "zebra": "zebra"}
    # What is said goes before what COCO means.
    mouse = [{"id": 1, "name": "mouse", "concept": "mouse.n.01"}]
    assert category_file(coco_json(tmp_path, mouse)) == {"mouse": "mouse.n.01"}
    with pytest.raises(LabelError, match="category 'mouse': \"concept\" must be text, not 5"):
        category_file(coco_json(tmp_path, [{"id": 1, "name": "mouse", "concept": 5}]))
    with pytest.raises(LabelError, match=r"categories\[0\]: remove the blanks around its name ' mouse'"):
        category_file(coco_json(tmp_path, [{"id": 1, "name": " mouse"}]))


def test_a_csv_without_commas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LabelError, match=r"s\.csv:1: expected 'name,concept', found 'name;concept': save it with commas"
    ):
        category_file(written(tmp_path, "s.csv", "name;concept\nforklift;n03384352\n"))


def test_lvis_names_synsets(tmp_path: Path) -> None:
    classes = [{"id": 1, "name": "aerosol_can", "synset": "aerosol.n.02"}, {"id": 2, "name": "x", "synset": "x.n.07"}]
    assert lvis_file(coco_json(tmp_path, classes)) == {"aerosol_can": "aerosol.n.02", "x": "x.n.07"}
    with pytest.raises(LabelError, match="category 'car' has no \"synset\", which LVIS has"):
        lvis_file(coco_json(tmp_path, [{"id": 1, "name": "car"}]))


# ------------------------------------------------------------------------------------------------------ several sources


def test_maps_of_all_sources_are_in_the_tree_in_their_order() -> None:
    mine = LabelSource("mine", {"Wagen": "car.n.01", "Hubwagen": "pallet jack < truck.n.01", "Auto": "car.n.01"})
    tree = build_from_labels(resolve_labels([voc(), mine]))
    assert list(tree.label_maps) == ["voc", "mine"]
    assert list(tree.label_maps["voc"]) == list(voc_classes())
    assert list(tree.label_maps["mine"]) == ["Wagen", "Hubwagen", "Auto"]
    assert tree.label_maps["mine"]["Auto"] == tree.label_maps["voc"]["car"] == tree.node("n02958343")
    assert tree.notes["sources"] == {
        "voc": {"classes": 20, "new_concepts": 20},
        "mine": {"classes": 3, "new_concepts": 1},
    }


def test_two_sources_of_one_name_are_joined_unless_they_disagree() -> None:
    first, second = LabelSource("imagenet", {"a": "car.n.01"}), LabelSource("imagenet", {"b": "dog.n.01"})
    assert build_from_labels(resolve_labels([first, second])).label_maps["imagenet"].keys() == {"a", "b"}
    with pytest.raises(LabelError, match="two sources are called 'imagenet' and differ in class 'a'"):
        resolve_labels([first, LabelSource("imagenet", {"a": "dog.n.01"})])


def test_what_cannot_be_resolved_goes_into_a_template_that_comes_back_filled_in(tmp_path: Path) -> None:
    names = [{"id": k, "name": name} for k, name in enumerate(["zebra", "crane", "gizmotron", "love"])]
    own = categories(coco_json(tmp_path, names, "site.json"))
    resolved = resolve_labels([coco(), own])
    assert write_templates(resolved, tmp_path) == {tmp_path / "site.categories.csv": True}
    with pytest.raises(ConceptError, match=r"3 of 84 concepts.*\n  site: 'crane' has 5 senses"):
        build_from_labels(resolved)
    text = (tmp_path / "site.categories.csv").read_text(encoding="utf-8")
    lines = text.split("\n")
    assert lines[0] == "name,concept,note"
    assert lines[1] == "zebra,zebra.n.01,"
    assert lines[2].startswith("crane,,crane: has 5 senses")
    assert "crane.n.04 (n03126707): device > lifting device > crane" in lines[2]
    # Somebody's work is not overwritten.
    assert write_templates(resolved, tmp_path) == {tmp_path / "site.categories.csv": False}
    filled = text.replace("crane,,", "crane,crane.n.04,").replace("gizmotron,,", "gizmotron,gizmotron < device.n.01,")
    (tmp_path / "site.categories.csv").write_text(filled.replace("love,,", "love,-,"), encoding="utf-8")
    tree = build_from_labels(resolve_labels([coco(), categories(tmp_path / "site.categories.csv")]))
    assert list(tree.label_maps["site"]) == ["zebra", "crane", "gizmotron"]
    assert tree.wnids[tree.label_maps["site"]["gizmotron"]] == "x-gizmotron"
    # Beside the file it was made for, it fills the gaps.
    both = resolve_labels(
        [LabelSource("site", {"zebra": "zebra", "crane": "crane"}, True), categories(tmp_path / "site.categories.csv")]
    )
    assert not both.resolution.problems


def test_a_template_goes_first_wherever_it_stands_and_files_of_one_name_do_not_overrule_each_other() -> None:
    template = LabelSource("site", {"crane": "crane.n.04"}, fillable=True, template=True)
    own = LabelSource("site", {"zebra": "zebra", "crane": "crane"}, fillable=True)
    for pair in ([own, template], [template, own]):
        tree = build_from_labels(resolve_labels(pair))
        assert tree.synsets[tree.label_maps["site"]["crane"]] == "crane.n.04"
    with pytest.raises(LabelError, match="two sources are called 'site' and differ in class 'crane'"):
        resolve_labels([own, LabelSource("site", {"crane": "crane.n.05"}, fillable=True)])


def test_what_a_template_leaves_out_stays_out_beside_the_file_it_was_made_for(tmp_path: Path) -> None:
    own = LabelSource("nouns", {"kangaroo": "kangaroo", "crane": "crane", "zebra": "zebra"}, fillable=True)
    template = categories(written(tmp_path, "nouns.categories.csv", "name,concept\nkangaroo,\ncrane,-\nzebra,-\n"))
    for pair in ([own, template], [template, own], [own, template, own]):
        tree = build_from_labels(resolve_labels(pair))
        assert list(tree.label_maps["nouns"]) == ["kangaroo"]
        assert tree.notes["sources"]["nouns"]["classes"] == 1
    # What the template states is not left out by the file that it was made for.
    rows = categories(written(tmp_path, "nouns.csv", "name,concept\nkangaroo,-\n"))
    for pair in ([rows, template], [template, rows]):
        assert list(build_from_labels(resolve_labels(pair)).label_maps["nouns"]) == ["kangaroo"]
    with pytest.raises(LabelError, match="two sources are called 'nouns' and differ in class 'kangaroo'"):
        resolve_labels([own, rows])


def test_a_concept_of_several_sources_is_counted_once_and_said_of_each() -> None:
    pair = [LabelSource("a", {"crane": "crane"}), LabelSource("b", {"crane": "crane", "Kran": "crane"})]
    with pytest.raises(ConceptError) as caught:
        build_from_labels(resolve_labels(pair))
    assert str(caught.value).startswith("1 of 1 concepts have no place")
    assert [problem.where for problem in caught.value.problems] == ["a", "b", "b, class 'Kran'"]


def test_first_sense_accepts_and_reports() -> None:
    nouns = LabelSource("mine", {"crane": "crane", "zebra": "zebra"}, fillable=True)
    tree = build_from_labels(resolve_labels([nouns], first_sense=True))
    assert tree.notes["first_senses"] == {"crane": "crane.n.01"}
    assert tree.synsets[tree.label_maps["mine"]["crane"]] == "crane.n.01"


def test_darknets_files(tmp_path: Path) -> None:
    tree = build_from_labels(resolve_labels([LabelSource("pets", {"Hund": "dog.n.01", "Katze": "cat.n.01"})]))
    write_tree(tree, tmp_path / "pets.json", tmp_path / "pets")
    assert load_tree(tmp_path / "pets.json") == tree
    assert (tmp_path / "pets.tree").read_text() == "n02075296 -1\nn02121620 0\nn02084071 0\n"
    assert (tmp_path / "pets.names").read_text() == "carnivore\ncat\ndog\n"
    assert (tmp_path / "pets.pets.map").read_text() == "2\n1\n"


def test_new_concepts_come_back_from_darknets_files(tmp_path: Path) -> None:
    own = {"jack": "pallet jack < truck.n.01", "e": "electric jack < pallet jack", "Ö": "Öltank < tank.n.02"}
    tree = build_from_labels(resolve_labels([LabelSource("own", own)]))
    write_tree(tree, tmp_path / "own.json", tmp_path / "own")
    again = build_from_labels(resolve_labels([darknet(tmp_path / "own.tree")]))
    assert (again.wnids, again.names, again.parents) == (tree.wnids, tree.names, tree.parents)
    (tmp_path / "own.names").unlink()
    with pytest.raises(LabelError, match=r"own\.tree: node \d: 'x-.*' is no wnid such as n02958343; .*\.names file"):
        darknet(tmp_path / "own.tree")
    with pytest.raises(LabelError, match=r"ids\.txt: a darknet tree ends in \.tree; `wnids` reads"):
        darknet(tmp_path / "ids.txt")


def test_if_one_file_cannot_be_written_none_is(tmp_path: Path) -> None:
    tree = build_from_labels(resolve_labels([LabelSource("pets", {"Hund": "dog.n.01"})]))
    (tmp_path / "pets.pets.map").write_text("mine")
    with pytest.raises(FileExistsError, match=r"pets\.pets\.map exists"):
        write_tree(tree, tmp_path / "pets.json", tmp_path / "pets")
    assert [path.name for path in tmp_path.iterdir()] == ["pets.pets.map"]
    write_tree(tree, tmp_path / "pets.json", tmp_path / "pets", force=True)
    assert (tmp_path / "pets.pets.map").read_text() == "0\n"


def test_a_category_named_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,concept\ncar,car.n.01\n\ncar,car.n.02\n")
    with pytest.raises(LabelError, match=r"x\.csv:4: two categories are called 'car', the first in .*x\.csv:2"):
        category_file(tmp_path / "x.csv")
