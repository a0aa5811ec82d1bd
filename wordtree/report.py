"""Text reports about a tree: its content, and how it differs from another tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wordtree.tree import WordTree

if TYPE_CHECKING:
    from wordtree.wordnet import WordNet


def summarize(tree: WordTree, groups: int = 5) -> str:
    """Return some lines about a tree: its size, its largest sibling groups, and what its notes say of its origin.

    Parameters
    ----------
    tree : WordTree
        The tree.
    groups : int
        The number of largest sibling groups to name.

    Returns
    -------
    str

    Examples
    --------
    >>> print(summarize(WordTree(("a", "b", "c"), ("dog", "terrier", "spaniel"), (-1, 0, 0)), groups=1))
    nodes           3
    leaves          2
    depth           2 levels
    sibling groups  2, of 1 to 2 nodes
    largest groups  2 dog
    """
    sizes = tree.group_sizes
    rest = int(tree.group_has_rest.sum())
    rows = [
        ("nodes", f"{len(tree):,}" + (f" under {tree.root}" if tree.root else "")),
        ("leaves", f"{len(tree.leaves):,}"),
        ("depth", f"{int(tree.depths.max()) + 1} levels"),
        (
            "sibling groups",
            f"{len(sizes):,}, of {sizes.min()} to {sizes.max()} nodes" + (f"; {rest} with a rest" if rest else ""),
        ),
    ]
    largest = sorted(range(len(sizes)), key=lambda group: (-sizes[group], group))[:groups]
    rows.append(("largest groups", ", ".join(f"{sizes[group]} {_head(tree, group)}" for group in largest)))
    notes = tree.notes
    for source, counts in notes.get("sources", {}).items():
        text = f"{counts['classes']:,} classes; {counts['new_concepts']:,} concepts added"
        rows.append((f"from {source}", text))
    if between := notes.get("sources") and len(tree) - sum(c["new_concepts"] for c in notes["sources"].values()):
        rows.append(("in between", f"{between:,} further nodes"))
    rows += [("edge by hand", f"{child} < {parent}") for child, parent in notes.get("extra_edges", ())]
    rows += [("first sense", f"{noun} = {synset}") for noun, synset in notes.get("first_senses", {}).items()]
    rows += [("skipped", concept) for concept in notes.get("skipped", ())]
    width = max(len(key) for key, _ in rows)
    return "\n".join(f"{key:{width}}  {value}" for key, value in rows)


def _head(tree: WordTree, group: int) -> str:
    parent = tree.parents[int(tree.group_offsets[group])]
    return "at the top" if parent < 0 else tree.synsets[parent] or tree.names[parent]


@dataclass(frozen=True)
class ParentComparison:
    """How the parents of a tree's nodes agree with those of a reference tree.

    Attributes
    ----------
    total : int
        The number of nodes of the reference.
    agreeing : int
        The number of these nodes that have the same parent in the tree.
    different : tuple of (str, str, str, str)
        For each node with different parents: its label, its parent in the tree, its parent in the reference ("-" at
        the top), and how far above it WordNet has them (empty at the top, or if no WordNet was given).
    missing, extra : tuple of str
        The labels of nodes that only the reference has, and of those that only the tree has.
    """

    total: int
    agreeing: int
    different: tuple[tuple[str, str, str, str], ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.agreeing:,} of {self.total:,} parents agree"]
        for label, here, there, why in self.different:
            lines.append(f"  {label}: {_place(here)}, there {_place(there)}" + (f" ({why})" if why else ""))
        # These may be thousands, of a small tree beside a large one.
        lines += [f"{len(self.missing):,} nodes are only there"] if self.missing else []
        lines += [f"{len(self.extra):,} nodes are only here"] if self.extra else []
        return "\n".join(lines)


def compare_parents(tree: WordTree, reference: WordTree, wordnet: WordNet | None = None) -> ParentComparison:
    """Compare the parents in two trees, whose nodes are matched by id.

    Parameters
    ----------
    tree, reference : WordTree
        The tree, and the tree to compare it with.
    wordnet : WordNet, optional
        If given, the result says how far above a node in WordNet each of its two parents is.

    Returns
    -------
    ParentComparison

    Examples
    --------
    >>> flat = WordTree(("a", "b", "c"), ("dog", "terrier", "airedale"), (-1, 0, 0))
    >>> deep = WordTree(("a", "b", "c"), ("dog", "terrier", "airedale"), (-1, 0, 1))
    >>> print(compare_parents(flat, deep))
    2 of 3 parents agree
      airedale: below dog, there below terrier
    """
    here, there = _parent_ids(tree), _parent_ids(reference)
    # Labels of the tree come first: it has synset names, while one read from darknet's files has display names only.
    labels = {wnid: _label(reference, node) for node, wnid in enumerate(reference.wnids)}
    labels |= {wnid: _label(tree, node) for node, wnid in enumerate(tree.wnids)}
    labels |= {"-": "-"}
    different = [
        (labels[wnid], labels[here[wnid]], labels[parent], _why(wordnet, wnid, here[wnid], parent) if wordnet else "")
        for wnid, parent in there.items()
        if wnid in here and here[wnid] != parent
    ]
    missing = tuple(labels[wnid] for wnid in there if wnid not in here)
    extra = tuple(labels[wnid] for wnid in here if wnid not in there)
    return ParentComparison(len(there), len(there) - len(different) - len(missing), tuple(different), missing, extra)


def summarize_difference(
    compared: ParentComparison, a: WordTree, b: WordTree, name_a: str, name_b: str, *, most: int | None = None
) -> str:
    """Return the difference of two trees as lines for people.

    Parameters
    ----------
    compared : ParentComparison
        The comparison of `a` with `b`.
    a, b : WordTree
    name_a, name_b : str
        What they are called in the text.
    most : int, optional
        The number of differences of one kind that are listed.

    Returns
    -------
    str

    Examples
    --------
    >>> a = WordTree(("a", "b", "c"), ("dog", "terrier", "airedale"), (-1, 0, 0))
    >>> b = WordTree(("a", "b", "d", "c"), ("dog", "terrier", "hound", "airedale"), (-1, 0, 0, 1), rest="all")
    >>> print(summarize_difference(compare_parents(a, b), a, b, "old", "new"))
    old: 3 concepts, 2 leaves
    new: 4 concepts, 2 leaves
    3 concepts are in both, 2 of them below the same parent
    1 below another parent:
      airedale: below dog in old, below terrier in new
    1 only in new:
      hound
    groups with a rest: none in old, all in new
    """
    total, agreeing, different, missing, extra = (
        compared.total, compared.agreeing, compared.different, compared.missing, compared.extra,
    )  # fmt: skip
    lines = [
        f"{name}: {len(tree):,} concepts, {len(tree.leaves):,} leaves" for name, tree in ((name_a, a), (name_b, b))
    ]
    lines.append(f"{total - len(missing):,} concepts are in both, {agreeing:,} of them below the same parent")

    def listed(title: str, entries: list[str]) -> None:
        if not entries:
            return
        lines.append(f"{len(entries):,} {title}:")
        shown = entries if most is None else entries[:most]
        lines.extend(f"  {entry}" for entry in shown)
        if len(shown) < len(entries):
            lines.append(f"  and {len(entries) - len(shown):,} more")

    moved = [f"{label}: {_place(here)} in {name_a}, {_place(there)} in {name_b}" for label, here, there, _ in different]
    listed("below another parent", moved)
    listed(f"only in {name_a}", list(extra))
    listed(f"only in {name_b}", list(missing))
    if a.rest != b.rest:
        lines.append(
            f"groups with a rest: {a.rest.replace('_', ' ')} in {name_a}, {b.rest.replace('_', ' ')} in {name_b}"
        )
    maps = [f"{name}: {', '.join(tree.label_maps) or 'none'}" for name, tree in ((name_a, a), (name_b, b))]
    if list(a.label_maps) != list(b.label_maps):
        lines.append(f"label maps of {'; '.join(maps)}")
    return "\n".join(lines)


def _place(parent: str) -> str:
    return "at the top" if parent == "-" else f"below {parent}"


def _why(wordnet: WordNet, wnid: str, here: str, there: str) -> str:
    if "-" in (here, there):  # the top is no concept of WordNet
        return ""
    steps = _steps_up(wordnet, wnid)
    if here not in steps or there not in steps:
        which = "second" if here in steps else "first" if there in steps else "first and the second"
        return f"the {which} not a hypernym in WordNet"
    if steps[here] == steps[there]:
        return f"a tie: both {steps[here]} up"
    return f"{steps[here]} up and {steps[there]} up"


def _steps_up(wordnet: WordNet, wnid: str) -> dict[str, int]:
    steps = {wnid: 0}
    todo = [wnid]
    for concept in todo:  # grows while it is walked: breadth first
        for above in wordnet.hypernyms(concept) if concept in wordnet else ():
            if above not in steps:
                steps[above] = steps[concept] + 1
                todo.append(above)
    return steps


def _label(tree: WordTree, node: int) -> str:
    return tree.synsets[node] or tree.names[node]


def _parent_ids(tree: WordTree) -> dict[str, str]:
    return {
        wnid: "-" if parent < 0 else tree.wnids[parent] for wnid, parent in zip(tree.wnids, tree.parents, strict=True)
    }
