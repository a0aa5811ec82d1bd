"""WordTree: one tree of concepts as a frozen value, and its queries.

It is one file because it is one class: every query is a short method on the same arrays.

Terms
-----
node
    A concept, identified by its position ``0 .. K-1``. Parents come before their children.
top node
    A node without a parent (its parent is -1). There may be several. A root above them, if any, is only implied.
sibling group
    All children of one node, or all top nodes (group 0). One softmax runs over each group, so the members of a
    group are contiguous. Groups are numbered in node order, as darknet does.
rest
    An alternative in a sibling group that is not a node and has logit 0: "a car, but none of the kinds in the tree".
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from wordtree.errors import AmbiguousName, NameResolutionError, TreeError, TreeFormatError, UnknownName
from wordtree.names import NameIndex
from wordtree.validation import (
    as_ints,
    as_json,
    first_label_fault,
    first_name_fault,
    first_structure_fault,
    is_line,
)

__all__ = [
    "AmbiguousName",
    "NameResolutionError",
    "Rest",
    "TreeError",
    "TreeFormatError",
    "TreeSubset",
    "UnknownName",
    "WordTree",
]

Rest = Literal["none", "only_child", "all"]
IntTable: TypeAlias = npt.NDArray[np.int32]

MOST_SUGGESTED = 5
"""Unknown names of a list that an error has names spelled alike for; one takes a tenth of a second at 9,418 nodes."""


class TreeSubset(NamedTuple):
    """A part of a tree, and the map between its nodes and those of the whole tree, which weights need.

    Attributes
    ----------
    tree : WordTree
        The part.
    old_to_new : tuple of int
        For each node of the whole tree, its node in `tree`; -1 if it was dropped.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> only_cats = tree.prune(["cat"])
    >>> weights = np.array([[0.0], [1.0], [2.0], [3.0]])  # (K, channels) of a head for `tree`
    >>> weights[list(only_cats.new_to_old)].tolist()
    [[0.0], [3.0]]
    """

    tree: WordTree
    old_to_new: tuple[int, ...]

    def __repr__(self) -> str:
        # the map of a large tree is thousands of numbers
        return f"TreeSubset(tree={self.tree!r}, old_to_new=<{len(self.tree)} of {len(self.old_to_new)} nodes kept>)"

    @property
    def new_to_old(self) -> tuple[int, ...]:
        """For each node of `tree`, its node in the whole tree: the rows to take from a head's weights."""
        return tuple(np.flatnonzero(np.asarray(self.old_to_new) >= 0).tolist())


@dataclass(frozen=True, eq=False)
class WordTree:
    """A tree of concepts.

    Wherever a method takes a node it also takes a name, which it resolves as `node` does.

    Parameters
    ----------
    wnids : tuple of str, length K
        The unique ids, without white space: WordNet 3.0 ids such as ``'n02958343'``, or a user's own.
    names : tuple of str, length K
        The display names, one line each. They may repeat.
    parents : tuple of int, length K
        The parent of each node, ``parents[i] < i``; -1 for a top node. The children of a node are contiguous.
    synsets : tuple of (str or None), length K or 0
        The synset names, such as ``'car.n.01'``; ``()`` means None for every node.
    lemmas : tuple of tuples of str, length K or 0
        The further names of each node; ``()`` means that there are none.
    rest : {"none", "only_child", "all"}
        The sibling groups that have a rest alternative: none (as in darknet's trees), those of one member, or all.
        Without a rest an only child is certain, and every car is a taxi.
    label_maps : mapping of str to mapping of str to int
        For each source of labels, the node of each class name, as the source writes it and in its order.
    root : str, optional
        The implied root, such as ``'physical_entity.n.01'``. It is not a node.
    notes : mapping
        The origin of the tree, as JSON values.

    Raises
    ------
    TreeError
        If the columns do not make a tree; the message names the first wrong node.

    Examples
    --------
    >>> tree = WordTree(
    ...     wnids=("n02084071", "n02121620", "n02092468"), names=("dog", "cat", "terrier"), parents=(-1, -1, 0)
    ... )
    >>> len(tree), tree.node("terrier"), tree.path("terrier")
    (3, 2, (0, 2))
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]
    parents: tuple[int, ...]
    synsets: tuple[str | None, ...] = ()
    lemmas: tuple[tuple[str, ...], ...] = ()
    rest: Rest = "none"
    label_maps: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    root: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.wnids)
        if count == 0:
            raise TreeError("a tree needs at least one node")
        object.__setattr__(self, "synsets", self.synsets or (None,) * count)
        object.__setattr__(self, "lemmas", self.lemmas or ((),) * count)
        for key in ("wnids", "names", "parents", "synsets", "lemmas"):
            column = tuple(getattr(self, key))
            if len(column) != count:
                raise TreeError(f"{key} has {len(column)} entries for {count} nodes", key=key)
            object.__setattr__(self, key, column)
        if str in set(map(type, self.lemmas)):
            raise TreeError("lemmas holds a string; it must hold one sequence of strings for each node")
        object.__setattr__(self, "lemmas", tuple(map(tuple, self.lemmas)))
        object.__setattr__(self, "parents", as_ints(self.parents))
        object.__setattr__(self, "label_maps", {name: dict(classes) for name, classes in self.label_maps.items()})
        object.__setattr__(self, "notes", as_json(self.notes))
        if self.rest not in get_args(Rest):
            raise TreeError(f"rest is {self.rest!r}; it must be one of {', '.join(get_args(Rest))}", key="rest")
        if self.root is not None and not is_line(self.root):
            raise TreeError(f"root is {self.root!r}; it must be the name of a synset, or None")
        fault = first_structure_fault(self.wnids, self.parents)
        fault = fault or first_name_fault(self.names, self.synsets, self.lemmas)
        if fault is not None:
            raise TreeError(f"node {fault.node}: {fault.message}", key=fault.key, node=fault.node)
        if message := first_label_fault(self.label_maps, count):
            raise TreeError(message, key="label_maps")

    # ------------------------------------------------------------------------------------------------ as a value

    def __len__(self) -> int:
        return len(self.wnids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordTree):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        # The digest is the same in every process, which the hash of a str is not.
        return int(self.digest[:15], 16)

    def __reduce__(self) -> tuple[type[WordTree], tuple[object, ...]]:
        # Only the columns are pickled: making the cached tables again is cheaper than sending them to every worker.
        return type(self), tuple(getattr(self, column.name) for column in fields(self))

    def __repr__(self) -> str:
        return f"<WordTree: {len(self)} nodes, {len(self.leaves)} leaves, {len(self.group_sizes)} sibling groups>"

    @property
    def _content(self) -> tuple[object, ...]:
        # The order of a source's classes gives their class indices, and comparing dicts would ignore it.
        maps = {source: tuple(classes.items()) for source, classes in self.label_maps.items()}
        columns = (self.wnids, self.names, self.parents, self.synsets, self.lemmas)
        return (*columns, self.rest, maps, self.root, self.notes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of ids, parents and `rest`: equal if and only if a head's logits mean the same in both."""
        return hashlib.sha256(json.dumps([self.wnids, self.parents, self.rest]).encode()).hexdigest()

    # ---------------------------------------------------------------------------------------------------- queries

    def node(self, name: str | int) -> int:
        """Return the node that a name stands for.

        A name is compared without case, and underscores count as spaces. It is looked up as a wnid, a synset name, a
        class name of a source in `label_maps`, a display name and a lemma, in this order; the first match decides.

        Parameters
        ----------
        name : str or int
            The name. A number must be a node and is returned as it is.

        Returns
        -------
        int

        Raises
        ------
        UnknownName
            If no node has this name (the message lists names spelled alike), or the number is no node.
        AmbiguousName
            If several nodes have this name. The message lists each as `describe` shows it.

        Examples
        --------
        >>> tree = WordTree(("n02127808", "n10218831"), ("lion", "lion"), (-1, -1), ("lion.n.01", "lion.n.02"))
        >>> tree.node("Lion.n.02")
        1
        >>> tree.node("lion")
        Traceback (most recent call last):
        wordtree.errors.AmbiguousName: 'lion' is the name of 2 nodes; use the id or the synset name of one:
          lion.n.01 (n02127808): lion
          lion.n.02 (n10218831): lion
        """
        return self._node(name, suggest=True)

    def find(self, name: str) -> tuple[int, ...]:
        """Return all nodes that a name may stand for, which `node` takes if it is only one: none, one or several.

        Examples
        --------
        >>> tree = WordTree(("n02127808", "n10218831"), ("lion", "lion"), (-1, -1))
        >>> tree.find("Lion"), tree.find("tiger")
        ((0, 1), ())
        """
        return self._names.find(name)

    def _node(self, name: str | int, *, suggest: bool) -> int:
        if isinstance(name, str):
            found = self.find(name)
            if len(found) == 1:
                return found[0]
            if found:
                listed = "".join(f"\n  {self.describe(node)}" for node in found)
                raise AmbiguousName(
                    f"{name!r} is the name of {len(found)} nodes; use the id or the synset name of one:{listed}", found
                )
            close = self._names.close_matches(name) if suggest else ()
            hint = f"; close to it: {', '.join(close)}" if close else ""
            raise UnknownName(f"{name!r} is no name in this tree of {len(self)} nodes{hint}", close)
        node = operator.index(name)
        if not 0 <= node < len(self):
            raise self._no_node(node)
        return node

    def _no_node(self, number: int) -> UnknownName:
        return UnknownName(f"{number} is no node of this tree: its nodes are 0 to {len(self) - 1}")

    def path(self, node: str | int) -> tuple[int, ...]:
        """Return the nodes from the top down to `node`, both included."""
        step, upward = self.node(node), []
        while step >= 0:
            upward.append(step)
            step = self.parents[step]
        return tuple(reversed(upward))

    def children(self, node: str | int) -> tuple[int, ...]:
        """Return the children of `node`; empty for a leaf."""
        group = int(self.child_group[self.node(node)])
        return () if group < 0 else self._members(group)

    def siblings(self, node: str | int) -> tuple[int, ...]:
        """Return the other members of the node's sibling group."""
        me = self.node(node)
        return tuple(other for other in self._members(int(self.group_of[me])) if other != me)

    def depth(self, node: str | int) -> int:
        """Return the number of ancestors of `node`: 0 for a top node."""
        return int(self.depths[self.node(node)])

    def is_ancestor(self, ancestor: str | int, node: str | int) -> bool:
        """Return whether `ancestor` is strictly above `node`."""
        above, below = self.node(ancestor), self.node(node)
        while below > above:  # a parent's number is below its child's
            below = self.parents[below]
            if below == above:
                return True
        return False

    def lowest_common_ancestor(self, a: str | int, b: str | int) -> int:
        """Return the deepest node on the paths of both `a` and `b`, -1 if there is none.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
        >>> tree.lowest_common_ancestor("dog", "cat"), tree.lowest_common_ancestor("dog", "rock")
        (0, -1)
        """
        left, right = self.node(a), self.node(b)
        while left != right:
            if left > right:
                left = self.parents[left]
            else:
                right = self.parents[right]
        return left

    def describe(self, node: str | int, levels: int = 3) -> str:
        """Return one line that distinguishes a node from others of the same name: synset, id, and end of the path.

        Parameters
        ----------
        node : str or int
            The node or its name.
        levels : int
            The number of nodes of the path to show, the node itself included.

        Returns
        -------
        str

        Examples
        --------
        >>> WordTree(("n1", "n2"), ("vehicle", "car"), (-1, 0), ("vehicle.n.01", "car.n.01")).describe("car")
        'car.n.01 (n2): vehicle > car'
        """
        me = self.node(node)
        synset = self.synsets[me]
        label = f"{synset} ({self.wnids[me]})" if synset else self.wnids[me]
        return f"{label}: {' > '.join(self.names[step] for step in self.path(me)[-levels:])}"

    # --------------------------------------------------------------------------------------------- parts of a tree

    def subtree(self, nodes: str | int | Iterable[str | int]) -> TreeSubset:
        """Return the tree of `nodes`, everything below them, and their ancestors.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
        >>> tree.subtree("animal").old_to_new
        (0, -1, 1, 2)
        """
        named = self._nodes(nodes)
        return self._restricted_to(self._with_ancestors(np.asarray(named, dtype=np.int64)) | self.at_or_below(named))

    def below(self, node: str | int) -> TreeSubset:
        """Return the tree of a node and everything below it, without its ancestors.

        The node is the only top node. A probability in it, divided by that of the node, is given that the thing is a
        `node`. With the `rest` "none" the node itself is certain; otherwise its group of one has a rest alternative.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "terrier", "hound"), (-1, 0, 1, 1))
        >>> tree.below("dog").tree.names
        ('dog', 'terrier', 'hound')
        """
        return self._restricted_to(self.at_or_below(self.node(node)))

    def prune(self, keep: str | int | Iterable[str | int]) -> TreeSubset:
        """Return the tree of the nodes in `keep` and their ancestors: "only my classes".

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
        >>> tree.prune(["cat"]).tree.names
        ('animal', 'cat')
        """
        return self._restricted_to(self._with_ancestors(np.asarray(self._nodes(keep), dtype=np.int64)))

    def flatten(self, keep: str | int | Iterable[str | int]) -> TreeSubset:
        """Return a tree with the nodes in `keep` beside each other, all at the top: one softmax over them.

        It is the baseline that shows what the hierarchy is worth. In it, a node and its descendants exclude each other.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
        >>> flat = tree.flatten(["cat", "rock"]).tree
        >>> flat.names, flat.parents
        (('rock', 'cat'), (-1, -1))
        """
        kept = np.zeros(len(self), np.bool_)
        kept[self._nodes(keep)] = True
        return self._restricted_to(kept, flat=True)

    def closure(self, nodes: str | int | Iterable[str | int]) -> TreeSubset:
        """Return the smallest tree of whole sibling groups that determines the probability of each of `nodes`.

        It holds every member of every sibling group on their paths, and the groups keep their rest alternatives. A
        softmax over its logits alone therefore gives its nodes the same P as one over the whole tree, and a head need
        not compute the other columns.

        Raises
        ------
        NameResolutionError
            If a name leads to no node.
        TreeError
            If `nodes` is empty.

        Examples
        --------
        >>> tree = WordTree(
        ...     ("a", "b", "c", "d", "e", "f"), ("animal", "tool", "dog", "cat", "saw", "axe"), (-1, -1, 0, 0, 1, 1)
        ... )
        >>> part = tree.closure(["cat"])
        >>> part.tree.names
        ('animal', 'tool', 'dog', 'cat')

        >>> import torch
        >>> from wordtree.softmax import log_probs
        >>> logits = torch.tensor([1.0, 0.0, -1.0, 2.0, 3.0, 0.5])
        >>> whole = log_probs(logits, tree)[tree.node("cat")]
        >>> columns = list(part.new_to_old)
        >>> torch.allclose(log_probs(logits[columns], part.tree)[part.tree.node("cat")], whole)
        True
        """
        return self._restricted_to(self.read_along(self._nodes(nodes)))

    def at_or_below(self, nodes: str | int | Iterable[str | int]) -> npt.NDArray[np.bool_]:
        """Mark `nodes` and everything below any of them, (K,).

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d", "e"), ("animal", "tool", "dog", "cat", "saw"), (-1, -1, 0, 0, 1))
        >>> tree.at_or_below(["animal", "saw"]).nonzero()[0].tolist()
        [0, 2, 3, 4]
        """
        marked = np.zeros(len(self), dtype=bool)
        level = np.unique(np.asarray(self._nodes(nodes), dtype=np.int64))
        while len(level):
            marked[level] = True
            groups = self.child_group[level]
            below = self._members_of(groups[groups >= 0])
            level = below[~marked[below]]
        return marked

    def sum_upwards(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return for each node the sum of the values of it and of everything below it, (K,): int64 or float64.

        Parameters
        ----------
        values : NDArray (K,)
            A number for each node; marks count as 0 and 1.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d", "e"), ("animal", "tool", "dog", "cat", "saw"), (-1, -1, 0, 0, 1))
        >>> tree.sum_upwards(np.array([0, 5, 1, 2, 4])).tolist()
        [3, 9, 1, 2, 4]
        """
        sums = values.astype(np.result_type(values, np.int64))
        for depth in range(int(self.depths.max()), 0, -1):
            level = np.flatnonzero(self.depths == depth)[::-1]  # fractions round as in a loop up from the last node
            np.add.at(sums, self.parent_of[level], sums[level])
        return sums

    def read_along(self, nodes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Mark the nodes that are in a sibling group on the path of any of `nodes`, (K,): the nodes of `closure`.

        Raises
        ------
        UnknownName
            If a number is no node. The "no label" of others, -1, is none.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d", "e"), ("animal", "tool", "dog", "cat", "saw"), (-1, -1, 0, 0, 1))
        >>> tree.read_along([2]).nonzero()[0].tolist()
        [0, 1, 2, 3]
        """
        found = np.asarray(nodes, dtype=np.int64)
        if wrong := found[(found < 0) | (found >= len(self))].tolist():
            raise self._no_node(wrong[0])
        reached = np.zeros(len(self.group_sizes), dtype=bool)
        groups = np.unique(self.group_of[found])
        while len(groups):
            reached[groups] = True
            above = self.parent_of[self.group_offsets[groups]]
            groups = np.unique(self.group_of[above[above >= 0]])
            groups = groups[~reached[groups]]
        return reached[self.group_of]

    # ------------------------------------------------------------------------- tables: int32 arrays, read-only

    @cached_property
    def parent_of(self) -> IntTable:
        """(K,) `parents` as an array: the parent of each node, -1 for a top node."""
        return _frozen(np.asarray(self.parents))

    @cached_property
    def group_of(self) -> IntTable:
        """(K,) the sibling group of each node."""
        starts = np.r_[False, self.parent_of[1:] != self.parent_of[:-1]]
        return _frozen(np.cumsum(starts))

    @cached_property
    def group_offsets(self) -> IntTable:
        """(G,) the first node of each sibling group."""
        return _frozen(np.flatnonzero(np.diff(self.group_of, prepend=-1)))

    @cached_property
    def group_sizes(self) -> IntTable:
        """(G,) the number of nodes of each sibling group, without a rest alternative."""
        return _frozen(np.diff(self.group_offsets, append=len(self)))

    @cached_property
    def child_group(self) -> IntTable:
        """(K,) the sibling group of a node's children, -1 for a leaf."""
        table = np.full(len(self), -1)
        parent_of_group = self.parent_of[self.group_offsets]
        table[parent_of_group[1:]] = np.arange(1, len(parent_of_group))
        return _frozen(table)

    @cached_property
    def group_has_rest(self) -> npt.NDArray[np.bool_]:
        """(G,) bool, whether a sibling group has a rest alternative."""
        match self.rest:
            case "none":
                table = np.zeros(len(self.group_sizes), dtype=bool)
            case "only_child":
                table = self.group_sizes == 1
            case "all":
                table = np.ones(len(self.group_sizes), dtype=bool)
        table.flags.writeable = False
        return table

    @cached_property
    def depths(self) -> IntTable:
        """(K,) the number of ancestors of each node."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        return _frozen(np.asarray(depths))

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """The nodes without children, in order."""
        return tuple(np.flatnonzero(self.child_group < 0).tolist())

    @property
    def top_nodes(self) -> tuple[int, ...]:
        """The nodes without a parent, in order."""
        return self._members(0)

    # ---------------------------------------------------------------------------------------------------- internal

    @cached_property
    def _names(self) -> NameIndex:
        return NameIndex(self.wnids, self.names, self.synsets, self.lemmas, self.label_maps)

    def _members(self, group: int) -> tuple[int, ...]:
        first = int(self.group_offsets[group])
        return tuple(range(first, first + int(self.group_sizes[group])))

    def _members_of(self, groups: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the members of several sibling groups, group after group."""
        sizes = self.group_sizes[groups]
        before = np.cumsum(sizes) - sizes
        return np.repeat(self.group_offsets[groups] - before, sizes) + np.arange(sizes.sum())

    def _nodes(self, nodes: str | int | Iterable[str | int]) -> list[int]:
        # A string is iterable too, but means one name.
        if isinstance(nodes, str) or not isinstance(nodes, Iterable):
            return [self.node(nodes)]
        found: list[int] = []
        errors: list[NameResolutionError] = []
        for node in nodes:
            try:
                found.append(self._node(node, suggest=len(errors) < MOST_SUGGESTED))
            except NameResolutionError as error:
                errors.append(error)
        if len(errors) > 1:  # one error lists all, so that the user can correct them at once
            raise NameResolutionError("\n".join((f"{len(errors)} names lead to no node:", *map(str, errors))))
        if errors:
            raise errors[0]
        return found

    def _with_ancestors(self, nodes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which nodes are in `nodes` or above one of them, (K,)."""
        keep = np.zeros(len(self), dtype=bool)
        while len(nodes):
            keep[nodes] = True
            above = self.parent_of[nodes]
            above = above[above >= 0]
            nodes = np.unique(above[~keep[above]])
        return keep

    def _restricted_to(self, keep: npt.NDArray[np.bool_], *, flat: bool = False) -> TreeSubset:
        """Return the tree of the nodes marked in `keep` (K,). Unless `flat`, their ancestors must be marked too."""
        old = np.flatnonzero(keep)
        if not len(old):
            raise TreeError("no node was named, and a tree needs at least one")
        # One more place at the end, so that the parent of a top node, -1, stays -1.
        renumbered = np.full(len(self) + 1, -1)
        renumbered[old] = np.arange(len(old))
        old_to_new = renumbered[:-1].tolist()
        kept = old.tolist()
        maps = {
            source: {name: old_to_new[node] for name, node in classes.items() if old_to_new[node] >= 0}
            for source, classes in self.label_maps.items()
        }
        tree = replace(
            self,
            wnids=tuple([self.wnids[node] for node in kept]),
            names=tuple([self.names[node] for node in kept]),
            parents=(-1,) * len(kept) if flat else tuple(renumbered[self.parent_of[old]].tolist()),
            synsets=tuple([self.synsets[node] for node in kept]),
            lemmas=tuple([self.lemmas[node] for node in kept]),
            label_maps={source: classes for source, classes in maps.items() if classes},
        )
        return TreeSubset(tree, tuple(old_to_new))


def _frozen(table: npt.NDArray[Any]) -> IntTable:
    table = table.astype(np.int32)
    table.flags.writeable = False
    return table
