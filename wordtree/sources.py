"""Several data sets -> one tree that knows the classes of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wordtree import labels
from wordtree.build import build_from_resolution
from wordtree.concepts import ConceptError, ConceptProblem, Edges, Resolution, resolve_concepts
from wordtree.errors import TreeFormatError
from wordtree.formats import JSON_SUFFIXES, map_content, tree_files
from wordtree.hierarchy import NewConcept
from wordtree.labels import LabelError
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
        Key of its map in ``tree.label_maps``.
    classes : mapping of str to str
        Class name -> concept, in the order of the class indexes.
    fillable : bool
        A person chose the names, and can say what they mean: problems go into a template.
    template : bool
        It is such a template, filled in: what it says goes before what the file says that it was made for.
    mapped : bool
        The tree gets a map of its classes. Not where nobody labels with them and their names are the ids of the
        nodes: the map would say nothing, and be a third of the file.
    """

    name: str
    classes: Mapping[str, str]
    fillable: bool = False
    template: bool = False
    mapped: bool = True


def coco() -> LabelSource:
    """Return the source ``coco``."""
    return LabelSource("coco", labels.coco_classes())


def voc() -> LabelSource:
    """Return the source ``voc``."""
    return LabelSource("voc", labels.voc_classes())


def imagenet1k() -> LabelSource:
    """Return the source ``imagenet1k``."""
    return LabelSource("imagenet1k", labels.imagenet1k_classes())


def default_sources() -> list[LabelSource]:
    """Return COCO and ImageNet-1k."""
    return [coco(), imagenet1k()]


def imagenet(folder: Path) -> LabelSource:
    """Return the source ``imagenet`` of a folder with folders or tars named by wnid."""
    return LabelSource("imagenet", labels.imagenet_folder(folder))


def lvis(path: Path) -> LabelSource:
    """Return the source ``lvis`` of LVIS annotations."""
    return LabelSource("lvis", labels.lvis_file(path), fillable=True)


def wnids(path: Path) -> LabelSource:
    """Return the source of a file of wnids, called by its stem."""
    return LabelSource(path.stem, labels.wnid_file(path))


def darknet(path: Path) -> LabelSource:
    """Return the source of the concepts of a darknet tree, called by its stem."""
    return LabelSource(path.stem, labels.darknet_tree(path))


def nouns(path: Path) -> LabelSource:
    """Return the source of a file of nouns, called by its stem."""
    return LabelSource(path.stem, labels.noun_file(path), fillable=True)


def all_nouns(
    root: str = "physical_entity.n.01", *, extra_edges: Edges | None = None, wordnet: WordNetSource = None
) -> LabelSource:
    """Return the source ``all_nouns``: every noun of WordNet below a root, itself left out; it gets no label map.

    Parameters
    ----------
    root, wordnet
        See `build_wordtree`. There are 46,161 nouns below ``physical_entity.n.01``, 82,114 below ``entity.n.01``.
    extra_edges
        Those of the tree: what they put elsewhere than below the root is left out.

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
    below = sorted(filter(hierarchy.reaches_root, hierarchy.wordnet.descendants(hierarchy.root)))
    return LabelSource("all_nouns", dict(zip(below, below, strict=True)), mapped=False)


def read_later(read: Callable[[Path], LabelSource]) -> Callable[[str], Callable[[], LabelSource]]:
    """Return a type for argparse that keeps the path: what is wrong with a file is no mistake in the command line."""
    return lambda path: partial(read, Path(path))


def categories(path: Path) -> LabelSource:
    """Return the source of a file of categories, called by its stem.

    ``x.categories.csv`` is the template that was written for ``x``, filled in: its source is ``x``.
    """
    template = path.name.endswith(TEMPLATE_SUFFIX)
    name = path.name.removesuffix(TEMPLATE_SUFFIX) if template else path.stem
    return LabelSource(name, labels.category_file(path), fillable=True, template=template)


@dataclass(frozen=True)
class ResolvedLabels:
    """What the classes of some sources mean, as far as that is known."""

    sources: tuple[LabelSource, ...]
    resolution: Resolution

    def concepts_of(self, source: LabelSource) -> dict[str, tuple[str | None, ConceptProblem | None]]:
        """Return class -> (id, problem) for a source."""
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
            raise ConceptError(problems, self.resolution.headline(len(problems)))


def merge_sources(sources: Iterable[LabelSource]) -> tuple[LabelSource, ...]:
    """Join what has one name: several ImageNet folders, and a filled-in template with the file it was made for.

    Raises
    ------
    LabelError
        If two sources give a class different meanings, neither being a template's.
    """
    merged: dict[str, LabelSource] = {}
    for source in sources:
        first = merged.get(source.name)
        if first is None:
            merged[source.name] = source
            continue
        if not first.template and not source.template:
            clash = [n for n in source.classes if first.classes.get(n, source.classes[n]) != source.classes[n]]
            if clash:
                raise LabelError(f"two sources are called {source.name!r} and differ in class {clash[0]!r}; rename one")
        classes = {**first.classes, **source.classes}
        if first.template:
            classes |= first.classes
        merged[source.name] = replace(first, classes=classes, template=first.template or source.template)
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
    """Look the classes of all sources up; the options are those of `resolve_concepts`.

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
    """Build one tree with a label map for each source; the options are those of `build_wordtree`.

    With ``flat`` the concepts of the classes lie beside each other without hypernyms, see `WordTree.flatten`.

    ``tree.notes["sources"]`` says how many classes each source has and how many concepts it was the first to name.
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
    """Raise before the work begins, not after it, if a tree cannot be written.

    Raises
    ------
    FileExistsError
        If a file is there and `force` is not set.
    OSError
        If its folder does not exist or may not be written to.
    TreeFormatError
        If `out` is no JSON: other formats have no place for what the sources call their classes.
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

    All of the files or, if one cannot be written, none.
    """
    files = tree_files(tree, out)
    if darknet_stem is not None:
        files |= tree_files(tree, f"{darknet_stem}.tree")
        for source, classes in tree.label_maps.items():
            files[Path(f"{darknet_stem}.{source}.map")] = map_content(classes.values(), tree)
    write_new_files(files, force=force)


def write_templates(resolved: ResolvedLabels, folder: str | Path) -> dict[Path, bool]:
    """Write ``<source>.categories.csv`` for each source that a person can complete and has to.

    The file has a line for each class. Where it is known what the class means the concept is filled in; elsewhere the
    column is empty, and ``note`` says why and lists candidates. Filled in, it takes the place of the source's own file.

    Returns
    -------
    dict of Path to bool
        For each file whether it was written. One that is there already is left as it is: somebody may have begun to
        fill it in.
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
        return name, "", " | ".join((f"{problem.concept}: {problem.reason}", *problem.candidates))
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
