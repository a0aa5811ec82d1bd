"""Every export of a tree, read back by something that is not ours or by a few lines here."""

from __future__ import annotations

import csv
import io
import json
import re

import networkx
import pytest

from wordtree import WordTree, load_tree
from wordtree.exports import CSV_COLUMNS, FORMS, to_csv, to_newick, to_node_link
from wordtree.formats import from_json

# animal (dog (terrier), "kitty" cat), vehicle; names with what each format has to quote
TREE = WordTree(
    ("n1", "n2", "n3", "x-it's", "n5"),
    ("animal", 'vehicle, "wheeled"', "dog's", "cat (domestic)", "terrier"),
    (-1, -1, 0, 0, 2),
    synsets=("animal.n.01", None, "dog.n.01", None, "terrier.n.01"),
    lemmas=((), ("carriage",), ("hound", "domestic dog"), (), ()),
    root="entity.n.01",
)
EDGES = {("n1", "n3"), ("n1", "x-it's"), ("n3", "n5")}


def test_the_forms() -> None:
    assert list(FORMS) == ["json", "csv", "dot", "newick", "networkx"]
    assert from_json(FORMS["json"](TREE), "here") == TREE


def test_networkx_reads_its_own() -> None:
    graph = networkx.node_link_graph(json.loads(to_node_link(TREE)), edges="edges")
    assert graph.is_directed()
    assert set(graph.edges) == EDGES
    assert list(graph.nodes) == list(TREE.wnids)
    assert graph.nodes["n3"] == {"index": 2, "name": "dog's", "synset": "dog.n.01", "lemmas": ["hound", "domestic dog"]}


def test_a_table_is_the_tree_again() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TREE))))
    assert tuple(rows[0]) == CSV_COLUMNS
    number = {row["wnid"]: int(row["index"]) for row in rows}
    again = WordTree(
        tuple(row["wnid"] for row in rows),
        tuple(row["name"] for row in rows),
        tuple(number[row["parent"]] if row["parent"] else -1 for row in rows),
        synsets=tuple(row["synset"] or None for row in rows),
        lemmas=tuple(tuple(row["lemmas"].split("; ")) if row["lemmas"] else () for row in rows),
        root="entity.n.01",
    )
    assert again == TREE
    assert [(row["depth"], row["children"]) for row in rows] == [
        ("0", "2"),
        ("0", "0"),
        ("1", "1"),
        ("1", "0"),
        ("2", "0"),
    ]


def test_dot_has_every_node_and_edge() -> None:
    text = FORMS["dot"](TREE)
    quoted = r'"((?:[^"\\]|\\.)*)"'
    nodes = dict(re.findall(rf"^  {quoted} \[label={quoted}\];$", text, re.MULTILINE))
    assert list(nodes) == list(TREE.wnids)
    assert nodes["n2"] == 'vehicle, \\"wheeled\\"'
    assert set(re.findall(rf"^  {quoted} -> {quoted};$", text, re.MULTILINE)) == EDGES


def parse_newick(text: str) -> tuple[str, set[tuple[str, str]]]:
    """Label of the root, and the edges between labels."""
    tokens = re.findall(r"'(?:[^']|'')*'|[(),;]", text)
    assert "".join(tokens) == text, "nothing stands between the tokens"
    edges: set[tuple[str, str]] = set()
    place = 0

    def subtree() -> str:
        nonlocal place
        children = []
        if tokens[place] == "(":
            while tokens[place] in "(,":
                place += 1
                children.append(subtree())
            assert tokens[place] == ")"
            place += 1
        label = ""
        if tokens[place].startswith("'"):
            label = tokens[place][1:-1].replace("''", "'")
            place += 1
        edges.update((label, child) for child in children)
        return label

    root = subtree()
    assert tokens[place:] == [";"]
    return root, edges


def test_newick_is_the_tree_again() -> None:
    root, edges = parse_newick(to_newick(TREE))
    assert root == "entity.n.01"
    assert edges == {
        ("entity.n.01", "animal n1"),
        ("entity.n.01", 'vehicle, "wheeled" n2'),
        ("animal n1", "dog's n3"),
        ("animal n1", "cat (domestic) x-it's"),
        ("dog's n3", "terrier n5"),
    }
    assert to_newick(TREE.below("dog's").tree) == "('terrier n5')'dog''s n3';"


@pytest.mark.parametrize("form", ["csv", "newick", "networkx"])
def test_the_whole_tree_keeps_all_its_edges(form: str) -> None:
    tree = load_tree("imagenet1k")
    known = {(tree.wnids[parent], wnid) for wnid, parent in zip(tree.wnids, tree.parents, strict=True) if parent >= 0}
    text = FORMS[form](tree)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        found = {(row["parent"], row["wnid"]) for row in rows if row["parent"]}
    elif form == "networkx":
        found = set(networkx.node_link_graph(json.loads(text), edges="edges").edges)
    else:
        found = {tuple(label.split()[-1] for label in edge) for edge in parse_newick(text)[1]}
        found = {edge for edge in found if edge[0] in tree.wnids}
    assert found == known
