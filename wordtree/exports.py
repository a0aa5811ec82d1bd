"""Trees as the text of other programs: Graphviz, networkx, phylogeny, tables.

`wordtree.formats` has the formats that are read again. None of these is, because none holds everything.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wordtree.formats import to_json
from wordtree.tree import WordTree

if TYPE_CHECKING:
    import networkx

CSV_COLUMNS = ("index", "wnid", "name", "synset", "parent", "depth", "children", "lemmas")


def to_networkx(tree: WordTree) -> networkx.DiGraph[str]:
    """Return the tree as a graph whose nodes are the ids, in tree order, with edges from parent to child.

    Each node has the attributes ``index``, ``name``, ``synset`` and ``lemmas``.

    Examples
    --------
    >>> graph = to_networkx(WordTree(("a", "b"), ("dog", "terrier"), (-1, 0)))
    >>> list(graph.edges), graph.nodes["b"]["name"]
    ([('a', 'b')], 'terrier')
    """
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for node, wnid in enumerate(tree.wnids):
        graph.add_node(
            wnid, index=node, name=tree.names[node], synset=tree.synsets[node], lemmas=list(tree.lemmas[node])
        )
        if tree.parents[node] >= 0:
            graph.add_edge(tree.wnids[tree.parents[node]], wnid)
    return graph


def to_dot(tree: WordTree) -> str:
    """Return the tree as text for Graphviz's ``dot``, each node labelled with its display name.

    Examples
    --------
    >>> print(to_dot(WordTree(("a", "b"), ("dog", "terrier"), (-1, 0))))
    digraph wordtree {
      rankdir=LR; node [shape=plaintext];
      "a" [label="dog"];
      "b" [label="terrier"];
      "a" -> "b";
    }
    """
    lines = ["digraph wordtree {", "  rankdir=LR; node [shape=plaintext];"]
    for wnid, name in zip(tree.wnids, tree.names, strict=True):
        lines.append(f"  {_dot_string(wnid)} [label={_dot_string(name)}];")
    for wnid, parent in zip(tree.wnids, tree.parents, strict=True):
        if parent >= 0:
            lines.append(f"  {_dot_string(tree.wnids[parent])} -> {_dot_string(wnid)};")
    return "\n".join([*lines, "}"])


def to_node_link(tree: WordTree) -> str:
    """Return the JSON that ``networkx.node_link_graph(..., edges="edges")`` reads, and D3 and its like.

    Examples
    --------
    >>> print(to_node_link(WordTree(("a", "b"), ("dog", "terrier"), (-1, 0))))
    {"directed": true, "multigraph": false, "graph": {},
    "nodes": [
    {"id": "a", "index": 0, "name": "dog", "synset": null, "lemmas": []},
    {"id": "b", "index": 1, "name": "terrier", "synset": null, "lemmas": []}
    ],
    "edges": [
    {"source": "a", "target": "b"}
    ]}
    """
    nodes = [
        {"id": wnid, "index": node, "name": name, "synset": synset, "lemmas": list(lemmas)}
        for node, (wnid, name, synset, lemmas) in enumerate(
            zip(tree.wnids, tree.names, tree.synsets, tree.lemmas, strict=True)
        )
    ]
    edges = [
        {"source": tree.wnids[parent], "target": wnid}
        for wnid, parent in zip(tree.wnids, tree.parents, strict=True)
        if parent >= 0
    ]

    def lines(entries: list[dict[str, Any]]) -> str:
        return ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)

    return (
        '{"directed": true, "multigraph": false, "graph": {},\n"nodes": [\n'
        + lines(nodes)
        + '\n],\n"edges": [\n'
        + lines(edges)
        + "\n]}"
    )


def to_newick(tree: WordTree) -> str:
    """Return the tree in Newick's format, which programs for phylogenies draw.

    A label is the display name and the id, since names may repeat. Several top nodes get a root above them.

    Examples
    --------
    >>> print(to_newick(WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0), root="pet.n.01")))
    (('terrier c')'dog a','cat b')'pet.n.01';
    """
    inside: list[list[str]] = [[] for _ in range(len(tree))]
    top: list[str] = []
    for node in range(len(tree) - 1, -1, -1):  # children come after their parents
        below = f"({','.join(reversed(inside[node]))})" if inside[node] else ""
        text = below + _newick_label(f"{tree.names[node]} {tree.wnids[node]}")
        parent = tree.parents[node]
        (top if parent < 0 else inside[parent]).append(text)
    if len(top) == 1:
        return f"{top[0]};"
    return f"({','.join(reversed(top))}){_newick_label(tree.root) if tree.root else ''};"


def _newick_label(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def to_csv(tree: WordTree) -> str:
    """Return a table with a row for each node, in tree order; ``parent`` is an id, and empty at the top.

    Examples
    --------
    >>> print(to_csv(WordTree(("a", "b"), ("dog", "terrier"), (-1, 0), lemmas=((), ("terrier", "ratter")))), end="")
    index,wnid,name,synset,parent,depth,children,lemmas
    0,a,dog,,,0,1,
    1,b,terrier,,a,1,0,terrier; ratter
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for node, wnid in enumerate(tree.wnids):
        parent = tree.parents[node]
        above = "" if parent < 0 else tree.wnids[parent]
        group = int(tree.child_group[node])
        children = 0 if group < 0 else int(tree.group_sizes[group])
        names = "; ".join(tree.lemmas[node])
        depth = int(tree.depths[node])
        writer.writerow((node, wnid, tree.names[node], tree.synsets[node] or "", above, depth, children, names))
    return buffer.getvalue()


FORMS: dict[str, Callable[[WordTree], str]] = {
    "json": to_json,
    "csv": to_csv,
    "dot": to_dot,
    "newick": to_newick,
    "networkx": to_node_link,
}
"""Form -> the function that writes it. ``json`` is the one that `load_tree` reads again."""


def _dot_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
