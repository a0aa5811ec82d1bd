"""The parents of every concept below one root: WordNet's hypernyms, edges made by hand, and the user's new concepts.

A concept has an **id**. It is the wnid of a WordNet synset, or ``x-`` and the name of a new concept, which never looks
like a wnid.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wordtree.errors import TreeError
from wordtree.names import composed, fold
from wordtree.wordnet import WordNet

# WordNet knows these things only as abstractions, but they have a shape in a picture. These are the four edges of the
# original tree that are no hypernyms; each is used only if its child would not be below the root without it.
KNOWN_EDGES = (
    ("signal.n.01", "device.n.01"),
    ("sign.n.02", "signal.n.01"),
    ("street_sign.n.01", "signal.n.01"),
    ("bubble.n.01", "plaything.n.01"),
)


@dataclass(frozen=True)
class NewConcept:
    """A concept that WordNet lacks.

    Parameters
    ----------
    name : str
        The display name. Two names that differ only in case or underscores are the same concept.
    parent : str
        The concept that it is a kind of: a wnid, a synset name, or the name of another new concept.

    Examples
    --------
    >>> NewConcept.parse("pallet jack < truck.n.01")
    NewConcept(name='pallet jack', parent='truck.n.01')
    >>> NewConcept("Pallet_Jack", "truck.n.01").id, NewConcept("Öltank", "tank.n.02").id
    ('x-pallet-jack', 'x-ltank-2e3bc821')
    """

    name: str
    parent: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", " ".join(composed(self.name).split()))
        object.__setattr__(self, "parent", composed(self.parent.strip()))
        if not self.name or not self.parent:
            raise TreeError(f"a new concept is written 'name < parent', not {f'{self.name} < {self.parent}'!r}")

    @classmethod
    def parse(cls, text: str) -> NewConcept | None:
        """Return the concept written ``name < parent``; None if there is no ``<``. Raises `TreeError`."""
        name, sign, parent = text.partition("<")
        if not sign:
            return None
        if "<" in parent:
            raise TreeError(f"{text!r} has two '<'; give each new concept a line of its own")
        return cls(name, parent)

    @property
    def id(self) -> str:
        """The id. It depends on the name alone, so that weights trained with one tree fit the node in another."""
        folded = fold(self.name)
        slug = re.sub("[^a-z0-9]+", "-", folded).strip("-")
        if re.fullmatch("[a-z0-9 ]+", folded):
            return f"x-{slug}"
        return f"x-{slug or 'concept'}-{hashlib.sha256(folded.encode()).hexdigest()[:8]}"


class Hierarchy:
    """The relation "is a kind of" that a tree is chosen from.

    Parameters
    ----------
    wordnet : WordNet
        The nouns and their hypernyms.
    root : str
        The wnid of the root.
    edges : mapping of str to iterable of str, optional
        For the id of a child, the ids of its parents, which replace its hypernyms.

    Examples
    --------
    >>> from wordtree.wordnet import open_wordnet
    >>> wordnet = open_wordnet()
    >>> hierarchy = Hierarchy(wordnet, wordnet.wnid("physical_entity.n.01"))
    >>> hierarchy.describe(wordnet.wnid("sparrow.n.01"))
    'sparrow.n.01 (n01539573): bird > passerine > sparrow'
    >>> [hierarchy.label(parent) for parent in hierarchy.parents(wordnet.wnid("street sign.n.01"))]  # an edge by hand
    ['signal.n.01']
    """

    def __init__(self, wordnet: WordNet, root: str, edges: Mapping[str, Iterable[str]] | None = None) -> None:
        self.wordnet = wordnet
        self.root = root
        self.new: dict[str, NewConcept] = {}
        self._new_parents: dict[str, str] = {}
        self._below: dict[str, bool] = {root: True}
        known = [(wordnet.wnid(child), wordnet.wnid(parent)) for child, parent in KNOWN_EDGES]
        unreached = [child for child, _ in known if root not in wordnet.ancestors(child)]
        self.edges: dict[str, tuple[str, ...]] = {child: (parent,) for child, parent in known if child in unreached}
        self.edges |= {child: tuple(parents) for child, parents in (edges or {}).items()}

    def add(self, concept: NewConcept, parent: str) -> None:
        """Add a new concept below the concept with the id `parent`."""
        self.new[concept.id] = concept
        self._new_parents[concept.id] = parent

    def parents(self, concept: str) -> tuple[str, ...]:
        """Return the ids of the parents of a concept."""
        if concept in self._new_parents:
            return (self._new_parents[concept],)
        if concept in self.edges:
            return self.edges[concept]
        return self.wordnet.hypernyms(concept) if concept in self.wordnet else ()

    def ancestors(self, concept: str) -> set[str]:
        """Return the ids of all ancestors of a concept, with its own if its parents go in a circle."""
        found: set[str] = set()
        todo = [concept]
        while todo:
            above = [parent for parent in self.parents(todo.pop()) if parent not in found]
            found.update(above)
            todo.extend(above)
        return found

    def reaches_root(self, concept: str) -> bool:
        """Return whether a concept is the root or below it."""
        if concept not in self._below:
            # The search stops at concepts with a known answer, because a tree of all nouns asks for each of them.
            seen = {concept}
            todo = [concept]
            while todo:
                for parent in self.parents(todo.pop()):
                    if self._below.get(parent):
                        self._below[concept] = True
                        return True
                    if parent not in seen and parent not in self._below:
                        seen.add(parent)
                        todo.append(parent)
            self._below.update(dict.fromkeys(seen, False))
        return self._below[concept]

    def label(self, concept: str) -> str:
        """Return the unique label of a concept: its synset name, or the id of a new concept."""
        return concept if concept in self.new else self.wordnet.synset(concept)

    def name(self, concept: str) -> str:
        """Return the display name of a concept."""
        return self.new[concept].name if concept in self.new else self.wordnet.lemmas(concept)[0]

    def lemmas(self, concept: str) -> tuple[str, ...]:
        """Return all names of a concept."""
        return (self.new[concept].name,) if concept in self.new else self.wordnet.lemmas(concept)

    def describe(self, concept: str) -> str:
        """Return one line that distinguishes a concept from others of the same name."""
        path = [concept]
        while len(path) < 3 and (above := self.parents(path[-1])) and above[0] not in path:
            path.append(above[0])
        names = " > ".join(map(self.name, reversed(path)))
        return f"{concept}: {names}" if concept in self.new else f"{self.label(concept)} ({concept}): {names}"
