"""The classes of a data set as it writes them, and the concept of each.

Every public function returns a dict of class name -> concept in the order of the class indices. A concept is any text
that `resolve_concepts` accepts. `wordtree.sources` makes one tree of several data sets.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from wordtree.errors import TreeError
from wordtree.formats import load_tree
from wordtree.names import composed, is_wnid

_DATA = Path(__file__).with_name("data")
_WNID_ENTRY = re.compile(r"(n\d{8})(?:\.tar)?")
_TAR_OF_TARS = re.compile(r"ILSVRC\d*_img_")
_PICTURES = {".jpeg", ".jpg", ".png"}
LEFT_OUT = "-"  # as a concept: this class gets no node


class LabelError(TreeError):
    """The classes of a data set cannot be read; the message names the file or folder, and the line or key."""


def coco_classes() -> dict[str, str]:
    """Return COCO's 80 classes and their wnids.

    Examples
    --------
    >>> coco_classes()["mouse"]  # the computer's: mouse.n.04
    'n03793489'
    """
    return _table("coco.csv")


def voc_classes() -> dict[str, str]:
    """Return the 20 classes of PASCAL VOC and their wnids.

    Examples
    --------
    >>> voc_classes()["pottedplant"]  # houseplant.n.01
    'n13083023'
    """
    return _table("voc.csv")


def voc_folder(folder: str | Path) -> dict[str, str]:
    """Return the names that the XMLs of a folder in VOC's layout have for things, and their concepts.

    VOC's own names mean what they mean in VOC; any other name is its own concept.

    Parameters
    ----------
    folder : str or Path
        It holds ``Annotations/*.xml``, or the XMLs themselves.

    Returns
    -------
    dict of str to str
        All 20 classes of VOC, if no other name is there; otherwise the names that are, in alphabetical order.

    Raises
    ------
    LabelError
        If there are no XMLs, or none of them names a thing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     xml = "<annotation><object><name>{}</name></object></annotation>"
    ...     for name in ("dog", "kangaroo"):
    ...         _ = (Path(folder) / f"{name}.xml").write_text(xml.format(name))
    ...     voc_folder(folder)
    {'dog': 'n02084071', 'kangaroo': 'kangaroo'}
    """
    folder = Path(folder)
    annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    files = sorted(annotations.glob("*.xml")) if annotations.is_dir() else []
    if not files:
        raise LabelError(f"{folder}: looked for Annotations/*.xml, as in VOC's layout, and found none")
    found = {name for file in files for name in _things(file)}
    if not found:
        raise LabelError(f"{annotations}: none of {len(files):,} XMLs has an <object> with a <name>")
    known = voc_classes()
    return known if found <= set(known) else {name: known.get(name, name) for name in sorted(found)}


def _things(xml: Path) -> Iterator[str]:
    """Names of the objects of an XML; those of their parts, as in "person has a head", are not theirs."""
    data = xml.read_bytes()
    if b"\0" in data or b"<!DOCTYPE" in data:  # a document type may define entities that grow to a billion letters
        raise LabelError(f"{xml}: an XML in UTF-8 without a document type is needed")
    try:
        top = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise LabelError(f"{xml}: {error}") from None
    for thing in top.iter("object"):
        if name := composed((thing.findtext("name") or "").strip()):
            yield name


def imagenet1k_classes() -> dict[str, str]:
    """Return the 1,000 classes of ILSVRC 2012, which are wnids, in the order of ILSVRC's own class numbers.

    Darknet has the same order. Torchvision has the alphabetical order of the folders, which is another one.

    Examples
    --------
    >>> len(imagenet1k_classes())
    1000
    """
    return {wnid: wnid for wnid in (_DATA / "imagenet1k.wnids").read_text(encoding="ascii").split()}


def imagenet_folder(folder: str | Path) -> dict[str, str]:
    """Return the classes of a folder in ImageNet's layout: one folder or one tar for each class.

    A wnid is its own concept, and so is any other name of a folder that holds pictures, or of a tar beside such.

    Raises
    ------
    LabelError
        If the folder holds no class. The message says what was looked for and what was found.
    """
    folder = Path(folder)
    wanted = f"{folder}: looked for a folder or a tar for each class, named by its wnid (n01440764/) or a noun (dog/)"
    if folder.is_file():
        raise LabelError(f"{wanted}; this is a file: name the folder that holds one for each class")
    if not folder.is_dir():
        raise LabelError(f"{wanted}; there is no such folder")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    found = {match[1]: match[1] for entry in entries if (match := _WNID_ENTRY.fullmatch(entry.name))}
    if not _WNID_ENTRY.fullmatch(folder.resolve().name):  # in that of one class, images/ may hold pictures
        others = [entry for entry in entries if entry.name not in found and entry.is_dir()]
        found |= {entry.name: composed(entry.name) for entry in others if _holds_pictures(entry)}
    if found:
        tars = [entry.stem for entry in entries if entry.suffix == ".tar" and not _TAR_OF_TARS.match(entry.name)]
        return dict(sorted((found | {name: composed(name) for name in tars}).items()))
    below = [entry.name for entry in entries if entry.is_dir() and _holds_wnids(entry)]
    if below:
        raise LabelError(f"{wanted}; they are one level down, in {' and '.join(below)}/: name {folder / below[0]}")
    deeper = [path for path in sorted(folder.glob("*/*")) if path.is_dir() and _holds_wnids(path)]
    if deeper:
        raise LabelError(f"{wanted}; they are two levels down: name {deeper[0]}")
    if _WNID_ENTRY.fullmatch(folder.resolve().name):
        raise LabelError(f"{wanted}; this is the folder of one class: name {folder.resolve().parent}")
    tars = [entry.name for entry in entries if entry.suffix == ".tar"]
    if tars:
        raise LabelError(f"{wanted}; {tars[0]} may be a tar of tars: unpack it once, so that one tar a class remains")
    if any(entry.suffix.lower() in _PICTURES for entry in entries):
        raise LabelError(f"{wanted}; it holds pictures that no folder assigns to a class, as ImageNet's val comes")
    names = [entry.name for entry in entries[:8]] + ["..."] * (len(entries) > 8)
    raise LabelError(f"{wanted}; it {'holds ' + ', '.join(names) if names else 'is empty'}")


def wnid_file(path: str | Path) -> dict[str, str]:
    """Return the wnids of a text file: the first word of each line. Darknet's ``.tree`` and ``.labels`` fit, too.

    Raises
    ------
    LabelError
        If a line does not begin with a wnid.
    """
    wnids: dict[str, str] = {}
    for number, line in _lines(path):
        word = line.split()[0].rstrip(",")
        if not is_wnid(word):
            raise LabelError(f"{path}:{number}: expected a wnid such as n02958343, found {word!r}")
        wnids[word] = word
    return wnids


def darknet_tree(path: str | Path) -> dict[str, str]:
    """Return the concepts of a darknet tree by their ids. A new concept is written ``name < parent``.

    The names of new concepts come from the ``.names`` file beside the tree.

    Raises
    ------
    LabelError
        If an id is neither a wnid nor that of a new concept.
    TreeFormatError, FileNotFoundError
        As in `load_tree`.
    """
    if Path(path).suffix != ".tree":
        raise LabelError(f"{path}: a darknet tree ends in .tree; `wnids` reads a list of ids")
    tree = load_tree(path)
    concepts = {}
    for node, wnid in enumerate(tree.wnids):
        concepts[wnid] = wnid
        if not is_wnid(wnid):
            parent = tree.parents[node]
            if parent < 0 or not wnid.startswith("x-") or tree.names[node] == wnid:
                raise LabelError(
                    f"{path}: node {node}: {wnid!r} is no wnid such as n02958343; a new concept needs a parent, and "
                    "its name in the .names file beside the tree"
                )
            concepts[wnid] = f"{tree.names[node]} < {tree.wnids[parent]}"
    return concepts


def noun_file(path: str | Path) -> dict[str, str]:
    """Return the nouns of a text file with one noun on each line; each is its own concept."""
    return {line: line for _, line in _lines(path)}


def category_file(path: str | Path) -> dict[str, str]:
    """Return the categories of a data set, in the order of their ids, from a COCO JSON or a CSV ``name,concept``.

    The concept ``-`` leaves a category out.

    Parameters
    ----------
    path : str or Path
        The file. In a **JSON**, the concept of a category is its key ``concept``, or else its key ``wnid``. Without
        these keys it is the concept of COCO's class of the same name, if all categories have names of COCO's classes,
        and otherwise the name itself.
        A **CSV** has a line for each category; without a concept the name itself is the concept. If the first line
        names the columns, they may be in any order and have others beside them.

    Raises
    ------
    LabelError
        If the file has another format. The message names the line or key.
    """
    return {name: concept for name, concept in stated_concepts(path).items() if concept is not None}


def stated_concepts(path: str | Path) -> dict[str, str | None]:
    """Return what `category_file` returns, and with it the categories that ``-`` leaves out; their concept is None."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        found = _categories(path)
        coco = coco_classes()
        meant = coco if all(name in coco for name, _ in found) else {}
        classes: dict[str, str | None] = {}
        for name, category in found:
            key = "concept" if category.get("concept") else "wnid"
            said = category.get(key) or ""
            if not isinstance(said, str):
                raise LabelError(f'{path}: category {name!r}: "{key}" must be text, not {said!r}')
            concept = said.strip() or meant.get(name, name)
            classes[name] = None if said.strip() == LEFT_OUT else concept
        return classes
    return _category_csv(path)


def lvis_file(path: str | Path) -> dict[str, str]:
    """Return the categories of an LVIS JSON and the synset that it names for each. Some are not in WordNet.

    Raises
    ------
    LabelError
        If the file is no LVIS JSON.
    """
    classes = {}
    for name, category in _categories(Path(path)):
        if not isinstance(category.get("synset"), str):
            raise LabelError(f'{path}: category {name!r} has no "synset", which LVIS has; for other files `categories`')
        classes[name] = category["synset"]
    return classes


def _table(file: str) -> dict[str, str]:
    with (_DATA / file).open(encoding="utf-8", newline="") as lines:
        return {row["name"]: row["wnid"] for row in csv.DictReader(lines)}


def _holds_wnids(folder: Path) -> bool:
    return any(_WNID_ENTRY.fullmatch(entry.name) for entry in folder.iterdir())


def _holds_pictures(folder: Path) -> bool:
    inside = folder / "images"  # as in the original Tiny-ImageNet
    there = inside if inside.is_dir() else folder
    return any(entry.suffix.lower() in _PICTURES for entry in there.iterdir())


def _text(path: str | Path) -> str:
    path = Path(path)
    if path.is_dir():
        raise LabelError(f"{path} is a folder, not a file")
    try:
        return composed(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LabelError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    empty = True
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if text := line.strip():
            empty = False
            yield number, text
    if empty:
        raise LabelError(f"{path}: the file is empty")


def _categories(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        document = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise LabelError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists too deep in each other
        raise LabelError(f"{path}: not JSON that can be read: {error}") from None
    categories = document.get("categories") if isinstance(document, dict) else None
    if not isinstance(categories, list) or not categories:
        found = f"the keys {', '.join(document)}" if isinstance(document, dict) else f"a {type(document).__name__}"
        raise LabelError(f'{path}: looked for a list "categories", as in a COCO JSON; found {found}')
    for position, category in enumerate(categories):
        if not isinstance(category, dict) or not isinstance(category.get("name"), str) or not category["name"].strip():
            raise LabelError(f'{path}: categories[{position}] has no "name"')
        if category["name"] != category["name"].strip():
            raise LabelError(f"{path}: categories[{position}]: remove the blanks around its name {category['name']!r}")
        if not isinstance(category.get("id"), int):
            raise LabelError(f'{path}: categories[{position}] ({category["name"]!r}) has no "id", a whole number')
    categories = sorted(categories, key=lambda category: category["id"])
    _refuse_twice((f"{path}: category {category['id']}", category["name"]) for category in categories)
    return [(category["name"], category) for category in categories]


def _category_csv(path: Path) -> dict[str, str | None]:
    rows = [(number, [cell.strip() for cell in row]) for number, row in _csv_rows(path)]
    if not rows:
        raise LabelError(f"{path}: the file is empty")
    number, header = rows[0][0], [cell.casefold() for cell in rows[0][1]]
    if len(header) == 1 and re.fullmatch(r"name\s*[;\t|]\s*concept.*", header[0]):
        raise LabelError(f"{path}:{number}: expected 'name,concept', found {rows[0][1][0]!r}: save it with commas")
    name_column, concept_column = 0, 1
    if "name" in header and "concept" in header:
        name_column, concept_column = header.index("name"), header.index("concept")
        rows = rows[1:]
    classes: dict[str, str | None] = {}
    _refuse_twice((f"{path}:{number}", row[name_column]) for number, row in rows if len(row) > name_column)
    for number, row in rows:
        if len(row) <= name_column or not row[name_column]:
            raise LabelError(f"{path}:{number}: expected 'name,concept', found {','.join(row)!r}")
        concept = row[concept_column] if len(row) > concept_column else ""
        classes[row[name_column]] = None if concept == LEFT_OUT else concept or row[name_column]
    return classes


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_text(path).splitlines())
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise LabelError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _refuse_twice(names: Iterable[tuple[str, str]]) -> None:
    """Raise if two of the pairs (place, name) have the same name."""
    seen: dict[str, str] = {}
    for where, name in names:
        if name in seen:
            raise LabelError(f"{where}: two categories are called {name!r}, the first in {seen[name]}")
        seen[name] = where
