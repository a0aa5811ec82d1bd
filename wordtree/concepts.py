"""Resolving what a user writes to concepts: a wnid, a synset name, a noun, or ``new concept < parent``.

One `ConceptError` reports every mistake in a list, each with its candidates and the option that would accept it, so
that the user can correct them all at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from wordtree.errors import TreeError
from wordtree.hierarchy import Hierarchy, NewConcept
from wordtree.names import is_wnid
from wordtree.wordnet import UnknownSynset, WordNet, WordNetSource, open_wordnet

Concept: TypeAlias = "str | NewConcept"
Edges: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
_PARTS_OF_SPEECH = {"v": "a verb", "a": "an adjective", "s": "an adjective", "r": "an adverb"}


@dataclass(frozen=True)
class ConceptProblem:
    """Why one concept has no place in the tree.

    Attributes
    ----------
    concept : str
        The concept as the user wrote it.
    reason : str
        What is wrong with it, such as ``"is no noun of WordNet 3.0"``.
    candidates : tuple of str
        The synset name, id and path of each concept that the user may have meant.
    where : str
        The place it was written for, such as the class of a data set.
    """

    concept: str
    reason: str
    candidates: tuple[str, ...] = ()
    where: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        return "\n      ".join((f"{where}{self.concept!r} {self.reason}", *self.candidates))


class ConceptError(TreeError):
    """Some concepts have no place in the tree.

    Attributes
    ----------
    problems : tuple of ConceptProblem
        One problem for each of these concepts.
    """

    def __init__(self, problems: Iterable[ConceptProblem], what: str) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{what}:{listed}")


@dataclass(frozen=True)
class Resolution:
    """What a list of concepts means.

    Attributes
    ----------
    items : tuple of (str or NewConcept)
        The list.
    ids : tuple of (str or None)
        The id of each item; None for items in `problems` and `skipped`.
    hierarchy : Hierarchy
        The hypernyms, the new concepts and the root.
    problems : mapping of int to ConceptProblem
        The problem of each item that could not be resolved, by its position in the list.
    skipped : mapping of int to ConceptProblem
        The problem of each item that `skip_unreachable` left out, by its position in the list.
    first_senses : mapping of str to str
        The synset name that was taken for each noun with several senses.
    """

    items: tuple[Concept, ...]
    ids: tuple[str | None, ...]
    hierarchy: Hierarchy
    problems: Mapping[int, ConceptProblem] = field(default_factory=dict)
    skipped: Mapping[int, ConceptProblem] = field(default_factory=dict)
    first_senses: Mapping[str, str] = field(default_factory=dict)

    def require_all(self) -> None:
        """Raise `ConceptError` if anything could not be resolved."""
        if self.problems:
            unique = dict.fromkeys(problem for _, problem in sorted(self.problems.items()))
            raise ConceptError(unique, self.headline(len(unique)))

    def headline(self, problems: int) -> str:
        """Return the first line of the error about this many problems."""
        root = self.hierarchy.label(self.hierarchy.root)
        return f"{problems} of {len(set(self.items))} concepts have no place in a tree under {root}"


class _Unresolved(LookupError):
    """Why a text means no concept. With `whole`, the reason is about a new concept and not about its parent."""

    def __init__(
        self, reason: str, candidates: Iterable[str] = (), *, unreachable: bool = False, whole: bool = False
    ) -> None:
        super().__init__(reason)
        self.whole = whole
        self.reason = reason
        self.candidates = tuple(candidates)
        self.unreachable = unreachable


def resolve_concepts(
    concepts: Iterable[Concept],
    *,
    root: str = "physical_entity.n.01",
    extra_edges: Edges | None = None,
    skip_unreachable: bool = False,
    first_sense: bool = False,
    wordnet: WordNetSource = None,
) -> Resolution:
    """Find the id of every concept.

    Parameters
    ----------
    concepts : iterable of str or NewConcept
        Each is a wnid, a synset name, a noun with one sense under the root, the name of a new concept, or
        ``name < parent``. A new concept may come after the concepts that name it.
    root : str
        As in `build_wordtree`.
    extra_edges : mapping or iterable of (child, parent), optional
        As in `build_wordtree`.
    skip_unreachable : bool
        As in `build_wordtree`.
    first_sense : bool
        Take WordNet's first sense of a noun that has several senses under the root, instead of refusing the noun.
    wordnet : path or WordNet, optional
        As in `build_wordtree`.

    Returns
    -------
    Resolution
        Its `require_all` raises a `ConceptError` if any concept has a problem.

    Raises
    ------
    ConceptError
        If the root or an extra edge names something that does not exist.

    Examples
    --------
    >>> resolve_concepts(["forklift.n.01", "zebra", "pallet jack < forklift.n.01"]).ids
    ('n03384352', 'n02391049', 'x-pallet-jack')
    """
    hierarchy = _hierarchy(open_wordnet(wordnet), root, extra_edges)
    if isinstance(concepts, str):
        raise TypeError(f"expected a list of concepts, not the string {concepts!r}")
    items = list(concepts)
    for item in items:
        if not isinstance(item, str | NewConcept):
            raise TypeError(f"a concept is a string or a NewConcept, not {item!r}")
    problems: dict[int, ConceptProblem] = {}
    skipped: dict[int, ConceptProblem] = {}
    first_senses: dict[str, str] = {}
    new: dict[int, NewConcept] = {}
    for position, item in enumerate(items):
        try:
            concept = item if isinstance(item, NewConcept) else NewConcept.parse(item)
        except TreeError as error:
            problems[position] = ConceptProblem(str(item), f"cannot be read: {error}")
        else:
            if concept is not None:
                new[position] = concept
    finder = _Finder(hierarchy, {concept.id for concept in new.values()}, first_senses if first_sense else None)
    for position, concept in new.items():
        try:
            finder.add(concept)
        except _Unresolved as why:
            reason = why.reason if why.whole else f"names the parent {concept.parent!r}, which {why.reason}"
            problems[position] = ConceptProblem(f"{concept.name} < {concept.parent}", reason, why.candidates)
    ids: list[str | None] = [None] * len(items)
    for position, item in enumerate(items):
        if position in problems:
            continue
        text = item if isinstance(item, str) else f"{item.name} < {item.parent}"
        try:
            ids[position] = finder.find_below_root(new[position].id if position in new else text)
        except _Unresolved as why:
            problem = ConceptProblem(text, why.reason, why.candidates)
            (skipped if why.unreachable and skip_unreachable else problems)[position] = problem
    return Resolution(tuple(items), tuple(ids), hierarchy, problems, skipped, first_senses)


def _hierarchy(wordnet: WordNet, root: str, extra_edges: Edges | None) -> Hierarchy:
    pairs = list(extra_edges.items() if isinstance(extra_edges, Mapping) else extra_edges or ())
    ids: dict[str, str] = {}
    problems = []
    for text in dict.fromkeys((root, *(end for pair in pairs for end in pair))):
        try:
            ids[text] = text if text in wordnet else wordnet.wnid(text)
        except UnknownSynset as error:
            what = "the root" if text == root else "an end of an extra edge"
            problems.append(ConceptProblem(text, f"({what}) is no synset: {error}"))
    if problems:
        raise ConceptError(problems, f"cannot build a tree under {root}")
    edges: dict[str, list[str]] = {}
    for child, parent in pairs:
        edges.setdefault(ids[child], []).append(ids[parent])
    hierarchy = Hierarchy(wordnet, ids[root], edges)
    for child, parent in pairs:
        if ids[child] in hierarchy.ancestors(ids[child]):
            reason = f"(an extra edge to {parent!r}) goes in a circle: {child!r} is above {parent!r}"
            problems.append(ConceptProblem(child, reason))
    if problems:
        raise ConceptError(problems, f"cannot build a tree under {root}")
    return hierarchy


class _Finder:
    """A lookup of single concepts. `first_senses` is None if nouns with several senses are refused."""

    def __init__(self, hierarchy: Hierarchy, new_ids: set[str], first_senses: dict[str, str] | None) -> None:
        self._hierarchy = hierarchy
        self._wordnet = hierarchy.wordnet
        self._new_ids = new_ids
        self._first_senses = first_senses

    def add(self, concept: NewConcept) -> None:
        """Add a new concept to the hierarchy."""
        parent = self.find(concept.parent)
        known = self._hierarchy.new.get(concept.id)
        if known is not None and self._hierarchy.parents(concept.id) != (parent,):
            raise _Unresolved(f"has another parent, too: {known.name} < {known.parent}; keep one of them", whole=True)
        self._hierarchy.add(concept if known is None else known, parent)

    def find_below_root(self, text: str) -> str:
        """Return the id of a concept that can be a node."""
        found = self.find(text)
        root = self._hierarchy.root
        if found == root:
            above = self._wordnet.hypernyms(root)
            wider = f"`root` {self._wordnet.synset(above[0])} or " if above else ""
            raise _Unresolved(
                f"is the root of the tree, which is no node; {wider}`skip_unreachable` would accept it",
                unreachable=True,
            )
        without_place = self._new_ids - self._hierarchy.new.keys()
        if lost := without_place and without_place & (self._hierarchy.ancestors(found) | {found}):
            raise _Unresolved(f"is below the new concept {min(lost)}, which has no place itself")
        if not self._hierarchy.reaches_root(found):
            raise self._unreachable([found])
        return found

    def find(self, text: str) -> str:
        """Return the id of a concept, below the root or not."""
        text = text.strip()
        if self._new_ids and text:
            for candidate in (text, NewConcept(text, "-").id):
                if candidate in self._new_ids:
                    return candidate
        if is_wnid(text.lower()):
            text = text.lower()
            if text in self._wordnet:
                return text
            raise _Unresolved("is no noun of WordNet 3.0; ids of other versions of WordNet differ")
        if match := re.fullmatch(r"(.+)\.([a-z])\.\d+", text, re.IGNORECASE):
            return self._find_synset(text, match[1], match[2].lower())
        if re.fullmatch(r"n\d+", text):
            raise _Unresolved(f"is no id: an n and 8 digits, not {len(text) - 1}")
        if re.fullmatch(r"[varsVARS]\d{8}", text):
            raise _Unresolved(f"is the id of {_PARTS_OF_SPEECH[text[0].lower()]}; concepts are nouns, n and 8 digits")
        return self._find_noun(text)

    def _find_synset(self, text: str, lemma: str, part: str) -> str:
        try:
            return self._wordnet.wnid(text.lower())
        except UnknownSynset:
            what = f"is {_PARTS_OF_SPEECH[part]}, not a noun" if part in _PARTS_OF_SPEECH else "is not in WordNet 3.0"
            senses = self._wordnet.senses(lemma)
            senses = self._below_root(senses) or senses
            raise _Unresolved(
                f"{what}; name another synset{_or_new(lemma) if not senses else ''}", self._describe(senses)
            ) from None

    def _find_noun(self, noun: str) -> str:
        senses = self._wordnet.senses(noun) if noun else ()
        if not senses:
            alike = self._wordnet.similar_nouns(noun)
            close = f"; close to it: {', '.join(alike)}" if alike else ""
            head = self._below_root(self._wordnet.senses(noun.split()[-1])) if len(noun.split()) > 1 else ()
            hint = "; it may be a kind of one of these" if head else close
            raise _Unresolved(f"is no noun of WordNet 3.0{_or_new(noun)}{hint}", self._describe(head))
        below = self._below_root(senses)
        if not below:
            raise self._unreachable(senses)
        if len(below) > 1:
            if self._first_senses is None:
                raise _Unresolved(
                    f"has {len(below)} senses under the root; name one of these synsets, or take the first of them "
                    "(`first_sense`)",
                    self._describe(below),
                )
            self._first_senses[noun] = self._wordnet.synset(below[0])
        return below[0]

    def _below_root(self, senses: Iterable[str]) -> tuple[str, ...]:
        return tuple(sense for sense in senses if self._hierarchy.reaches_root(sense))

    def _unreachable(self, senses: Iterable[str]) -> _Unresolved:
        senses = tuple(senses)
        first = senses[0]
        if first in self._hierarchy.ancestors(first):
            return _Unresolved("is its own ancestor: its parents go in a circle")
        above = self._hierarchy.ancestors(first)
        wider = [root for root in ("physical_entity.n.01", "entity.n.01") if self._wordnet.wnid(root) in above]
        known, passed = first, set[str]()
        while known in self._hierarchy.new:  # an edge begins at a synset
            if known in passed:
                return _Unresolved(f"is below {known}, which is its own ancestor: the parents go in a circle")
            passed.add(known)
            known = self._hierarchy.parents(known)[0]
        ways = [f"`root` {root}" for root in wider[:1]]
        if known not in self._hierarchy.ancestors(self._hierarchy.root):  # or the edge would close a circle
            ways.append(f"`extra_edges` {self._hierarchy.label(known)} PARENT")
        accepted = "".join(f"{way}, " for way in ways[:-1]) + "".join(f"{way} or " for way in ways[-1:])
        return _Unresolved(
            f"does not reach the root; {accepted}`skip_unreachable` would accept it",
            self._describe(senses),
            unreachable=True,
        )

    def _describe(self, senses: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._hierarchy.describe(sense) for sense in senses)


def _or_new(noun: str) -> str:
    return f"; a concept of your own is written '{noun.replace('_', ' ')} < PARENT'"
