"""The WordTree algorithm: one parent for every concept, out of the hypernym paths that WordNet offers.

The rule is the paper's (YOLO9000, section 3): first the concepts with a single path to the root; then, again and
again, the concept whose best path adds the fewest nodes to the tree. This goes in rounds over all concepts: a round
takes those that add the fewest, in the order they are given, each by the path that is best when its turn comes. Among
paths that add equally many, the first wins when the synset names are compared from the root down.

A concept's **nearest ancestor concepts** are its ancestor concepts with no further concept between. The shortest path
may pass them by: WordNet has the mask right below the covering, and also below the disguise, which is a covering too.
So, unless `nearest` is false, a concept only takes paths whose last concept is one of its nearest. A node that two
such concepts need can lie below one of them only; the other concept then skips that node.

How it is computed: every node of the graph holds, for each concept that may be the last one above it, its best way to
the tree: (number of nodes to add, names from the root down). Adding a concept changes the best ways of nodes below the
added ones; these alone are worked out again, ancestors first. So 82,000 nouns take seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import networkx as nx
from tqdm import tqdm

Graph: TypeAlias = "nx.DiGraph[str]"
Way: TypeAlias = tuple[int, tuple[str, ...]]  # nodes to add, and the nodes from below the root down to this one
Ways: TypeAlias = Mapping[str, Way]  # last concept above (_NONE: none) -> best way
_NONE = ""


def nearest_ancestor_concepts(graph: Graph, concepts: Collection[str]) -> dict[str, frozenset[str]]:
    """Return, for each concept, its ancestor concepts that have no other ancestor concept of it below them.

    Parameters
    ----------
    graph : DiGraph
        Edges go from hypernym to hyponym.

    Examples
    --------
    >>> graph = nx.DiGraph([("machine", "vehicle"), ("vehicle", "van"), ("van", "minivan"), ("machine", "minivan")])
    >>> nearest_ancestor_concepts(graph, ["machine", "vehicle", "minivan"])["minivan"]
    frozenset({'vehicle'})
    """
    concept_set = frozenset(concepts)
    above: dict[str, frozenset[str]] = {}  # every ancestor concept
    nearest: dict[str, frozenset[str]] = {}
    for node in nx.topological_sort(graph):
        reached: set[str] = set()
        candidates: set[str] = set()
        for parent in graph.predecessors(node):
            reached |= above[parent]
            candidates |= {parent} if parent in concept_set else nearest[parent]
        reached |= candidates
        # One candidate may lie above another, which is reached on another path.
        nearest[node] = frozenset(candidates.difference(*(above[candidate] for candidate in candidates)))
        above[node] = frozenset(reached)
    return {concept: nearest[concept] for concept in concepts}


def grow_tree(graph: Graph, root: str, concepts: Sequence[str], *, nearest: bool = True) -> dict[str, str]:
    """Choose one path to the root for every concept.

    Parameters
    ----------
    graph : DiGraph
        Edges go from hypernym to hyponym; every node is below `root`; no cycle.
    root : str
        It is in the graph, but no node of the tree.
    concepts : sequence of str
        Nodes of the graph, each once, without `root`. Their order decides which of two equally cheap ones comes first.
    nearest : bool
        Keep every concept below one of its nearest ancestor concepts.

    Returns
    -------
    dict of str to str
        Child -> parent for every node of the tree; parents come before their children; `root` is only a parent.

    Examples
    --------
    >>> graph = nx.DiGraph([("r", "a"), ("a", "b"), ("b", "c"), ("a", "c"), ("b", "d")])
    >>> grow_tree(graph, "r", ["c"]), grow_tree(graph, "r", ["c", "b"])
    ({'a': 'r', 'c': 'a'}, {'a': 'r', 'b': 'a', 'c': 'b'})
    """
    growth = _Growth(graph, root, concepts, nearest)
    growth.add_single_paths()
    # disable=None: no bar where no terminal shows it
    with tqdm(total=len(concepts), desc="paths", unit=" concepts", disable=None) as bar:
        bar.update(growth.placed_concepts)
        while concept := growth.next_concept():
            growth.add(concept)
            bar.update(growth.placed_concepts - bar.n)
    return growth.parents


class _Growth:
    """The tree so far, and for every node of the graph its best ways to it."""

    def __init__(self, graph: Graph, root: str, concepts: Sequence[str], nearest: bool) -> None:
        self.parents: dict[str, str] = {}
        self._root = root
        self._concepts = frozenset(concepts)
        self._pending = set(concepts)
        order = list(nx.topological_sort(graph))
        self._position = {node: position for position, node in enumerate(order)}
        self._order = order
        self._above = {node: sorted(graph.predecessors(node)) for node in order}
        self._below = {node: sorted(graph.successors(node)) for node in order}
        # None: paths are not told apart by their last concept
        self._nearest = nearest_ancestor_concepts(graph, concepts) if nearest else None
        self._shortcuts: dict[str, list[str]] = {}  # concept -> the concepts it is nearest to
        for concept, hangers in (self._nearest or {}).items():
            for hanger in hangers:
                self._shortcuts.setdefault(hanger, []).append(concept)
        self._placed: dict[str, tuple[str, ...]] = {root: ()}  # node of the tree -> its path
        self._ways: dict[str, Ways] = {}
        self._rank = {concept: rank for rank, concept in enumerate(concepts)}
        self._costs: dict[str, int] = {}  # pending concept -> nodes that its best way adds
        self._by_cost: dict[int, set[str]] = {}
        self._round: list[str] = []  # what is left of this round, the next one last

    @property
    def placed_concepts(self) -> int:
        """How many concepts are in the tree."""
        return len(self._concepts) - len(self._pending)

    def add_single_paths(self) -> None:
        """Add every concept with one path to the root."""
        count = {self._root: 1}
        for node in self._order[1:]:
            count[node] = sum(count[parent] for parent in self._above[node])
            if count[node] == 1 and node in self._concepts:
                path = [node]
                while (parent := self._above[path[-1]][0]) != self._root:
                    path.append(parent)
                self._insert(tuple(reversed(path)))
        self._refresh(self._order)

    def next_concept(self) -> str | None:
        """Return the concept whose turn it is, None when all are in the tree."""
        while self._round:
            if (concept := self._round.pop()) in self._pending:
                return concept
        if not self._pending:
            return None
        cheapest = self._by_cost[min(cost for cost, concepts in self._by_cost.items() if concepts)]
        self._round = sorted(cheapest, key=self._rank.__getitem__, reverse=True)
        return self._round.pop()

    def add(self, concept: str) -> None:
        """Add the best way of a concept to the tree."""
        self._refresh(self._insert(self._best_way(concept)[1]))

    def _insert(self, path: tuple[str, ...]) -> list[str]:
        new = [step for step in path if step not in self._placed]
        for step, parent, depth in zip(path, (self._root, *path), range(1, len(path) + 1), strict=False):
            if step not in self._placed:
                self.parents[step] = parent
                self._placed[step] = path[:depth]
                self._pending.discard(step)
                self._file(step, None)
        return new

    def _refresh(self, changed: list[str]) -> None:
        """Work out the ways of the nodes in `changed` and of all that depend on them, ancestors first."""
        queue = [(self._position[node], node) for node in changed]
        heapq.heapify(queue)
        queued = set(changed)
        while queue:
            _, node = heapq.heappop(queue)
            queued.discard(node)
            ways = self._find_ways(node)
            if ways == self._ways.get(node):
                continue
            self._ways[node] = ways
            if node in self._pending:
                self._file(node, self._best_way(node)[0])
            for other in (*self._below[node], *self._shortcuts.get(node, ())):
                if other not in queued and other not in self._placed:
                    queued.add(other)
                    heapq.heappush(queue, (self._position[other], other))

    def _file(self, concept: str, cost: int | None) -> None:
        if concept in self._costs:
            self._by_cost[self._costs.pop(concept)].discard(concept)
        if cost is not None:
            self._costs[concept] = cost
            self._by_cost.setdefault(cost, set()).add(concept)

    def _find_ways(self, node: str) -> Ways:
        """Return the best way to `node` for each last concept that a way may have, `node` itself included."""
        if node in self._placed:
            path = self._placed[node]
            return {self._last_concept(path): (0, path)}
        ways: dict[str, Way] = {}
        for parent in self._above[node]:
            for last, (count, path) in self._ways[parent].items():
                way = (count + 1, (*path, node))
                if last not in ways or way < ways[last]:
                    ways[last] = way
        if node not in self._concepts:
            return ways
        if self._nearest is None:
            return {_NONE: min(ways.values())}
        hangers = self._nearest[node]
        allowed = [way for last, way in ways.items() if last in hangers or not hangers]
        if not allowed:  # a node on every such path is taken: skip what lies between
            above = (self._best_way(hanger) for hanger in hangers)
            allowed = [(count + 1, (*path, node)) for count, path in above]
        return {node: min(allowed)}

    def _best_way(self, node: str) -> Way:
        return min(self._ways[node].values())

    def _last_concept(self, path: tuple[str, ...]) -> str:
        if self._nearest is None:
            return _NONE
        return next((step for step in reversed(path) if step in self._concepts), _NONE)
