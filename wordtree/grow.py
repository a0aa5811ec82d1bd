"""The WordTree algorithm: it chooses one parent for every concept from the hypernym paths of WordNet.

The rule is the paper's (YOLO9000, section 3). First come the concepts with a single path to the root. Then, repeatedly,
comes the concept whose best path adds the fewest nodes to the tree. Concepts are added in rounds: a round takes all
concepts that add the fewest nodes, in the order they are given, each by the path that is best at its turn. Among paths
that add equally many nodes, the one whose synset names come first, compared from the root down, is taken.

A concept's **nearest ancestor concepts** are its ancestor concepts with no other concept between. The shortest path
may bypass them: in WordNet, mask is right below covering, and also below disguise, which is itself below covering. So,
unless `nearest` is false, a concept only takes paths whose last concept is one of its nearest. If two concepts need
the same node below different nearest ancestors, the node lies below one of these only, and the other concept's path
skips it.

Every node of the graph holds its best way to the tree, (number of nodes to add, names from the root down), for each
concept that may be the last one above it. Adding a concept changes the best ways of nodes below the added nodes, and
only these are computed again, ancestors first. So 82,000 nouns take seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import networkx as nx
from tqdm import tqdm

Graph: TypeAlias = "nx.DiGraph[str]"
Way: TypeAlias = tuple[int, tuple[str, ...]]  # number of nodes to add, and the path from below the root to this node
Ways: TypeAlias = Mapping[str, Way]  # last concept above (_NONE if there is none) -> best way
_NONE = ""


def nearest_ancestor_concepts(graph: Graph, concepts: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the nearest ancestor concepts of each concept: those with no other ancestor concept of it below them.

    Parameters
    ----------
    graph : DiGraph
        The graph; its edges go from hypernym to hyponym.
    concepts : collection of str
        Nodes of the graph.

    Returns
    -------
    dict of str to frozenset of str

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
        The graph; its edges go from hypernym to hyponym, every other node is below `root`, and it has no cycle.
    root : str
        The node of the graph above all others. It is no node of the tree.
    concepts : sequence of str
        Nodes of the graph, each once, without `root`. Of two concepts that add equally many nodes, the earlier one is
        added first.
    nearest : bool
        Keep every concept below one of its nearest ancestor concepts.

    Returns
    -------
    dict of str to str
        The parent of every node of the tree, or `root`. Parents come before their children.

    Examples
    --------
    >>> graph = nx.DiGraph([("r", "a"), ("a", "b"), ("b", "c"), ("a", "c"), ("b", "d")])
    >>> grow_tree(graph, "r", ["c"]), grow_tree(graph, "r", ["c", "b"])
    ({'a': 'r', 'c': 'a'}, {'a': 'r', 'b': 'a', 'c': 'b'})
    """
    growth = _Growth(graph, root, concepts, nearest)
    growth.add_single_paths()
    # disable=None shows no bar if there is no terminal
    with tqdm(total=len(concepts), desc="paths", unit=" concepts", disable=None) as bar:
        bar.update(growth.placed_concepts)
        while concept := growth.next_concept():
            growth.add(concept)
            bar.update(growth.placed_concepts - bar.n)
    return growth.parents


class _Growth:
    """The tree so far, and the best ways to it from every node of the graph."""

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
        # None means that paths may have any last concept
        self._nearest = nearest_ancestor_concepts(graph, concepts) if nearest else None
        self._nearest_below: dict[str, list[str]] = {}  # concept -> the concepts that it is a nearest ancestor of
        for concept, ancestors in (self._nearest or {}).items():
            for ancestor in ancestors:
                self._nearest_below.setdefault(ancestor, []).append(concept)
        self._placed: dict[str, tuple[str, ...]] = {root: ()}  # node of the tree -> its path
        self._ways: dict[str, Ways] = {}
        self._rank = {concept: rank for rank, concept in enumerate(concepts)}
        self._costs: dict[str, int] = {}  # pending concept -> nodes that its best way adds
        self._by_cost: dict[int, set[str]] = {}
        self._round: list[str] = []  # the concepts left in this round, the next one at the end

    @property
    def placed_concepts(self) -> int:
        """The number of concepts in the tree."""
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
        """Return the concept whose turn it is; None if all are in the tree."""
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
        """Compute the ways of the nodes in `changed` and of all nodes that depend on them, ancestors first."""
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
            for other in (*self._below[node], *self._nearest_below.get(node, ())):
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
        nearest = self._nearest[node]
        allowed = [way for last, way in ways.items() if last in nearest or not nearest]
        if not allowed:  # every such path has a node that lies elsewhere in the tree: skip the nodes between
            above = (self._best_way(ancestor) for ancestor in nearest)
            allowed = [(count + 1, (*path, node)) for count, path in above]
        return {node: min(allowed)}

    def _best_way(self, node: str) -> Way:
        return min(self._ways[node].values())

    def _last_concept(self, path: tuple[str, ...]) -> str:
        if self._nearest is None:
            return _NONE
        return next((step for step in reversed(path) if step in self._concepts), _NONE)
