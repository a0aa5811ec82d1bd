"""Looking at a tree: searching, lines for a terminal, pictures, short texts for Python's prompt."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import TreeDistribution, TreeError, UnknownName, WordTree, load_tree
from wordtree.outline import count_below, depth_for, outline
from wordtree.picture import cells_of, colour, draw_tree, save_picture, to_png, to_svg
from wordtree.report import compare_parents, summarize_difference
from wordtree.search import search
from wordtree.tree import Rest
from wordtree.wordnet import open_wordnet

# animal (dog (terrier, hound), cat), machine (crane), and a bird that is called crane
TREE = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"),
    ("animal", "machine", "dog", "cat", "crane", "crane", "fox terrier", "hound"),
    (-1, -1, 0, 0, 0, 1, 2, 2),
    synsets=("animal.n.01", "machine.n.01", "dog.n.01", "cat.n.01", "crane.n.05", "crane.n.04", None, "hound.n.01"),
    lemmas=((), (), ("domestic dog",), ("true cat",), (), ("derrick",), (), ()),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("crane", (4, 5)),
        ("CRANE", (4, 5)),
        ("crane.n.04", (5,)),
        ("n5", (4,)),
        ("derrick", (5,)),  # a lemma
        ("dog", (2,)),
        ("ter", (6,)),  # the beginning of a word
        ("erri", (5, 6)),  # anywhere: a lemma is shorter than the name of two words
        ("hond", (7,)),  # spelled alike
        ("", ()),
        ("zzzzzz", ()),
    ],
)
def test_searching(text: str, found: tuple[int, ...]) -> None:
    assert sorted(search(TREE, text)) == sorted(found)


def test_a_name_goes_before_what_only_holds_it() -> None:
    tree = load_tree("yolo9000")
    names = [tree.names[node] for node in search(tree, "terrier")]
    assert names[0] == "terrier"
    assert "Norfolk terrier" in names
    assert len(search(tree, "terrier", limit=3)) == 3


def test_lines() -> None:
    assert outline(TREE).splitlines() == [
        "8 nodes, 2 of them at the top",
        "├── animal (animal.n.01), 5 below",
        "│   ├── dog (dog.n.01), 2 below",
        "│   │   ├── fox terrier (n7)",
        "│   │   └── hound (hound.n.01)",
        "│   ├── cat (cat.n.01)",
        "│   └── crane (crane.n.05)",
        "└── machine (machine.n.01), 1 below",
        "    └── crane (crane.n.04)",
    ]
    assert outline(TREE, "dog", only_ascii=True).splitlines() == [
        "animal",
        "dog (dog.n.01), 2 below",
        "|-- fox terrier (n7)",
        "`-- hound (hound.n.01)",
    ]
    assert outline(TREE, "animal", depth=1, most=1).splitlines() == [
        "animal (animal.n.01), 5 below",
        "├── dog (dog.n.01), 2 below",
        "└── and 2 more",
    ]


def test_every_node_below_is_a_line_once() -> None:
    tree = load_tree("imagenet1k")
    lines = outline(tree).splitlines()
    assert len(lines) == len(tree) + 1
    assert [int(n) for n in re.findall(r", (\d+) below", lines[1])] == [int(count_below(tree)[0])]


@pytest.mark.parametrize(
    ("node", "lines", "depth"), [("dog", 9, 1), (None, 2, 1), (None, 6, 2), (None, 8, 3), (None, 99, 3)]
)
def test_as_deep_as_the_lines_can_hold(node: str | None, lines: int, depth: int) -> None:
    assert depth_for(TREE, node, lines) == depth
    shown = len(outline(TREE, node, depth=depth).splitlines())
    assert depth == 1 or shown - 1 <= lines


def test_cells_share_the_breadth_by_leaves() -> None:
    cells = {cell.node: (cell.level, cell.first, cell.last) for cell in cells_of(TREE)}
    assert cells[0] == (0, 0.0, 0.8)  # four leaves of five
    assert cells[2] == (1, 0.0, 0.4)
    assert cells[7] == (2, 0.2, 0.4)
    assert cells[5] == (1, 0.8, 1.0)
    assert [cell.node for cell in cells_of(TREE, "dog", depth=0)] == [2]


@pytest.mark.parametrize("form", ["icicle", "radial"])
def test_a_picture_has_every_node_once_and_no_text_outside_the_paper(form: str) -> None:
    picture = draw_tree(load_tree("yolo9000"), "terrier", form=form)  # type: ignore[arg-type]
    assert len(picture.shapes) == 35
    assert all(shape.label for shape in picture.shapes)
    for shape in picture.shapes:
        assert all(-1e-6 <= x <= picture.width + 1e-6 and -1e-6 <= y <= picture.height + 1e-6 for x, y in shape.points)
        assert 0 <= shape.at[0] <= picture.width
        assert 0 <= shape.at[1] <= picture.height
        assert -90 <= shape.turned <= 90  # never upside down
    svg = ElementTree.fromstring(to_svg(picture))
    titles = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "terrier (terrier.n.01), 34 below"
    assert len(titles) == 35
    assert "http" not in to_svg(picture).replace("http://www.w3.org/2000/svg", "")  # no request to anywhere


def test_bars_of_an_icicle_do_not_cover_each_other() -> None:
    picture = draw_tree(TREE)
    paint = np.zeros((int(picture.height), int(picture.width)), int)
    for shape in picture.shapes:
        (left, top), (right, bottom) = shape.points[0], shape.points[2]
        paint[round(top) : round(bottom), round(left) : round(right)] += 1
    assert paint.max() == 1


def test_names_are_escaped() -> None:
    tree = WordTree(("a",), ("<b> & $c$",), (-1,))
    assert "&lt;b&gt; &amp; $c$" in to_svg(draw_tree(tree))
    assert to_png(draw_tree(tree))[:4] == b"\x89PNG"


def test_neighbours_have_neighbouring_colours() -> None:
    def rgb(text: str) -> np.ndarray:
        return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)])

    near = np.abs(rgb(colour(0.30, 2)) - rgb(colour(0.31, 2))).sum()
    far = np.abs(rgb(colour(0.30, 2)) - rgb(colour(0.80, 2))).sum()
    assert near < 12 < 60 < far


def test_pictures_as_files(tmp_path: Path) -> None:
    picture = draw_tree(TREE, size=80)
    save_picture(picture, tmp_path / "a.svg")
    save_picture(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (round(picture.width), 80)
    with pytest.raises(FileExistsError):
        save_picture(picture, tmp_path / "a.svg")
    with pytest.raises(TreeError, match=r"a\.gif: a picture of a tree ends in \.svg or \.png"):
        save_picture(picture, tmp_path / "a.gif")
    with pytest.raises(TreeError, match="`size` 3: 16 to 30,000 pixels"):
        draw_tree(TREE, size=3)
    with pytest.raises(TreeError, match="`form` star: one of icicle, radial"):
        draw_tree(TREE, form="star")  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        draw_tree(TREE, "unicorn")


def test_short_texts_at_the_prompt() -> None:
    """The map between two trees is as long as the tree: 9,418 numbers said nothing."""
    subset = load_tree("yolo9000").subtree("terrier")
    assert repr(subset).startswith("TreeSubset(tree=<WordTree: 48 nodes, ")
    assert repr(subset).endswith(", old_to_new=<48 of 9418 nodes kept>)")


def test_what_is_below_has_no_ancestors() -> None:
    part = TREE.below("dog")
    assert part.tree.names == ("dog", "fox terrier", "hound")
    assert part.tree.parents == (-1, 0, 0)
    assert part.new_to_old == (2, 6, 7)


@pytest.mark.parametrize(
    ("rest", "of_dog", "given_dog"),
    [
        ("none", 1.0, (0.75, 0.25, 1.0)),
        ("only_child", 0.8, (0.75, 0.25, 0.9)),
        ("all", 0.8, (0.6, 0.2, 0.9)),
    ],
)
def test_probabilities_below_a_node(rest: Rest, of_dog: float, given_dog: tuple[float, float, float]) -> None:
    """In odds against a rest of 1: dog 4, terrier 3, hound 1, fox terrier 9."""
    names = ("animal", "rock", "dog", "cat", "terrier", "hound", "fox terrier")
    tree = WordTree(tuple("abcdefg"), names, (-1, -1, 0, 0, 2, 2, 4), rest=rest)
    terrier, hound, fox = given_dog
    fox *= terrier
    logits = torch.tensor([2.0, 1.0, 4.0, 1.0, 3.0, 1.0, 9.0]).log()
    part = tree.below("dog")
    below = TreeDistribution(part.tree, logits[list(part.new_to_old)]).probs()
    assert below.tolist() == pytest.approx([of_dog, *(of_dog * each for each in (terrier, hound, fox))])
    whole = TreeDistribution(tree, logits).probs()[list(part.new_to_old)]
    torch.testing.assert_close(below / below[0], whole / whole[0])


def test_a_comparison_lists_the_other_parents_and_counts_what_only_one_tree_has() -> None:
    wordnet = open_wordnet()
    synsets = ("whole.n.02", "object.n.01", "dog.n.01", "cat.n.01", "puppy.n.01")
    whole, thing, dog, cat, puppy = map(wordnet.wnid, synsets)
    small = WordTree((whole, dog, puppy), ("whole", "dog", "puppy"), (-1, 0, 0))
    large = WordTree((thing, whole, dog, cat, puppy), ("object", "whole", "dog", "cat", "puppy"), (-1, 0, 1, 1, 2))
    assert str(compare_parents(small, large, wordnet)).splitlines() == [
        "1 of 5 parents agree",
        "  whole: at the top, there below object",
        "  puppy: below whole, there below dog (6 up and 1 up)",
        "2 nodes are only there",
    ]
    assert str(compare_parents(large, small)).splitlines()[-1] == "2 nodes are only here"


def test_a_difference_is_listed_up_to_a_number() -> None:
    a, b = load_tree("imagenet1k"), load_tree("coco")
    text = summarize_difference(compare_parents(a, b), a, b, "imagenet1k", "coco", most=2).splitlines()
    assert text[0] == "imagenet1k: 1,373 concepts, 1,000 leaves"
    assert text[2] == "81 concepts are in both, 55 of them below the same parent"
    assert [line for line in text if line.startswith("  and ")] == [
        "  and 24 more",
        "  and 1,290 more",
        "  and 39 more",
    ]


def test_a_folder_with_a_tree_is_a_tree(tmp_path: Path) -> None:
    from wordtree import save_tree

    with pytest.raises(FileNotFoundError, match="a folder without a tree.json, which a run has"):
        load_tree(tmp_path)
    save_tree(TREE, tmp_path / "tree.json")
    assert load_tree(tmp_path) == TREE
