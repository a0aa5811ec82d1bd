"""tools/build_wordtree.py as a stranger runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wordtree import load_tree

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_wordtree.py"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs the tool's main in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the tool puts the repository first
    specification = importlib.util.spec_from_file_location("build_wordtree_tool", TOOL)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


def test_without_arguments_from_any_folder_it_builds_coco_and_imagenet(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(TOOL)]
    first = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "nodes            1,419 under physical_entity.n.01" in first.stdout
    assert "from coco        80 classes; 80 concepts added" in first.stdout
    assert "from imagenet1k  1,000 classes; 976 concepts added" in first.stdout
    assert "edge by hand     street_sign.n.01 < signal.n.01" in first.stdout
    assert first.stderr == ""  # no progress bar where there is no terminal
    tree = load_tree(tmp_path / "wordtree.json")
    assert {source: len(classes) for source, classes in tree.label_maps.items()} == {"coco": 80, "imagenet1k": 1000}
    assert len(TOOL.read_text(encoding="utf-8").splitlines()) <= 80


def test_it_refuses_to_overwrite(build: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("wordtree.json").write_text("mine")
    assert build("--voc") == 2
    assert capsys.readouterr().err == ("error: wordtree.json exists; name another file, or overwrite it with --force\n")
    assert Path("wordtree.json").read_text() == "mine"
    assert build("--voc", "--force") == 0
    assert len(load_tree("wordtree.json").label_maps["voc"]) == 20


def test_sources_combine(build: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("train/n02094114").mkdir(parents=True)
    Path("ids.txt").write_text("n02123045\n")
    Path("words.txt").write_text("zebra\n")
    Path("old.tree").write_text("n02084071 -1\n")
    lvis = {"categories": [{"id": 1, "name": "aerosol_can", "synset": "aerosol.n.02"}]}
    Path("lvis_v1_val.json").write_text(json.dumps(lvis))
    Path("mine.csv").write_text("pallet jack,pallet jack < truck.n.01\n")
    status = build(
        "--imagenet", "train", "--wnids", "ids.txt", "--names", "words.txt", "--darknet", "old.tree",
        "--lvis", "lvis_v1_val.json", "--categories", "mine.csv", "--out", "all.json", "--darknet-out", "all",
    )  # fmt: skip
    assert status == 0
    tree = load_tree("all.json")
    assert list(tree.label_maps) == ["imagenet", "ids", "words", "old", "lvis", "mine"]
    assert tree.is_ancestor("dog", "Norfolk terrier")
    assert Path("all.mine.map").read_text() == f"{tree.node('pallet jack')}\n"
    assert load_tree("all.tree").wnids == tree.wnids
    assert "from mine" in capsys.readouterr().out


def test_all_nouns_are_nodes_and_data_sets_keep_their_names(
    build: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text("name,concept\nLuchs,lynx.n.02\nBüroluchs,office lynx < lynx.n.02\n")
    assert build("--categories", "mine.csv", "--all-nouns", "--root", "wildcat.n.03", "--out", "cats.json") == 0
    out = capsys.readouterr().out
    assert "from mine       2 classes; 2 concepts added" in out
    assert "from all_nouns  18 classes; 17 concepts added" in out
    tree = load_tree("cats.json")
    lynxes = ["bobcat", "Canada lynx", "caracal", "common lynx", "spotted lynx"]
    others = [
        "cougar", "European wildcat", "jaguarundi", "jungle cat", "kaffir cat", "leopard cat", "lynx", "manul",
        "margay", "ocelot", "sand cat", "serval", "tiger cat",
    ]  # fmt: skip
    assert sorted(tree.names) == sorted([*others, *lynxes, "office lynx"])
    assert tree.label_maps == {"mine": {"Luchs": tree.node("lynx.n.02"), "Büroluchs": tree.node("office lynx")}}
    moved = ["--all-nouns", "--root", "wildcat.n.03", "--extra-edge", "lynx.n.02", "dog.n.01", "--out", "moved.json"]
    assert build(*moved) == 0
    assert sorted(load_tree("moved.json").names) == sorted(set(others) - {"lynx"})


def test_what_is_unresolved_is_listed_and_left_for_the_user_to_fill_in(
    build: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text("name,concept\ncrane,\nforklift,forklift.n.01\nlift,nosuch.n.01\n")
    assert build("--categories", "mine.csv", "--out", "mine.json") == 2
    error = capsys.readouterr().err
    assert error.startswith("mine.categories.csv: fill in, then name it with --categories\nerror: 2 of 3 concepts")
    assert "mine: 'crane' has 5 senses under the root" in error
    assert "mine, class 'lift': 'nosuch.n.01' is not in WordNet 3.0" in error
    assert not Path("mine.json").exists()
    filled = (
        Path("mine.categories.csv").read_text().replace("crane,,", "crane,crane.n.04,").replace("lift,,", "lift,-,")
    )
    Path("mine.categories.csv").write_text(filled)
    assert build("--categories", "mine.categories.csv", "--out", "mine.json") == 0
    assert list(load_tree("mine.json").label_maps["mine"]) == ["crane", "forklift"]


def test_options_reach_the_builder(build: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("words.txt").write_text("crane\nhappiness\ntomato.n.01\n")
    arguments = ["--names", "words.txt", "--first-sense", "--extra-edge", "tomato.n.01", "person.n.01"]
    assert build(*arguments, "--skip-unreachable", "--rest", "all", "--no-contract", "--compare", "coco") == 0
    out = capsys.readouterr().out
    assert "first sense     crane = crane.n.01" in out
    assert "skipped         happiness.n.01 (n13987423)" in out
    assert "edge by hand    tomato.n.01 < person.n.01" in out
    assert "of 122 parents agree" in out
    tree = load_tree("wordtree.json")
    assert (tree.rest, tree.is_ancestor("person.n.01", "tomato.n.01")) == ("all", True)
    assert build(*arguments, "--root", "entity.n.01", "--lift", "--out", "b.json") == 0
    assert load_tree("b.json").root == "entity.n.01"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "nowhere/a.json"], "there is no folder nowhere"),
        (["--out", "a.tree", "--voc"], "ends in .json or .json.gz; --darknet-out STEM writes .tree, .names and .map"),
        (["--imagenet", "nowhere"], "there is no such folder"),
        (["--wordnet", "."], "looked for data.noun and index.noun"),
        (["--compare", "nosuch"], "no such file; the bundled trees are"),
        (["--root", "nosuch.n.01", "--all-nouns"], "'nosuch.n.01' (the root) is no synset"),
        (["--root", "airedale.n.01", "--all-nouns"], "a tree needs at least one concept"),
        (["--root", "animal.n.01", "--voc"], "14 of 20 concepts have no place in a tree under animal.n.01"),
    ],
)
def test_mistakes_end_in_one_line_and_no_traceback(
    build: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert build(*arguments) == 2
    assert message in capsys.readouterr().err


def test_on_the_real_tiles(build: Callable[..., int], shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build("--imagenet", shared / "data" / "tiny-imagenet" / "train", "--coco") == 0
    assert "from imagenet   57 classes" in capsys.readouterr().out
