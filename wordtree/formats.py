"""Trees as files.

==============  =====================================================================================================
suffix          holds
==============  =====================================================================================================
.json .json.gz  everything a `WordTree` holds, one key for each of its fields
.tree           darknet's format: a line ``<id> <parent>`` for each node, with parent -1 at the top. Display names
                are in a ``.names`` file of the same stem, one line for each node; a ``.labels`` file holds the ids
                alone. It has no synset names, lemmas, label maps or rest; a tree read from it has ``rest="none"``
.map            darknet's format: a line with the node of each class of a data set, in its order
==============  =====================================================================================================

Text is UTF-8. Windows line ends and blank lines are accepted.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from wordtree.errors import TreeError, TreeFormatError
from wordtree.tree import WordTree
from wordtree.validation import first_structure_fault, is_line, json_line
from wordtree.writing import write_new_files

BUNDLED = ("yolo9000", "imagenet1k", "coco")
FORMAT_VERSION = 1
JSON_SUFFIXES = (".json", ".json.gz")
MOST_BYTES = 64 << 20
_KINDS = "a tree file ends in .json, .json.gz or .tree"


def load_tree(name_or_path: str | Path) -> WordTree:
    """Read a tree.

    Parameters
    ----------
    name_or_path : str or Path
        A tree that comes with the package (``"yolo9000"``, ``"imagenet1k"`` or ``"coco"``), a file that ends in
        ``.json``, ``.json.gz`` or ``.tree``, or a folder with a ``tree.json``, as that of a run. A file ``x.names``
        beside ``x.tree`` gives the display names; without it they are the ids. A file ``x.labels`` must hold the same
        ids.

    Returns
    -------
    WordTree

    Raises
    ------
    FileNotFoundError
        If there is no such file and no bundled tree of this name.
    TreeFormatError
        If the file cannot be read as a tree. The message names the file and the line or key.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pets.tree"
    ...     _ = path.write_text("n02084071 -1\\nn02121620 -1\\nn02092468 0\\n")
    ...     _ = path.with_suffix(".names").write_text("dog\\ncat\\nterrier\\n")
    ...     load_tree(path).names
    ('dog', 'cat', 'terrier')
    """
    if name_or_path in BUNDLED:
        file = resources.files("wordtree") / "data" / f"{name_or_path}.json.gz"
        return from_json(gzip.decompress(file.read_bytes()), f"bundled tree {name_or_path}")
    path = Path(name_or_path)
    if path.is_dir():
        if not (path / "tree.json").exists():
            raise FileNotFoundError(f"{path}: a folder without a tree.json, which a run has; {_KINDS}")
        path = path / "tree.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; the bundled trees are {', '.join(BUNDLED)}, and {_KINDS}")
    if path.name.endswith(".json.gz"):
        try:
            with gzip.open(path) as packed:
                content = packed.read(MOST_BYTES + 1)  # some kB can be packed out of gigabytes
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise TreeFormatError(f"{path}: the gzip file is incomplete or damaged: {error}") from None
        return from_json(_not_too_much(content, path), str(path))
    if path.suffix == ".json":
        return from_json(_content(path), str(path))
    if path.suffix == ".tree":
        return _read_darknet_tree(path)
    raise TreeFormatError(f"{path}: unknown kind of file; {_KINDS}")


def save_tree(tree: WordTree, path: str | Path, *, force: bool = False) -> None:
    """Write a tree.

    Parameters
    ----------
    tree : WordTree
        The tree to write.
    path : str or Path
        The file to write. ``.json`` and ``.json.gz`` keep everything. ``.tree`` writes darknet's file and the
        ``.names`` beside it, and keeps ids, parents and display names only.
    force : bool
        Overwrite existing files.

    Raises
    ------
    FileExistsError
        If a file exists already and `force` is not set. Nothing is written then.
    TreeFormatError
        If the path has another suffix.

    Examples
    --------
    >>> import tempfile
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0), rest="only_child", label_maps={"pets": {"Dog": 0}})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tree(tree, Path(folder) / "pets.json")
    ...     load_tree(Path(folder) / "pets.json") == tree
    True
    """
    write_new_files(tree_files(tree, path), force=force)


def tree_files(tree: WordTree, path: str | Path) -> dict[Path, bytes]:
    """Return the content of each file that `save_tree` writes."""
    path = Path(path)
    if path.name.endswith(JSON_SUFFIXES):
        content = to_json(tree).encode()
        # A fixed time in the header, so that the same tree always gives the same file.
        return {path: gzip.compress(content, mtime=0) if path.suffix == ".gz" else content}
    if path.suffix == ".tree":
        lines = [f"{wnid} {parent}" for wnid, parent in zip(tree.wnids, tree.parents, strict=True)]
        return {path: _text(lines), path.with_suffix(".names"): _text(tree.names)}
    raise TreeFormatError(f"{path}: unknown kind of file; {_KINDS}")


def write_names(tree: WordTree, path: str | Path, *, force: bool = False) -> None:
    """Write the display names of a tree, one line for each node (darknet's ``.names``)."""
    write_new_files({Path(path): _text(tree.names)}, force=force)


def write_labels(tree: WordTree, path: str | Path, *, force: bool = False) -> None:
    """Write the ids of a tree, one line for each node (darknet's ``.labels``)."""
    write_new_files({Path(path): _text(tree.wnids)}, force=force)


def read_map(path: str | Path, tree: WordTree | int) -> tuple[int, ...]:
    """Read the node of each class of a data set, in the order of its classes (darknet's ``.map``).

    Parameters
    ----------
    path : str or Path
        The file to read.
    tree : WordTree or int
        The tree of the nodes, or the number of its nodes.

    Returns
    -------
    tuple of int

    Raises
    ------
    TreeFormatError
        If a line does not hold a node of `tree`.

    Examples
    --------
    >>> import tempfile
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_map([1, 0], Path(folder) / "pets.map", tree)
    ...     read_map(Path(folder) / "pets.map", tree)
    (1, 0)
    """
    nodes = []
    count = tree if isinstance(tree, int) else len(tree)
    for number, line in _lines(Path(path)):
        node = _integer(line)
        if node is None or not 0 <= node < count:
            raise TreeFormatError(f"{path}:{number}: {line!r} is no node of the tree: nodes are 0 to {count - 1}")
        nodes.append(node)
    return tuple(nodes)


def write_map(nodes: Iterable[int | str], path: str | Path, tree: WordTree, *, force: bool = False) -> None:
    """Write the node of each class of a data set (darknet's ``.map``); names are resolved by `tree`."""
    write_new_files({Path(path): map_content(nodes, tree)}, force=force)


def map_content(nodes: Iterable[int | str], tree: WordTree) -> bytes:
    """Return the content of the file that `write_map` writes."""
    return _text([str(tree.node(node)) for node in nodes])


# ---------------------------------------------------------------------------------------------------------------- JSON


def to_json(tree: WordTree) -> str:
    """Return the text of a ``.json`` file, which `from_json` reads."""
    document = {"format": "wordtree", "version": FORMAT_VERSION}
    document |= {column.name: getattr(tree, column.name) for column in fields(tree)}
    # One line for each key is compact, and `grep` and `git diff` still show single keys.
    members = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def from_json(content: str | bytes, file: str) -> WordTree:
    """Return the tree that the content of a ``.json`` file describes.

    Parameters
    ----------
    content : str or bytes
        The content of the file.
    file : str
        The name of the file, or another name of the source, for messages.

    Returns
    -------
    WordTree

    Raises
    ------
    TreeFormatError
        If the content is no tree. The message names `file` and the line or key.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0), rest="all")
    >>> from_json(to_json(tree), "a checkpoint") == tree
    True
    """
    text = content if isinstance(content, str) else _decoded(content, file)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise TreeFormatError(f"{file}:{error.lineno}: not JSON: {error.msg} in column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise TreeFormatError(f"{file}: not JSON that can be read: {error}") from None
    if not isinstance(document, dict) or document.pop("format", None) != "wordtree":
        raise TreeFormatError(f'{file}: key "format" must be "wordtree"; this is no tree written by save_tree')
    version = document.pop("version", None)
    if version != FORMAT_VERSION:
        raise TreeFormatError(f'{file}: key "version" is {version!r}, but this program reads {FORMAT_VERSION}')
    known = {column.name: type_ for column, type_ in zip(fields(WordTree), _JSON_TYPES, strict=True)}
    for key, value in document.items():
        if key not in known:
            raise TreeFormatError(f"{file}: unknown key {key!r}; the keys are {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise TreeFormatError(f"{file}: key {key!r} holds the wrong type, {type(value).__name__}")
    for key in ("wnids", "names", "parents"):
        if key not in document:
            raise TreeFormatError(f"{file}: the key {key!r} is missing")
    for node, of_node in enumerate(document.get("lemmas", ())):
        if not isinstance(of_node, list):
            raise TreeFormatError(f"{file}: key 'lemmas': node {node} has {of_node!r} in place of a list of strings")
    for source, classes in document.get("label_maps", {}).items():
        if not isinstance(classes, dict):
            raise TreeFormatError(f"{file}: key 'label_maps': {source!r} must map class names to nodes")
    try:
        return WordTree(**document)
    except TreeError as error:
        line = json_line(text, error.key, error.node or 0) if error.key else None
        raise TreeFormatError(f"{file}:{line}: {error}" if line else f"{file}: {error}") from None


# wnids, names, parents, synsets, lemmas, rest, label_maps, root, notes
_JSON_TYPES: tuple[Any, ...] = (list, list, list, list, list, str, dict, (str, type(None)), dict)

# ---------------------------------------------------------------------------------------------------------------- text


class _Line(NamedTuple):
    number: int  # from 1
    text: str


def _read_darknet_tree(path: Path) -> WordTree:
    lines = list(_lines(path))
    wnids, parents = [], []
    for number, text in lines:
        words = text.split()
        parent = _integer(words[1]) if len(words) == 2 else None
        if parent is None:
            raise TreeFormatError(f"{path}:{number}: expected an id and the number of its parent, not {text!r}")
        wnids.append(words[0])
        parents.append(parent)
    if not lines:
        raise TreeFormatError(f"{path}:1: the file has no nodes")
    if fault := first_structure_fault(wnids, parents):
        raise TreeFormatError(f"{path}:{lines[fault.node].number}: node {fault.node}: {fault.message}")
    labels = path.with_suffix(".labels")
    if labels.exists():
        for (number, text), wnid in zip(_column_beside(labels, len(wnids), path), wnids, strict=True):
            if text != wnid:
                raise TreeFormatError(f"{labels}:{number}: {text!r} stands where {path.name} has {wnid!r}")
    names_file = path.with_suffix(".names")
    names = wnids
    if names_file.exists():
        column = _column_beside(names_file, len(wnids), path)
        for number, text in column:
            if not is_line(text):
                raise TreeFormatError(f"{names_file}:{number}: {text!r} is no display name")
        names = [line.text for line in column]
    return WordTree(tuple(wnids), tuple(names), tuple(parents))


def _column_beside(path: Path, count: int, tree: Path) -> list[_Line]:
    column = list(_lines(path))
    if len(column) != count:
        last = column[-1].number if column else 1
        raise TreeFormatError(f"{path}:{last}: {len(column)} lines for the {count} nodes of {tree.name}")
    return column


def _lines(path: Path) -> Iterator[_Line]:
    """Yield the lines of a text file that are not blank, without the white space around them."""
    # Not splitlines(), which also ends lines at characters that no editor counts as a line end.
    for number, line in enumerate(_decoded(_content(path), str(path)).split("\n"), start=1):
        if text := line.strip():
            yield _Line(number, text)


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise TreeFormatError(f"{file}:{number}: not UTF-8 text: {error.reason}") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return _not_too_much(file.read(MOST_BYTES + 1), path)


def _not_too_much(content: bytes, path: Path) -> bytes:
    if len(content) > MOST_BYTES:
        raise TreeFormatError(f"{path}: more than {MOST_BYTES >> 20} MB; a tree of all nouns has 20")
    return content


def _integer(word: str) -> int | None:
    # int() also accepts 1_000 and digits of other scripts, and raises for very long numbers.
    return int(word) if re.fullmatch("-?[0-9]{1,9}", word) else None


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
