"""The nouns of WordNet 3.0, read through nltk. No other module imports nltk.

A **wnid** such as ``n02958343`` is "n" and the byte offset of a synset in the file ``data.noun`` of WordNet **3.0**, so
it is valid in this version only. The package has this file, with the glosses blanked so that the offsets still hold,
and the index of lemmas; `tools/make_wordnet_data.py` made the archive.

nltk's reader needs a folder inside its own data path and files of every part of speech. `_NounReader` gives it text in
memory instead, so nothing is unpacked to disk and a user's copy may be anywhere.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from warnings import catch_warnings, simplefilter

from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError
from nltk.data import PathPointer

from wordtree.errors import TreeError
from wordtree.names import is_wnid

NOUN_ARCHIVE = Path(__file__).with_name("data") / "wordnet-3.0-nouns.zip"
NOUN_FILES = ("data.noun", "index.noun")
OPTIONAL_FILES = ("noun.exc",)  # irregular plurals
_HELD_IN = ("", "dict", "wordnet", "corpora/wordnet")  # below the user's folder: as in Debian, a release, nltk
# Synsets whose offsets differ between the versions identify the version of a file that does not state it.
_LANDMARKS = {2084071: "dog", 2958343: "car", 15169873: "week"}


class WordNetDataError(OSError):
    """A folder holds no noun database of WordNet 3.0."""


class UnknownSynset(TreeError, LookupError):
    """No noun of WordNet 3.0 has this wnid or synset name."""


class WordNet:
    """The nouns of one copy of WordNet 3.0; `open_wordnet` makes it.

    Methods take and return wnids. Results in an order are sorted explicitly, because nltk keeps sets.

    Examples
    --------
    >>> wordnet = open_wordnet()
    >>> wordnet.wnid("automobile.n.01"), wordnet.synset("n02958343"), wordnet.lemmas("n02958343")[:2]
    ('n02958343', 'car.n.01', ('car', 'auto'))
    """

    def __init__(self, reader: WordNetCorpusReader) -> None:
        self._reader = reader
        self._known: dict[str, Any] = {}
        # Hypernyms are cached, because every descendant of a synset asks for them: for all nouns some million times.
        self._above: dict[str, tuple[str, ...]] = {}

    def __contains__(self, wnid: object) -> bool:
        return isinstance(wnid, str) and self._find(wnid) is not None

    def wnid(self, synset_name: str) -> str:
        """Return the wnid of a synset name such as ``'car.n.01'``, which may use any of the synset's lemmas.

        Raises
        ------
        UnknownSynset
            If there is no such synset, or it is no noun.
        """
        name = "_".join(synset_name.split())
        if not re.fullmatch(r".+\.n\.0*[1-9]\d*", name):
            raise UnknownSynset(f"{synset_name!r} is not the name of a noun synset, such as 'car.n.01'")
        try:
            return _wnid_of(self._reader.synset(name))
        except WordNetError as error:
            raise UnknownSynset(str(error)) from error

    def synset(self, wnid: str) -> str:
        """Return the synset name of a wnid. Raises `UnknownSynset`."""
        name: str = self._get(wnid).name()
        return name

    def lemmas(self, wnid: str) -> tuple[str, ...]:
        """Return the words for a synset in WordNet's order, with spaces instead of underscores."""
        return tuple(lemma.replace("_", " ") for lemma in self._get(wnid).lemma_names())

    def hypernyms(self, wnid: str) -> tuple[str, ...]:
        """Return the wnids of the hypernyms and instance hypernyms, sorted by synset name."""
        above = self._above.get(wnid)
        if above is None:
            synset = self._get(wnid)
            above = self._above[wnid] = _by_name(synset.hypernyms() + synset.instance_hypernyms())
        return above

    def hyponyms(self, wnid: str) -> tuple[str, ...]:
        """Return the wnids of the hyponyms and instance hyponyms, sorted by synset name."""
        synset = self._get(wnid)
        return _by_name(synset.hyponyms() + synset.instance_hyponyms())

    def senses(self, noun: str) -> tuple[str, ...]:
        """Return the wnids that a noun may mean, the most frequent first. A plural is looked up as its singular, too.

        Examples
        --------
        >>> [open_wordnet().synset(wnid) for wnid in open_wordnet().senses("pallet")]
        ['palette.n.01', 'pallet.n.02', 'pallet.n.03', 'pallet.n.04', 'palette.n.02']
        """
        return tuple(_wnid_of(synset) for synset in self._reader.synsets("_".join(noun.split()).lower(), pos="n"))

    def similar_nouns(self, noun: str, n: int = 3) -> tuple[str, ...]:
        """Return up to `n` nouns that are spelled like `noun`, the closest first.

        Examples
        --------
        >>> open_wordnet().similar_nouns("girafe", 1)
        ('giraffe',)
        """
        wanted = "_".join(noun.split()).lower()
        # The first letter is taken as right, because a comparison with all 117,000 nouns takes a second.
        nouns = (
            lemma
            for lemma in self._reader.all_lemma_names("n")
            if lemma[:1] == wanted[:1] and abs(len(lemma) - len(wanted)) <= 2
        )
        return tuple(match.replace("_", " ") for match in difflib.get_close_matches(wanted, nouns, n=n, cutoff=0.8))

    def ancestors(self, wnid: str) -> frozenset[str]:
        """Return the wnids of all ancestors, on any path."""
        return _all_reached(wnid, self.hypernyms)

    def descendants(self, wnid: str) -> frozenset[str]:
        """Return the wnids of all descendants, on any path.

        Examples
        --------
        >>> wordnet = open_wordnet()
        >>> sorted(map(wordnet.synset, wordnet.descendants(wordnet.wnid("wildcat.n.03"))))[:3]
        ['bobcat.n.01', 'canada_lynx.n.01', 'caracal.n.01']
        """
        return _all_reached(wnid, self.hyponyms)

    def _get(self, wnid: str) -> Any:
        synset = self._find(wnid)
        if synset is None:
            raise UnknownSynset(f"{wnid} is no noun of WordNet 3.0")
        return synset

    def _find(self, wnid: str) -> Any:
        if wnid not in self._known:
            found = None
            if is_wnid(wnid):
                with catch_warnings():
                    simplefilter("ignore")  # nltk warns about an unknown offset, we answer
                    found = self._reader.synset_from_pos_and_offset("n", int(wnid[1:]))
            self._known[wnid] = found
        return self._known[wnid]


WordNetSource: TypeAlias = "WordNet | str | os.PathLike[str] | None"


def open_wordnet(source: WordNetSource = None) -> WordNet:
    """Return the nouns of WordNet 3.0.

    Parameters
    ----------
    source : path or WordNet, optional
        A folder with ``data.noun`` and ``index.noun`` (Debian's ``/usr/share/wordnet``, the ``dict`` of a release,
        nltk's ``corpora/wordnet``). The default is the copy in the package. A `WordNet` is returned as it is.

    Returns
    -------
    WordNet

    Raises
    ------
    WordNetDataError
        If the folder has no noun database, or that of another version, in which ids mean other synsets.
    """
    if isinstance(source, WordNet):
        return source
    if source is None:
        return _bundled_wordnet()
    return _wordnet_in(Path(source).resolve())


@cache
def _bundled_wordnet() -> WordNet:
    with zipfile.ZipFile(NOUN_ARCHIVE) as archive:
        files = {name: archive.read(name).decode("ascii") for name in (*NOUN_FILES, *OPTIONAL_FILES)}
    return WordNet(_NounReader(files))


@lru_cache(maxsize=2)
def _wordnet_in(folder: Path) -> WordNet:
    home = next((folder / sub for sub in _HELD_IN if all((folder / sub / name).is_file() for name in NOUN_FILES)), None)
    if home is None:
        found = sorted(entry.name for entry in folder.iterdir())[:8] if folder.is_dir() else []
        what = f"it holds {', '.join(found)}" if found else "it is empty" if folder.is_dir() else "it is no folder"
        zipped = " Unpack the archive first." if any(name.endswith(".zip") for name in found) else ""
        raise WordNetDataError(f"{folder}: looked for {' and '.join(NOUN_FILES)}; {what}.{zipped}")
    # latin-1 makes one character of each byte, so offsets hold whatever the file contains.
    present = (*NOUN_FILES, *(name for name in OPTIONAL_FILES if (home / name).is_file()))
    files = {name: (home / name).read_bytes().decode("latin-1") for name in present}
    _check_version(home / "data.noun", files["data.noun"])
    return WordNet(_NounReader(files))


def _check_version(path: Path, text: str) -> None:
    stated = re.search(r"WordNet (\d+(?:\.\d+)?\+?) Copyright", text[:4096])
    moved = [
        f"{word!r} is not at {offset:08d}"
        for offset, word in _LANDMARKS.items()
        if not re.match(rf"{offset:08d} \d\d n [0-9a-f]{{2}} {word} ", text[offset : offset + 64])
    ]
    if (stated is None or stated[1] == "3.0") and not moved:
        return
    version = f"WordNet {stated[1]}" if stated and stated[1] != "3.0" else f"not WordNet 3.0 as released ({moved[0]})"
    raise WordNetDataError(
        f"{path} is {version}. ImageNet's ids and the trees here are byte offsets of WordNet 3.0, and another version "
        "has other synsets at these offsets. Use a copy of 3.0 (Debian's package wordnet-base), or leave the option "
        "out: the package carries one."
    )


def _all_reached(start: str, step: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Return all wnids that repeated steps from `start` reach."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = set(step(todo.pop())) - found
        found |= new
        todo.extend(new)
    return frozenset(found)


def _by_name(synsets: list[Any]) -> tuple[str, ...]:
    return tuple(_wnid_of(synset) for synset in sorted(set(synsets), key=lambda synset: str(synset.name())))


def _wnid_of(synset: Any) -> str:
    return f"n{synset.offset():08d}"


class _InMemory(PathPointer):  # type: ignore[misc]  # nltk has no types
    """A root for nltk's reader that stands for no folder."""

    def open(self, encoding: str | None = None) -> io.StringIO:
        raise FileNotFoundError("the noun database is in memory")

    def file_size(self) -> int:
        raise FileNotFoundError("the noun database is in memory")

    def join(self, fileid: str) -> _InMemory:
        return self


class _NounReader(WordNetCorpusReader):  # type: ignore[misc]
    """nltk's reader of WordNet over the noun files alone, given as text."""

    def __init__(self, files: Mapping[str, str]) -> None:
        # nltk requires the names of the lexicographers' files, which Debian leaves out and nothing here uses.
        self._files = {"lexnames": "".join(f"{i:02d}\tfile{i:02d}\t1\n" for i in range(45)), **files}
        with catch_warnings():
            simplefilter("ignore")  # "multilingual functions are not available"
            super().__init__(_InMemory(), None)

    def open(self, file: str) -> io.StringIO:
        return io.StringIO(self._files.get(file, ""))  # other parts of speech have no words

    def map_wn(self, version: str = "wordnet") -> dict[str, str]:
        return {}  # it serves other languages only, and would need index.sense

    map_wn30 = map_wn  # its name before nltk 3.8.2
