"""Tree files: what goes out comes back; what is broken is refused by file and line."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import TreeError, TreeFormatError, WordTree, load_tree, save_tree
from wordtree.exports import to_dot, to_networkx
from wordtree.formats import BUNDLED, read_map, write_labels, write_map, write_names

TREE = WordTree(
    wnids=("n00000001", "n00000002", "my:pallet-jack"),
    names=("truck", "rock", "pallet jack"),
    parents=(-1, -1, 0),
    synsets=("truck.n.01", None, None),
    lemmas=(("truck", "motortruck"), (), ("pallet jack",)),
    rest="only_child",
    label_maps={"warehouse": {"Transpalette à main": 2, "LKW": 0}},
    root="physical_entity.n.01",
    notes={"skipped": ["x"], "lift": False},
)

words = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
characters = st.characters(exclude_categories=("Cc", "Cs"))
lines = st.text(characters, max_size=12).map(str.strip)
lines = lines.filter(lambda text: len(text.splitlines()) == 1 and "\ufeff" not in text)


@st.composite
def trees(draw: st.DrawFn) -> WordTree:
    """Any tree: level by level, each node has a run of children."""
    parents: list[int] = [-1] * draw(st.integers(1, 4))
    for node in range(draw(st.integers(0, 8))):
        if node < len(parents):
            parents += [node] * draw(st.integers(0, 3))
    count = len(parents)
    wnids = draw(st.lists(words, min_size=count, max_size=count, unique=True))
    return WordTree(
        wnids=tuple(wnids),
        names=tuple(draw(st.lists(lines, min_size=count, max_size=count))),
        parents=tuple(parents),
        lemmas=tuple(tuple(draw(st.lists(lines, max_size=2))) for _ in range(count)),
        rest=draw(st.sampled_from(["none", "only_child", "all"])),
        label_maps={"source": draw(st.dictionaries(lines, st.integers(0, count - 1), max_size=3))},
        root=draw(st.none() | lines),
        notes={"note": draw(st.none() | st.text(max_size=3).filter(lambda text: text.isprintable()))},
    )


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_json_keeps_everything(tmp_path: Path, suffix: str) -> None:
    save_tree(TREE, tmp_path / f"t{suffix}")
    loaded = load_tree(tmp_path / f"t{suffix}")
    assert loaded == TREE
    assert list(loaded.label_maps["warehouse"]) == ["Transpalette à main", "LKW"]


def test_json_is_the_same_file_every_time(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        save_tree(TREE, tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_darknet_files(tmp_path: Path) -> None:
    save_tree(TREE, tmp_path / "t.tree")
    assert (tmp_path / "t.tree").read_text() == "n00000001 -1\nn00000002 -1\nmy:pallet-jack 0\n"
    assert (tmp_path / "t.names").read_text() == "truck\nrock\npallet jack\n"
    write_labels(TREE, tmp_path / "t.labels")
    assert (tmp_path / "t.labels").read_text() == "n00000001\nn00000002\nmy:pallet-jack\n"
    loaded = load_tree(tmp_path / "t.tree")
    assert (loaded.wnids, loaded.names, loaded.parents) == (TREE.wnids, TREE.names, TREE.parents)
    assert loaded.rest == "none"
    assert sorted(os.listdir(tmp_path)) == ["t.labels", "t.names", "t.tree"]


def test_without_names_the_ids_are_shown(tmp_path: Path) -> None:
    (tmp_path / "t.tree").write_text("a -1\nb 0\n")
    assert load_tree(tmp_path / "t.tree").names == ("a", "b")


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(tree=trees())
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: WordTree) -> None:
    folder = tmp_path_factory.mktemp("trees", numbered=True)
    save_tree(tree, folder / "t.json")
    assert load_tree(folder / "t.json") == tree
    save_tree(tree, folder / "t.tree")
    back = load_tree(folder / "t.tree")
    assert (back.wnids, back.names, back.parents) == (tree.wnids, tree.names, tree.parents)


def test_windows_line_ends_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "t.tree").write_bytes(b"\xef\xbb\xbfa -1\r\n\r\n  b\t0  \r\n\n")
    (tmp_path / "t.names").write_bytes(b"dog\r\nterrier\r\n\r\n")
    (tmp_path / "t.labels").write_bytes(b"a\r\nb")
    tree = load_tree(tmp_path / "t.tree")
    assert (tree.wnids, tree.names, tree.parents) == (("a", "b"), ("dog", "terrier"), (-1, 0))


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", 1, "no nodes"),
        ("\n \n", 1, "no nodes"),
        ("a -1\nb\n", 2, "expected an id and the number of its parent, not 'b'"),
        ("a -1\nb 0 0\n", 2, "expected an id"),
        ("a -1\nb zero\n", 2, "expected an id"),
        ("a -1\nb 0.0\n", 2, "expected an id"),
        ("a -1\nb 1_0\n", 2, "expected an id"),
        ("a -1\nb " + "9" * 6000, 2, "expected an id"),
        ("a -1\n\nb 7\n", 3, "the parent 7 is no node"),
        ("a -1\r\nb 0\r\na 0\r\n", 3, "the id 'a' is already that of node 0"),
        ("a 0\n", 1, "its own parent"),
        ("a -1\nb 2\nc 1\n", 2, "cycle"),
        ("a -1\nb 2\nc 0\n", 2, "comes after it"),
        ("a -1\nb -1\nc 0\nd 1\n\ne 0\n", 6, "the children of node 0 are not together"),
        ("a -1\nb\x00b 0\n", 2, "an id is a word"),
    ],
)
def test_tree_files_refused_by_line(tmp_path: Path, content: str, line: int, message: str) -> None:
    path = tmp_path / "t.tree"
    path.write_bytes(content.encode())
    with pytest.raises(TreeFormatError) as caught:
        load_tree(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "t.tree").write_bytes(b"a -1\nb\xff 0\n")
    with pytest.raises(TreeFormatError, match=r"t\.tree:2: not UTF-8"):
        load_tree(tmp_path / "t.tree")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t.names", "dog\n", r"t\.names:1: 1 lines for the 2 nodes of t\.tree"),
        ("t.names", "dog\ncat\nrat\n", r"t\.names:3: 3 lines for the 2 nodes"),
        ("t.names", "", r"t\.names:1: 0 lines"),
        ("t.names", "dog\nc\x0bat\n", r"t\.names:2: .* is no display name"),
        ("t.labels", "a\nc\n", r"t\.labels:2: 'c' stands where t\.tree has 'b'"),
    ],
)
def test_columns_beside_a_tree_must_fit(tmp_path: Path, file: str, content: str, message: str) -> None:
    (tmp_path / "t.tree").write_text("a -1\nb 0\n")
    (tmp_path / file).write_text(content)
    with pytest.raises(TreeFormatError, match=message):
        load_tree(tmp_path / "t.tree")


GOOD = {"format": "wordtree", "version": 1, "wnids": ["a", "b"], "names": ["x", "y"], "parents": [-1, 0]}


def test_json_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    head = '{\n"format": "wordtree", "version": 1,\r\n\n"wnids": ["a",\n"b", "c"],\n"names": ["x", "y", "parents"],\n'
    for rest, line, message in (
        ('"parents": [-1,\n 2,\n 1]}', 8, "node 1: it is part of a cycle"),
        ('"parents":\n[\n-1, 0,\n"0"]}', 10, "node 2: the parent must be an integer"),
        ('"parents": [-1, 0]}', 7, "parents has 2 entries for 3 nodes"),
        ('"parents": [-1, 0, 0],\n"rest": "most"}', 8, "rest is 'most'"),
        (
            '"parents": [-1, 0, 0],\n\n"label_maps": {"mine": {"Dog": 3}}}',
            9,
            "label map 'mine': class 'Dog' leads to 3",
        ),
        ('"parents": [-1, 0, 0], "lemmas": [[],\n["q"],\n\n[""]]}', 10, "node 2: a lemma"),
    ):
        path.write_bytes((head + rest).encode())
        with pytest.raises(TreeFormatError) as caught:
            load_tree(path)
        assert str(caught.value).startswith(f"{path}:{line}: {message}"), rest
    path.write_bytes((head + '"parents": [-1, 0, 0]}').replace('"b"', '"a"').encode())
    with pytest.raises(TreeFormatError, match=r"t\.json:5: node 1: the id 'a' is already that of node 0"):
        load_tree(path)


def test_a_folder_that_is_not_there_is_named_without_temporary_names(tmp_path: Path) -> None:
    tree = WordTree(("a",), ("x",), (-1,))
    with pytest.raises(FileNotFoundError, match=r"nowhere/t\.json: there is no folder .*nowhere$"):
        save_tree(tree, tmp_path / "nowhere" / "t.json")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], 'key "format"'),
        ({"wnids": ["a"]}, 'key "format"'),
        (GOOD | {"version": 2}, 'key "version" is 2, but this program reads 1'),
        (GOOD | {"wnid": ["a"]}, "unknown key 'wnid'"),
        ({key: value for key, value in GOOD.items() if key != "parents"}, "the key 'parents' is missing"),
        (GOOD | {"parents": "-1"}, "key 'parents' holds the wrong type, str"),
        (GOOD | {"parents": [-1, "0"]}, "node 1: the parent must be an integer"),
        (GOOD | {"parents": [-1, None]}, "node 1: the parent must be an integer"),
        (GOOD | {"parents": [-1, 1]}, "node 1: it is its own parent"),
        (GOOD | {"parents": [-1]}, "parents has 1 entries"),
        (GOOD | {"wnids": ["a", 3]}, "node 1: an id is a word"),
        (GOOD | {"wnids": ["a", ["b"]]}, "node 1: an id is a word"),
        (GOOD | {"names": ["x", {}]}, "node 1: a display name"),
        (GOOD | {"lemmas": [[], "xy"]}, "key 'lemmas': node 1 has 'xy'"),
        (GOOD | {"lemmas": [[], [None]]}, "node 1: a lemma"),
        (GOOD | {"rest": "most"}, "rest is 'most'"),
        (GOOD | {"label_maps": {"mine": [1]}}, "'mine' must map class names to nodes"),
        (GOOD | {"label_maps": {"mine": {"Dog": 7}}}, "class 'Dog' leads to 7"),
        (GOOD | {"root": 5}, "key 'root' holds the wrong type"),
        (GOOD | {"notes": {"x": float("nan")}}, "notes must be JSON values"),
        (GOOD | {"wnids": [], "names": [], "parents": []}, "at least one node"),
    ],
)
def test_json_refused_by_key(tmp_path: Path, document: object, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document))
    with pytest.raises(TreeFormatError) as caught:
        load_tree(path)
    assert str(caught.value).startswith(f"{path}:")
    assert message in str(caught.value)


def test_the_smallest_json_is_a_tree(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(GOOD))
    assert load_tree(tmp_path / "t.json") == WordTree(("a", "b"), ("x", "y"), (-1, 0))


@pytest.mark.parametrize(
    "content", ['{\n"format": "wordtree",\n oops}', "[" * 100_000, "", '{"a": ' + "1" * 6000 + "}"]
)
def test_what_is_not_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(TreeFormatError, match="not JSON"):
        load_tree(path)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{\n"format": "wordtree",\n oops}')
    with pytest.raises(TreeFormatError, match=r"t\.json:3: not JSON"):
        load_tree(tmp_path / "t.json")


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"x" * 1000, mtime=0)[:-12], b""])
def test_broken_gzip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.json.gz").write_bytes(content)
    with pytest.raises(TreeFormatError):
        load_tree(tmp_path / "t.json.gz")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=3 * settings.default.max_examples // 2, deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from([*GOOD, "lemmas", "synsets", "label_maps", "rest", "notes"]), json_values)
)
def test_json_never_fails_in_another_way(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, object]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_text(json.dumps(GOOD | changes))
    with contextlib.suppress(TreeFormatError):
        load_tree(path)


@settings(max_examples=3 * settings.default.max_examples // 2, deadline=None)
@given(
    content=st.binary(max_size=40)
    | st.lists(st.tuples(words, st.integers(-2, 6)), max_size=6).map(
        lambda rows: "\n".join(f"{wnid} {parent}" for wnid, parent in rows).encode()
    )
)
def test_text_never_fails_in_another_way(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("fuzz.tree", "fuzz.map", "names.names"):
        (folder / name).write_bytes(content)
    (folder / "names.tree").write_text("a -1\nb 0\n")
    for read in (
        lambda: load_tree(folder / "fuzz.tree"),
        lambda: load_tree(folder / "names.tree"),
        lambda: read_map(folder / "fuzz.map", TREE),
    ):
        with contextlib.suppress(TreeFormatError):
            read()


def test_map(tmp_path: Path) -> None:
    write_map(["pallet jack", 0], tmp_path / "t.map", TREE)
    assert (tmp_path / "t.map").read_text() == "2\n0\n"
    (tmp_path / "t.map").write_bytes(b"2\r\n\r\n0\r\n")
    assert read_map(tmp_path / "t.map", TREE) == (2, 0)


@pytest.mark.parametrize("line", ["3", "-1", "x", "1.0", "0 1"])
def test_a_map_that_leads_nowhere(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.map").write_text(f"0\n\n{line}\n")
    with pytest.raises(TreeFormatError, match=r"t\.map:3: .* is no node of the tree: nodes are 0 to 2"):
        read_map(tmp_path / "t.map", TREE)


def test_nothing_is_overwritten_by_accident(tmp_path: Path) -> None:
    (tmp_path / "t.names").write_text("mine\n")
    with pytest.raises(FileExistsError, match=r"t\.names exists"):
        save_tree(TREE, tmp_path / "t.tree")
    assert os.listdir(tmp_path) == ["t.names"]
    save_tree(TREE, tmp_path / "t.tree", force=True)
    write_names(TREE, tmp_path / "t.names", force=True)
    assert load_tree(tmp_path / "t.tree").names == TREE.names


def test_other_suffixes_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(TreeFormatError, match=r"a tree file ends in \.json, \.json\.gz or \.tree"):
        save_tree(TREE, tmp_path / "t.yaml")
    (tmp_path / "t.yaml").write_text("a")
    with pytest.raises(TreeFormatError, match="unknown kind of file"):
        load_tree(tmp_path / "t.yaml")
    with pytest.raises(FileNotFoundError, match="the bundled trees are yolo9000, imagenet1k, coco"):
        load_tree("yolo900")
    with pytest.raises(FileNotFoundError):
        save_tree(TREE, tmp_path / "absent" / "t.json")


def test_networkx() -> None:
    graph = to_networkx(TREE)
    assert list(graph.nodes) == list(TREE.wnids)
    assert list(graph.edges) == [("n00000001", "my:pallet-jack")]
    assert graph.nodes["n00000001"] == {
        "index": 0,
        "name": "truck",
        "synset": "truck.n.01",
        "lemmas": ["truck", "motortruck"],
    }


def test_dot_quotes_what_it_must() -> None:
    dot = to_dot(WordTree(('a"b',), ('back\\slash "x"',), (-1,)))
    assert r'"a\"b" [label="back\\slash \"x\""];' in dot


def test_the_original_tree_reads_and_comes_back(shared: Path, tmp_path: Path) -> None:
    tree = load_tree(shared / "tree" / "9k.tree")
    assert (len(tree), len(tree.leaves), tree.rest) == (9418, 7573, "none")
    assert tree.names[:4] == ("thing", "matter", "object", "atmospheric phenomenon")
    for written, original in (("t.tree", "9k.tree"), ("t.names", "9k.names")):
        save_tree(tree, tmp_path / "t.tree", force=True)
        assert (tmp_path / written).read_bytes() == (shared / "tree" / original).read_bytes()
    coco = read_map(shared / "tree" / "coco9k.map", tree)
    assert len(coco) == 80
    assert tree.names[coco[0]] == "person"


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_trees_load_fast(name: str) -> None:
    seconds = []
    for _ in range(5):
        start = time.process_time()  # not the clock on the wall: other processes may hold the core
        tree = load_tree(name)
        seconds.append(time.process_time() - start)
    assert len(tree) > 80
    assert min(seconds) < 0.05
    assert np.all(np.asarray(tree.parents) < np.arange(len(tree)))


def test_a_broken_tree_is_a_tree_error() -> None:
    assert issubclass(TreeFormatError, TreeError)
    assert issubclass(TreeError, ValueError)
