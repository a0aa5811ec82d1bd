"""Building one tree that has the classes of several data sets.

It is one file because what a source holds, how sources are merged and what a template says depend on each other.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wordtree import labels
from wordtree.build import build_from_resolution
from wordtree.concepts import ConceptError, ConceptProblem, Edges, Resolution, resolve_concepts
from wordtree.errors import TreeFormatError
from wordtree.formats import JSON_SUFFIXES, map_content, tree_files
from wordtree.hierarchy import NewConcept
from wordtree.labels import LabelError
from wordtree.names import composed
from wordtree.tree import Rest, WordTree
from wordtree.wordnet import WordNetSource
from wordtree.writing import check_writable, write_new_files

TEMPLATE_SUFFIX = ".categories.csv"


@dataclass(frozen=True)
class LabelSource:
    """A data set's classes.

    Attributes
    ----------
    name : str
        The key of its map in ``tree.label_maps``.
    classes : mapping of str to str
        The concept of each class name, in the order of the class indices.
    fillable : bool
        Whether a template is written for classes without a concept, because a person chose the names and can say what
        they mean.
    template : bool
        Whether this is such a template, filled in. Its concepts replace those of the file that it was made for.
    mapped : bool
        Whether the tree gets a map of the classes. It is False if the class names are the ids of the nodes and no
        data set uses them as labels: the map would repeat the ids and take a third of the file.
    left_out : frozenset of str
        Classes that the file has and leaves out with ``-``. A source of the same name does not bring them back.
    """

    name: str
    classes: Mapping[str, str]
    fillable: bool = False
    template: bool = False
    mapped: bool = True
    left_out: frozenset[str] = frozenset()


def coco() -> LabelSource:
    """Return the source ``coco``."""
    return LabelSource("coco", labels.coco_classes())


def voc() -> LabelSource:
    """Return the source ``voc``."""
    return LabelSource("voc", labels.voc_classes())


def voc_folder(folder: Path) -> LabelSource:
    """Return the source ``voc`` of the names in a folder in VOC's layout, whichever they are."""
    return LabelSource("voc", labels.voc_folder(folder), fillable=True)


def imagenet1k() -> LabelSource:
    """Return the source ``imagenet1k``."""
    return LabelSource("imagenet1k", labels.imagenet1k_classes())


def default_sources() -> list[LabelSource]:
    """Return COCO and ImageNet-1k."""
    return [coco(), imagenet1k()]


def imagenet(folder: Path) -> LabelSource:
    """Return the source ``imagenet`` of a folder that holds folders or tars named by wnid or by a noun."""
    return LabelSource("imagenet", labels.imagenet_folder(folder), fillable=True)


def own_names(name: str, names: Sequence[str], concepts: Mapping[str, str] | None = None) -> LabelSource:
    """Return the source of a data set whose classes are called as a person chose.

    Each name means COCO's or VOC's class of that name if all names are COCO's, or all are VOC's, and otherwise itself.

    Parameters
    ----------
    name : str
    names : sequence of str
    concepts : mapping of str to str, optional
        What some of the names mean instead.

    Examples
    --------
    >>> own_names("farm", ["mouse", "cow", "hen"], {"mouse": "mouse.n.01"}).classes
    {'mouse': 'mouse.n.01', 'cow': 'cow', 'hen': 'hen'}
    """
    names = [composed(name) for name in names]  # as `datasets` looks them up
    known = (labels.coco_classes(), labels.voc_classes())
    meant = next((table for table in known if set(names) <= set(table)), {name: name for name in names})
    said = {composed(each): concept for each, concept in (concepts or {}).items()}
    return LabelSource(name, {each: meant[each] for each in names} | said, fillable=True)


def lvis(path: Path) -> LabelSource:
    """Return the source ``lvis`` of LVIS annotations."""
    return LabelSource("lvis", labels.lvis_file(path), fillable=True)


def wnids(path: Path) -> LabelSource:
    """Return the source of a file of wnids. Its name is the file's stem."""
    return LabelSource(path.stem, labels.wnid_file(path))


def darknet(path: Path) -> LabelSource:
    """Return the source of the concepts of a darknet tree. Its name is the file's stem."""
    return LabelSource(path.stem, labels.darknet_tree(path))


def nouns(path: Path) -> LabelSource:
    """Return the source of a file of nouns. Its name is the file's stem."""
    return LabelSource(path.stem, labels.noun_file(path), fillable=True)


def all_nouns(
    root: str = "physical_entity.n.01", *, extra_edges: Edges | None = None, wordnet: WordNetSource = None
) -> LabelSource:
    """Return the source ``all_nouns``: every noun of WordNet below a root. It gets no label map.

    There are 46,611 nouns below ``physical_entity.n.01`` and 82,114 below ``entity.n.01``.

    Parameters
    ----------
    root : str
        As in `build_wordtree`. It is not among the nouns.
    extra_edges : mapping or iterable of (child, parent), optional
        The extra edges of the tree to build. The nouns are those that are below the root with them.
    wordnet : path or WordNet, optional
        As in `build_wordtree`.

    Returns
    -------
    LabelSource

    Raises
    ------
    ConceptError, WordNetDataError
        As in `build_wordtree`.

    Examples
    --------
    >>> wildcats = all_nouns("wildcat.n.03")
    >>> tree = build_from_labels(resolve_labels([wildcats], root="wildcat.n.03"))
    >>> len(tree), [tree.names[node] for node in tree.children("lynx.n.02")]
    (18, ['bobcat', 'Canada lynx', 'caracal', 'common lynx', 'spotted lynx'])
    """
    hierarchy = resolve_concepts([], root=root, extra_edges=extra_edges, wordnet=wordnet).hierarchy
    # What is below the root is below it, or is or is below the child of an edge, by hypernyms alone.
    tops = (hierarchy.root, *hierarchy.edges)
    nouns = set(hierarchy.edges).union(*map(hierarchy.wordnet.descendants, tops)) - {hierarchy.root}
    below = sorted(filter(hierarchy.reaches_root, nouns))
    return LabelSource("all_nouns", dict(zip(below, below, strict=True)), mapped=False)


def categories(path: Path) -> LabelSource:
    """Return the source of a file of categories. Its name is the file's stem.

    ``x.categories.csv`` is the filled-in template of the source ``x``, so its name is ``x``.
    """
    template = path.name.endswith(TEMPLATE_SUFFIX)
    name = path.name.removesuffix(TEMPLATE_SUFFIX) if template else path.stem
    stated = labels.stated_concepts(path)
    classes = {each: concept for each, concept in stated.items() if concept is not None}
    return LabelSource(
        name, classes, fillable=True, template=template, left_out=frozenset(stated.keys() - classes.keys())
    )


@dataclass(frozen=True)
class ResolvedLabels:
    """The concepts that the classes of some sources mean, as far as they are known.

    Attributes
    ----------
    sources : tuple of LabelSource
        The sources, each with a name of its own.
    resolution : Resolution
        The concepts of all classes, source after source.
    """

    sources: tuple[LabelSource, ...]
    resolution: Resolution

    def concepts_of(self, source: LabelSource) -> dict[str, tuple[str | None, ConceptProblem | None]]:
        """Return the id and the problem of each class of a source; each is None if there is none."""
        start = 0
        for other in self.sources:
            if other is source:
                break
            start += len(other.classes)
        resolution = self.resolution
        return {
            name: (resolution.ids[position], resolution.problems.get(position))
            for position, name in enumerate(source.classes, start)
        }

    def require_all(self) -> None:
        """Raise one `ConceptError` with everything that could not be resolved."""
        problems = [
            replace(problem, where=source.name if problem.concept == name else f"{source.name}, class {name!r}")
            for source in self.sources
            for name, (_, problem) in self.concepts_of(source).items()
            if problem is not None
        ]
        if problems:
            # Several sources may have one concept, and the headline counts concepts.
            distinct = len({problem.concept for problem in problems})
            raise ConceptError(problems, self.resolution.headline(distinct))


def merge_sources(sources: Iterable[LabelSource]) -> tuple[LabelSource, ...]:
    """Merge sources of the same name: several ImageNet folders, or a filled-in template and the file it was made for.

    Raises
    ------
    LabelError
        If two sources of the same name give a class different concepts, or one of them leaves it out, and neither
        source is a template.
    """
    merged: dict[str, LabelSource] = {}
    for source in sources:
        first = merged.get(source.name)
        if first is None:
            merged[source.name] = source
            continue
        if not first.template and not source.template:
            clash = [n for n in source.classes if first.classes.get(n, source.classes[n]) != source.classes[n]]
            clash += sorted(first.left_out & source.classes.keys() | source.left_out & first.classes.keys())
            if clash:
                raise LabelError(f"two sources are called {source.name!r} and differ in class {clash[0]!r}; rename one")
        winner, other = (first, source) if first.template else (source, first)
        left_out = winner.left_out | (other.left_out - winner.classes.keys())
        both = {**first.classes, **source.classes, **winner.classes}
        merged[source.name] = replace(
            first,
            classes={name: concept for name, concept in both.items() if name not in left_out},
            template=first.template or source.template,
            left_out=left_out,
        )
    return tuple(merged.values())


def resolve_labels(
    sources: Iterable[LabelSource],
    *,
    root: str = "physical_entity.n.01",
    extra_edges: Edges | None = None,
    skip_unreachable: bool = False,
    first_sense: bool = False,
    wordnet: WordNetSource = None,
) -> ResolvedLabels:
    """Look up the classes of all sources. The other parameters are those of `resolve_concepts`.

    Examples
    --------
    >>> pets = LabelSource("pets", {"Hund": "dog.n.01", "Katze": "cat.n.01"})
    >>> tree = build_from_labels(resolve_labels([pets]))
    >>> tree.names, tree.label_maps
    (('carnivore', 'cat', 'dog'), {'pets': {'Hund': 2, 'Katze': 1}})
    """
    joined = merge_sources(sources)
    resolution = resolve_concepts(
        [concept for source in joined for concept in source.classes.values()],
        root=root,
        extra_edges=extra_edges,
        skip_unreachable=skip_unreachable,
        first_sense=first_sense,
        wordnet=wordnet,
    )
    return ResolvedLabels(joined, resolution)


def build_from_labels(
    resolved: ResolvedLabels,
    *,
    contract: bool = True,
    lift: bool = False,
    rest: Rest = "only_child",
    flat: bool = False,
) -> WordTree:
    """Build one tree with a label map for each source.

    For each source, ``tree.notes["sources"]`` has the number of its classes and of the concepts that no earlier source
    has.

    Parameters
    ----------
    resolved : ResolvedLabels
        The concepts of the classes.
    contract, lift : bool
        As in `build_wordtree`.
    rest : {"only_child", "none", "all"}
        As in `build_wordtree`.
    flat : bool
        Put all concepts beside each other at the top, without hypernyms; see `WordTree.flatten`.

    Returns
    -------
    WordTree

    Raises
    ------
    ConceptError
        If a class could not be resolved.
    """
    resolved.require_all()
    tree = build_from_resolution(resolved.resolution, contract=contract, lift=lift, rest=rest)
    if flat:
        concepts = {concept for source in resolved.sources for concept, _ in resolved.concepts_of(source).values()}
        tree = tree.flatten(sorted(concept for concept in concepts if concept is not None)).tree
    nodes = {concept: node for node, concept in enumerate(tree.wnids)}
    maps: dict[str, dict[str, int]] = {}
    counts = {}
    seen: set[str] = set()
    for source in resolved.sources:
        found = {name: concept for name, (concept, _) in resolved.concepts_of(source).items() if concept is not None}
        if source.mapped:
            maps[source.name] = {name: nodes[concept] for name, concept in found.items()}
        counts[source.name] = {"classes": len(source.classes), "new_concepts": len(set(found.values()) - seen)}
        seen.update(found.values())
    return replace(tree, label_maps=maps, notes={**tree.notes, "sources": counts})


def check_outputs(out: Path, darknet_stem: Path | None = None, *, force: bool = False) -> None:
    """Raise if `write_tree` could not write a tree, so that nobody waits for one in vain.

    Raises
    ------
    FileExistsError
        If a file exists and `force` is not set.
    OSError
        If its folder does not exist or may not be written to.
    TreeFormatError
        If `out` is no JSON file: other formats cannot hold the class names of the sources.
    """
    if not out.name.endswith(JSON_SUFFIXES):
        raise TreeFormatError(
            f"{out}: a tree file ends in {' or '.join(JSON_SUFFIXES)}; `darknet_out` STEM writes .tree, .names and "
            ".map beside it"
        )
    darknet_files = () if darknet_stem is None else (Path(f"{darknet_stem}.tree"), Path(f"{darknet_stem}.names"))
    check_writable((out, *darknet_files), force=force)


def write_tree(tree: WordTree, out: Path, darknet_stem: Path | None = None, *, force: bool = False) -> None:
    """Write a tree and, for darknet, ``stem.tree``, ``stem.names`` and a ``stem.<source>.map`` for each source.

    If one of the files cannot be written, none is.
    """
    files = tree_files(tree, out)
    if darknet_stem is not None:
        files |= tree_files(tree, f"{darknet_stem}.tree")
        for source, classes in tree.label_maps.items():
            files[Path(f"{darknet_stem}.{source}.map")] = map_content(classes.values(), tree)
    write_new_files(files, force=force)


def write_templates(resolved: ResolvedLabels, folder: str | Path) -> dict[Path, bool]:
    """Write a template ``<source>.categories.csv`` for each fillable source that has unresolved classes.

    The file has a line for each class. Known concepts are filled in. The others are empty, and the column ``note`` says
    why and lists candidates. Once a user has filled it in, it replaces the source's own file.

    Returns
    -------
    dict of Path to bool
        Whether each file was written. An existing file is left as it is, because the user may have begun to fill it
        in.
    """
    written: dict[Path, bool] = {}
    for source in resolved.sources:
        concepts = resolved.concepts_of(source)
        if source.fillable and any(problem for _, problem in concepts.values()):
            rows = [_template_row(resolved.resolution, name, *found) for name, found in concepts.items()]
            path = Path(folder) / f"{source.name}{TEMPLATE_SUFFIX}"
            written[path] = not path.exists()
            if written[path]:
                write_new_files({path: _csv([("name", "concept", "note"), *rows])})
    return written


def _template_row(
    resolution: Resolution, name: str, concept: str | None, problem: ConceptProblem | None
) -> Sequence[str]:
    if problem is not None:
        reason = re.sub(r", or [^`]*`\w+`\)?", "", problem.reason)  # a table has no options
        return name, "", " | ".join((f"{problem.concept}: {reason}", *problem.candidates))
    if concept is None:
        return name, "-", "skipped: it does not reach the root"
    new = resolution.hierarchy.new.get(concept)
    note = "the first of several senses was taken" if name in resolution.first_senses else ""
    return name, _written(new) if new else resolution.hierarchy.label(concept), note


def _written(concept: NewConcept) -> str:
    return f"{concept.name} < {concept.parent}"


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()
