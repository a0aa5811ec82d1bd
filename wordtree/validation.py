"""Checks that columns make a tree. Each returns the first fault, so that a reader of a file can name its line."""

from __future__ import annotations

import json
import operator
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from wordtree.errors import TreeError


class Fault(NamedTuple):
    """What is wrong with a node.

    Attributes
    ----------
    node : int
        The wrong node.
    message : str
        What is wrong with it.
    key : str
        The column of the tree that is wrong.
    """

    node: int
    message: str
    key: str = "parents"


def first_structure_fault(wnids: Sequence[object], parents: Sequence[int]) -> Fault | None:
    """Return the first node whose id or parent is wrong, None if ids and parents make a tree.

    Examples
    --------
    >>> first_structure_fault(("a", "b", "b"), (-1, 0, 0))
    Fault(node=2, message="the id 'b' is already that of node 1", key='wnids')
    """
    known_good = _are_words(wnids)  # checking all at once keeps the reading of a large tree to some milliseconds
    first_with_id: dict[object, int] = {}
    opened: set[int] = set()
    previous: int | None = None
    for node, (wnid, parent) in enumerate(zip(wnids, parents, strict=True)):
        if not known_good and not _is_word(wnid):
            return Fault(node, f"an id is a word without white space, not {wnid!r}", "wnids")
        if not known_good and first_with_id.setdefault(wnid, node) != node:
            return Fault(node, f"the id {wnid!r} is already that of node {first_with_id[wnid]}", "wnids")
        if not -1 <= parent < len(parents):
            return Fault(node, f"the parent {parent} is no node: nodes are 0 to {len(parents) - 1}, -1 means none")
        if parent >= node:
            return Fault(node, _order_message(parents, node))
        if parent != previous:
            if parent in opened:
                kin = "top nodes" if parent < 0 else f"children of node {parent}"
                return Fault(node, f"the {kin} are not together: others stand between {wnid!r} and its siblings")
            opened.add(parent)
            previous = parent
    return None


def _is_word(text: object) -> bool:
    # isprintable() is False for control characters, lone surrogates and all white space except the blank.
    return isinstance(text, str) and bool(text) and " " not in text and text.isprintable()


def _are_words(texts: Sequence[object]) -> bool:
    """Return whether all texts are different, and words as in `_is_word`."""
    if set(map(type, texts)) != {str} or len(set(texts)) != len(texts) or "" in texts:
        return False
    joined = "".join(texts)  # type: ignore[arg-type]
    return " " not in joined and joined.isprintable()


def first_name_fault(
    names: Sequence[object], synsets: Sequence[object], lemmas: Sequence[Sequence[object]]
) -> Fault | None:
    """Return the first node whose display name, synset name or lemma is not one line of text, None if there is none."""
    if _are_plain_lines([*names, *(synset for synset in synsets if synset is not None), *chain.from_iterable(lemmas)]):
        return None
    for node, (name, synset, of_node) in enumerate(zip(names, synsets, lemmas, strict=True)):
        if not is_line(name):
            return Fault(node, f"a display name is one line of text without blanks around it, not {name!r}", "names")
        if synset is not None and not is_line(synset):
            return Fault(node, f"a synset name is one line of text or None, not {synset!r}", "synsets")
        for lemma in of_node:
            if not is_line(lemma):
                return Fault(node, f"a lemma is one line of text without blanks around it, not {lemma!r}", "lemmas")
    return None


def first_label_fault(label_maps: Mapping[str, Mapping[str, int]], count: int) -> str | None:
    """Return what is wrong with the label maps of a tree of `count` nodes, None if nothing is."""
    for source, classes in label_maps.items():
        if not is_line(source):
            return f"label map: the name of a source is one line of text, not {source!r}"
        for name, node in classes.items():
            if not is_line(name):
                return f"label map {source!r}: a class name is one line of text, not {name!r}"
            if type(node) is not int or not 0 <= node < count:
                return f"label map {source!r}: class {name!r} leads to {node!r}, but nodes are 0 to {count - 1}"
    return None


def is_line(text: object) -> bool:
    """Return whether `text` is one line that survives writing to a text file and reading back, and can be shown."""
    if not isinstance(text, str) or not text:
        return False
    if text.isascii() and text.isprintable():
        return text[0] != " " != text[-1]
    # Joiners and direction marks are not printable but may be part of names. Line breaks, byte order marks and lone
    # surrogates would not survive a file. An SVG may hold no control characters, and a terminal obeys them.
    if text != text.strip() or len(text.splitlines()) != 1:
        return False
    return not any(character == "\ufeff" or unicodedata.category(character) in ("Cc", "Cs") for character in text)


def as_ints(values: Sequence[object]) -> tuple[int, ...]:
    """Return `values` as Python ints. Integers of numpy are accepted; floats and booleans are not."""
    if set(map(type, values)) == {int}:
        return tuple(values)  # type: ignore[arg-type]
    ints = []
    for node, value in enumerate(values):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TreeError(f"node {node}: the parent must be an integer, not {value!r}", key="parents", node=node)
        ints.append(operator.index(value))
    return tuple(ints)


def as_json(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `notes` as it would come back from a JSON file, so that a saved tree equals the original."""
    try:
        text = json.dumps(dict(notes), allow_nan=False, ensure_ascii=False)
        text.encode()  # half of a surrogate pair can be read from JSON, and not be written
        copy = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TreeError(f"notes must be JSON values: {error}") from None
    assert isinstance(copy, dict)
    return copy


def json_line(text: str, key: str, node: int) -> int | None:
    """Return the number of the line with a node's value in the list of a key, or with the key if it has no list."""
    found = re.search(rf'"{key}"\s*:\s*(\[?)', text)
    if found is None:
        return None
    start = found.start()
    if found[1]:
        decoder, end = json.JSONDecoder(), found.end()
        for _ in range(node + 1):
            while text[end] in " \t\r\n,":
                end += 1
            start = end
            if text[start] == "]":
                break
            _, end = decoder.raw_decode(text, start)
    return text.count("\n", 0, start) + 1


def _are_plain_lines(texts: list[object]) -> bool:
    """Return whether all texts are ASCII lines as in `is_line`. Checking all at once keeps the reading fast."""
    if set(map(type, texts)) != {str}:
        return False
    joined = "\n".join(["", *texts, ""])  # type: ignore[list-item]
    if not joined.isascii() or joined.count("\n") != len(texts) + 1 or not joined.replace("\n", "").isprintable():
        return False
    return not any(fault in joined for fault in ("\n\n", "\n ", " \n"))


def _order_message(parents: Sequence[int], node: int) -> str:
    parent = step = parents[node]
    if parent == node:
        return "it is its own parent"
    for _ in parents:
        if not 0 <= step < len(parents):
            break
        if step == node:
            return f"it is part of a cycle: its parent {parent} is below it"
        step = parents[step]
    return f"its parent, node {parent}, comes after it; a parent must come before its children"
