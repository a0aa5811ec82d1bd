"""The tree as answers: searched, node by node, and as an outline for the picture."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wordtree import AmbiguousName, UnknownName, WordTree
from wordtree.search import SearchIndex
from yolo9000.detection.config import DecodeConfig
from yolo9000.serving.answers import (
    Below,
    Child,
    Children,
    Classes,
    FoundNode,
    Named,
    NodeScore,
    NodeView,
    Outline,
    Overview,
    PhotoLimits,
    Run,
    ScoredClass,
    Search,
    State,
    TrainingData,
)
from yolo9000.serving.refusals import Ambiguous, NoSuchThing
from yolo9000.serving.training_facts import TrainingFacts

MOST_SHOWN = 200
"""Siblings or children that come with a node; there are groups of thousands."""
MOST_OUTLINE = 100_000
"""Nodes of one outline: more than WordNet has nouns."""
_NEAREST = 3
_LETTERS = {"boxes": "b", "labels": "l", "none": "n"}


class Explorer:
    """A tree, and what a run says about its nodes, as answers to a page.

    Parameters
    ----------
    tree : WordTree
    facts : TrainingFacts, optional
        None where the tree is shown alone.
    origin : str
        Where the tree is from, for people.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "cat", "poodle"), (-1, 0, 0, 1))
    >>> explorer = Explorer(tree)
    >>> view = explorer.node(1)
    >>> [each.name for each in view.siblings], [each.name for each in view.children], view.depth
    (['cat'], ['poodle'], 1)
    >>> explorer.outline().leaves
    [2, 1, 1, 1]
    """

    def __init__(self, tree: WordTree, facts: TrainingFacts | None = None, *, origin: str = "") -> None:
        self.tree = tree
        self.facts = facts
        self.origin = origin
        self._boxed = self._marked(facts.boxed if facts else ())
        self._labelled = self._marked(facts.labelled if facts else ())

    @cached_property
    def index(self) -> SearchIndex:
        """What a search is answered from. It takes a second to make for all nouns."""
        return SearchIndex(self.tree)

    def overview(self, photos: PhotoLimits | None = None, decode: DecodeConfig = DecodeConfig()) -> Overview:
        """The tree and the net, in numbers."""
        tree, facts = self.tree, self.facts
        run = None
        if facts is not None:
            run = Run(
                name=facts.name,
                step=facts.step,
                sources=list(facts.sources),
                boxed=len(facts.boxed),
                labelled=len(facts.labelled),
                scored=len(facts.scores),
            )
        return Overview(
            tree=self.origin,
            nodes=len(tree),
            leaves=len(tree.leaves),
            depth=int(tree.depths.max()),
            root=tree.root,
            named_by={source: len(classes) for source, classes in tree.label_maps.items()},
            top=[self.named(node) for node in tree.top_nodes[:MOST_SHOWN]],
            run=run,
            photos=photos,
            threshold=decode.threshold,
            tree_threshold=decode.tree_threshold,
        )

    def search(self, text: str, limit: int) -> Search:
        """The nodes that a text may mean; see `SearchIndex.search`."""
        matches = self.index.search(text, limit)
        return Search(
            query=text,
            alike=any(match.how == "alike" for match in matches),
            matches=[
                FoundNode(
                    **self.named(match.node).model_dump(),
                    matched=match.name,
                    how=match.how,
                    synset=self.tree.synsets[match.node],
                    wnid=self.tree.wnids[match.node],
                    above=[self.tree.names[each] for each in self.tree.path(match.node)[:-1]][-_NEAREST:],
                    children=self._number_of_children(match.node),
                )
                for match in matches
            ],
        )

    def resolve(self, name: str) -> int:
        """The node of exactly this name, synset or wnid.

        Raises
        ------
        NoSuchThing, Ambiguous
        """
        try:
            return self.tree.node(name)
        except AmbiguousName as error:
            raise Ambiguous(f"{name!r} is the name of {len(error.candidates)} nodes", error.candidates) from None
        except UnknownName:
            raise NoSuchThing(f"no node has the name {name!r}; search for a part of it") from None

    def node(self, node: int) -> NodeView:
        """All that is known about a node."""
        tree = self.tree
        self._check(node)
        siblings = tree.siblings(node)
        score = self.facts.scores.get(node) if self.facts else None
        taught = self.facts.taught.get(node) if self.facts else None
        return NodeView(
            **self.named(node).model_dump(),
            wnid=tree.wnids[node],
            synset=tree.synsets[node],
            also=[name for name in tree.lemmas[node] if name != tree.names[node]],
            depth=tree.depth(node),
            path=[self.named(each) for each in tree.path(node)],
            siblings=[self._child(each) for each in siblings[:MOST_SHOWN]],
            siblings_total=len(siblings),
            children=self.children(node, 0, MOST_SHOWN).children,
            children_total=self._number_of_children(node),
            below=Below(
                nodes=int(self._nodes_from[node]) - 1,
                leaves=int(self._leaves_from[node]) if self._number_of_children(node) else 0,
                boxes=int(self._boxed_from[node] - self._boxed[node]),
                labels=int(self._labelled_from[node] - self._labelled[node]),
            ),
            classes=self._class_names.get(node, {}),
            score=None if score is None else NodeScore(ap50=score.ap50, boxes=score.boxes),
            taught=None if taught is None else TrainingData(**taught._asdict()),
        )

    def children(self, node: int, first: int, limit: int) -> Children:
        """Some of the children of a node, in their order."""
        self._check(node)
        found = self.tree.children(node)
        return Children(
            total=len(found), first=first, children=[self._child(each) for each in found[first : first + limit]]
        )

    def classes(self, state: State, first: int, limit: int) -> Classes:
        """The classes that had boxes, or that only labels of whole images taught, by their names."""
        facts, tree = self.facts, self.tree
        nodes = () if facts is None else {"boxes": facts.boxed, "labels": facts.labelled, "none": ()}[state]
        ordered = sorted(nodes, key=lambda node: (tree.names[node].casefold(), node))
        return Classes(
            total=len(ordered),
            classes=[
                ScoredClass(
                    **self._child(node).model_dump(),
                    parent=tree.names[tree.parents[node]] if tree.parents[node] >= 0 else None,
                    ap50=facts.scores[node].ap50 if facts and node in facts.scores else None,
                )
                for node in ordered[first : first + limit]
            ],
        )

    def outline(self, node: int | None = None, levels: int | None = None) -> Outline:
        """A part of the tree in columns, for a picture of it.

        Parameters
        ----------
        node : int, optional
            The node that it begins with; without it all top nodes.
        levels : int, optional
            How many levels below.
        """
        tree = self.tree
        if node is not None:
            self._check(node)
        level = [node] if node is not None else list(tree.top_nodes)
        nodes, parents, depth = list(level), [-1] * len(level), 0
        begin = 0
        cut = False
        while level:
            below: list[int] = []
            if (levels is not None and depth == levels) or len(nodes) >= MOST_OUTLINE:
                cut = any(self._number_of_children(each) for each in level)
                break
            for place, each in enumerate(level, begin):
                children = tree.children(each)
                below += children
                parents += [place] * len(children)
            begin = len(nodes)
            nodes += below
            level, depth = below, depth + 1
        return Outline(
            node=nodes,
            parent=parents,
            name=[tree.names[each] for each in nodes],
            leaves=self._leaves_from[nodes].tolist(),
            children=[self._number_of_children(each) for each in nodes],
            state="".join(_LETTERS[self.state(each)] for each in nodes),
            cut=cut,
        )

    @cached_property
    def outline_json(self) -> bytes:
        """The whole outline as it is sent: megabytes for all nouns, so it is made once."""
        return self.outline().model_dump_json().encode()

    def state(self, node: int) -> State:
        """What data trained a node by name."""
        return "boxes" if self._boxed[node] else "labels" if self._labelled[node] else "none"

    def named(self, node: int) -> Named:
        """A node with its name."""
        return Named(node=node, name=self.tree.names[node], state=self.state(node))

    # ---------------------------------------------------------------------------------------------------- internal

    def _child(self, node: int) -> Child:
        return Child(**self.named(node).model_dump(), children=self._number_of_children(node))

    def _check(self, node: int) -> None:
        if not 0 <= node < len(self.tree):
            raise NoSuchThing(f"there is no node {node}: they are 0 to {len(self.tree) - 1}")

    def _number_of_children(self, node: int) -> int:
        group = int(self.tree.child_group[node])
        return 0 if group < 0 else int(self.tree.group_sizes[group])

    def _marked(self, nodes: frozenset[int] | tuple[int, ...]) -> NDArray[np.bool_]:
        marks = np.zeros(len(self.tree), bool)
        marks[list(nodes)] = True
        return marks

    @cached_property
    def _nodes_from(self) -> NDArray[np.int64]:
        return self.tree.sum_upwards(np.ones(len(self.tree), np.int64))

    @cached_property
    def _leaves_from(self) -> NDArray[np.int64]:
        return self.tree.sum_upwards(self.tree.child_group < 0)

    @cached_property
    def _boxed_from(self) -> NDArray[np.int64]:
        return self.tree.sum_upwards(self._boxed)

    @cached_property
    def _labelled_from(self) -> NDArray[np.int64]:
        return self.tree.sum_upwards(self._labelled)

    @cached_property
    def _class_names(self) -> dict[int, dict[str, str]]:
        found: dict[int, dict[str, str]] = {}
        for source, classes in self.tree.label_maps.items():
            for name, node in classes.items():
                found.setdefault(node, {})[source] = name
        return found
