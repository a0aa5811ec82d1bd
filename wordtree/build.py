"""WordNet and a list of concepts -> one WordTree.

The steps: find the concepts (`wordtree.concepts`), draw the graph of everything between them and the root, choose
one path for each concept (`wordtree.grow`), then simplify the tree:

contraction
    A node that is no concept and has one child tells nothing apart, so its child takes its place.
lift
    An only child that is a leaf becomes a sibling of its parent, as in the original YOLO9000 tree. This puts airliner
    beside airplane instead of under it, so it is off by default.

`lift` also chooses the paths as the original did: the shortest, even past a nearer ancestor concept. Without it, every
concept that has ancestor concepts in WordNet stays below one of the nearest of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import networkx as nx

from wordtree.concepts import Concept, ConceptError, ConceptProblem, Edges, Resolution, resolve_concepts
from wordtree.grow import Graph, grow_tree
from wordtree.hierarchy import Hierarchy, NewConcept
from wordtree.tree import Rest, TreeError, WordTree
from wordtree.wordnet import WordNetSource

__all__ = ["ConceptError", "ConceptProblem", "NewConcept", "build_from_resolution", "build_wordtree", "concept_graph"]


def build_wordtree(
    wnids: Iterable[Concept],
    *,
    root: str = "physical_entity.n.01",
    extra_edges: Edges | None = None,
    contract: bool = True,
    lift: bool = False,
    rest: Rest = "only_child",
    skip_unreachable: bool = False,
    wordnet: WordNetSource = None,
) -> WordTree:
    """Build the tree of some concepts.

    The result depends on the set of concepts and the options alone, not on their order.

    Parameters
    ----------
    wnids : iterable of str or NewConcept
        The concepts: wnids of WordNet 3.0, synset names, nouns with a single sense under the root, and new concepts,
        ``NewConcept("pallet jack", "truck.n.01")`` or ``"pallet jack < truck.n.01"``. The parent that a new concept
        names becomes a node, too. Repetitions count once.
    root : str
        The synset name or wnid of the root. It is above all nodes and is no node itself.
    extra_edges : mapping or iterable of (child, parent), optional
        Parents that replace a synset's hypernyms. Four are built in (`wordtree.hierarchy.KNOWN_EDGES`), for signs and
        bubbles, which WordNet files under abstractions. ``tree.notes["extra_edges"]`` lists those in use.
    contract : bool
        Leave out nodes that are no concept and have one child.
    lift : bool
        Make an only child that is a leaf its parent's sibling, and prefer the shortest path over the nearest ancestor
        concept, as in the original tree.
    rest : {"only_child", "none", "all"}
        Which sibling groups get a rest alternative, see `WordTree`.
    skip_unreachable : bool
        Leave out concepts that are not below the root instead of raising. ``tree.notes["skipped"]`` lists them.
    wordnet : path or WordNet, optional
        A folder with another copy of WordNet 3.0.

    Returns
    -------
    WordTree
        Siblings are in the order of their synset names.

    Raises
    ------
    ConceptError
        If any concept does not exist, is no noun, is ambiguous or cannot reach the root. It lists all of these, each
        with its candidates and the option that would accept it.
    WordNetDataError
        If `wordnet` holds no WordNet 3.0.

    Source
    ------
    YOLO9000 (arXiv 1612.08242), section 3, "Hierarchical classification".

    Examples
    --------
    >>> tree = build_wordtree(["car.n.01", "n04490091", "pallet jack < truck.n.01", "dog.n.01", "cat.n.01"])
    >>> for node in range(len(tree)):
    ...     print(tree.describe(node, levels=9))
    whole.n.02 (n00003553): whole
    carnivore.n.01 (n02075296): whole > carnivore
    motor_vehicle.n.01 (n03791235): whole > motor vehicle
    cat.n.01 (n02121620): whole > carnivore > cat
    dog.n.01 (n02084071): whole > carnivore > dog
    car.n.01 (n02958343): whole > motor vehicle > car
    truck.n.01 (n04490091): whole > motor vehicle > truck
    x-pallet-jack: whole > motor vehicle > truck > pallet jack
    """
    resolution = resolve_concepts(
        wnids, root=root, extra_edges=extra_edges, skip_unreachable=skip_unreachable, wordnet=wordnet
    )
    return build_from_resolution(resolution, contract=contract, lift=lift, rest=rest)


def build_from_resolution(
    resolution: Resolution, *, contract: bool = True, lift: bool = False, rest: Rest = "only_child"
) -> WordTree:
    """Build the tree of concepts that are resolved already. The other parameters are those of `build_wordtree`."""
    if rest not in get_args(Rest):
        raise TreeError(f"rest is {rest!r}; it must be one of {', '.join(get_args(Rest))}")
    resolution.require_all()
    hierarchy = resolution.hierarchy
    concepts = {concept for concept in resolution.ids if concept is not None}
    # A user who writes "pallet jack < truck.n.01" expects a truck in the tree.
    concepts |= {parent for concept in concepts & set(hierarchy.new) for parent in _named_parents(hierarchy, concept)}
    if not concepts:
        skipped = f"; {len(resolution.skipped)} were skipped, none of them below the root" if resolution.skipped else ""
        raise TreeError(f"a tree needs at least one concept{skipped}")
    graph = concept_graph(hierarchy, concepts)
    labels = [hierarchy.label(concept) for concept in sorted(concepts)]
    root = hierarchy.label(hierarchy.root)
    parents = grow_tree(graph, root, labels, nearest=not lift)
    if contract:
        parents = contract_single_children(parents, frozenset(labels))
    if lift:
        parents = lift_only_leaves(parents, root, frozenset(labels))
    return _in_tree_order(parents, graph, resolution, rest, {"contract": contract, "lift": lift})


def concept_graph(hierarchy: Hierarchy, concepts: Iterable[str]) -> Graph:
    """Draw all hypernym paths between some concepts and the root.

    Parameters
    ----------
    hierarchy : Hierarchy
        The hypernyms, and the root.
    concepts : iterable of str
        The ids of concepts below the root.

    Returns
    -------
    DiGraph
        Its nodes are labels: synset names, and the ids of new concepts. Edges go from hypernym to hyponym. Each node
        has its id as the attribute ``id``.

    Examples
    --------
    >>> from wordtree.wordnet import open_wordnet
    >>> wordnet = open_wordnet()
    >>> hierarchy = Hierarchy(wordnet, wordnet.wnid("carnivore.n.01"))
    >>> sorted(concept_graph(hierarchy, [wordnet.wnid("dog.n.01")]).edges)
    [('canine.n.02', 'dog.n.01'), ('carnivore.n.01', 'canine.n.02')]
    """
    graph: Graph = nx.DiGraph()
    graph.add_node(hierarchy.label(hierarchy.root), id=hierarchy.root)
    todo = list(concepts)
    seen = {hierarchy.root}
    while todo:
        concept = todo.pop()
        if concept in seen:
            continue
        seen.add(concept)
        label = hierarchy.label(concept)
        graph.add_node(label, id=concept)
        for parent in hierarchy.parents(concept):
            if hierarchy.reaches_root(parent):
                graph.add_edge(hierarchy.label(parent), label)
                todo.append(parent)
    return graph


def contract_single_children(parents: dict[str, str], concepts: frozenset[str]) -> dict[str, str]:
    """Return a tree (child -> parent) without the nodes that have one child and are no concept.

    Examples
    --------
    >>> contract_single_children({"a": "root", "b": "a", "c": "b", "d": "b"}, frozenset("cd"))
    {'b': 'root', 'c': 'b', 'd': 'b'}
    """
    children = _children(parents)
    left_out = {node for node in parents if node not in concepts and len(children[node]) == 1}
    contracted = {}
    for node, parent in parents.items():
        if node not in left_out:
            while parent in left_out:
                parent = parents[parent]
            contracted[node] = parent
    return contracted


def lift_only_leaves(parents: dict[str, str], root: str, concepts: frozenset[str]) -> dict[str, str]:
    """Return a tree (child -> parent) in which leaves without siblings have become their parent's siblings.

    A parent that is no concept keeps its child, because it would become a leaf itself.

    Examples
    --------
    >>> lift_only_leaves({"a": "root", "b": "a", "c": "b"}, "root", frozenset("abc"))
    {'a': 'root', 'b': 'a', 'c': 'a'}
    """
    children = _children(parents)
    lifted = dict(parents)
    for node, parent in parents.items():
        if not children.get(node) and len(children[parent]) == 1 and parent != root and parent in concepts:
            lifted[node] = parents[parent]
    return lifted


def _children(parents: dict[str, str]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {node: [] for node in parents}
    for node, parent in parents.items():
        children.setdefault(parent, []).append(node)
    return children


def _named_parents(hierarchy: Hierarchy, concept: str) -> list[str]:
    return [parent for parent in hierarchy.parents(concept) if parent != hierarchy.root]


def _in_tree_order(
    parents: dict[str, str], graph: Graph, resolution: Resolution, rest: Rest, options: dict[str, object]
) -> WordTree:
    hierarchy = resolution.hierarchy
    root = hierarchy.label(hierarchy.root)
    children = _children(parents)
    # One sibling group after the other, each followed by the groups below its members, as darknet orders its tree.
    order: list[str] = []
    stack = [root]
    while stack:
        group = sorted(children.get(stack.pop(), ()))
        order += group
        stack.extend(reversed(group))
    index = {label: node for node, label in enumerate(order)}
    ids = [graph.nodes[label]["id"] for label in order]
    used = [(child, parent) for child in hierarchy.edges for parent in hierarchy.edges[child]]
    notes = {
        "extra_edges": [
            [hierarchy.label(child), hierarchy.label(parent)]
            for child, parent in used
            if graph.has_edge(hierarchy.label(parent), hierarchy.label(child))
        ],
        "options": options,
        "skipped": [(*problem.candidates, problem.concept)[0] for problem in resolution.skipped.values()],
        "first_senses": dict(resolution.first_senses),
    }
    return WordTree(
        wnids=tuple(ids),
        names=tuple(hierarchy.name(concept) for concept in ids),
        parents=tuple(index.get(parents[label], -1) for label in order),
        synsets=tuple(None if concept in hierarchy.new else hierarchy.label(concept) for concept in ids),
        lemmas=tuple(hierarchy.lemmas(concept) for concept in ids),
        rest=rest,
        root=root,
        notes=notes,
    )
