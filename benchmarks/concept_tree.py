"""Rows of the tree itself: what it costs to build, name, store and take the softmax of 9,418 and of 82,114 nodes.

The other side is the plain way to do the same: a Python loop over nodes, names or sibling groups, or the whole tree
where a part is enough. Some are what this project did before.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Goal, PeerAbsent, Row, Scale, Side
from wordtree import WordTree, build_wordtree, load_tree
from wordtree.concepts import resolve_concepts
from wordtree.formats import from_json, to_json
from wordtree.names import NameIndex, fold
from wordtree.softmax import log_conditionals, log_probs
from wordtree.tables import path_widths, tree_tables
from wordtree.wordnet import open_wordnet
from yolo9000.runtime.checkpoint import content_sha256

Sides = dict[str, Side | PeerAbsent]


@cache
def nouns_tree(root: str) -> WordTree:
    """The tree of every noun below a root; it takes some seconds for ``entity.n.01``, which has 82,114."""
    wordnet = open_wordnet()
    return build_wordtree(wordnet.descendants(wordnet.wnid(root)), root=root)


def tree_of(nodes: int, scale: Scale) -> WordTree:
    """The tree of a row, a small one where speed does not matter."""
    if scale.quick:
        return nouns_tree("vehicle.n.01")
    return load_tree("yolo9000") if nodes == 9418 else nouns_tree("entity.n.01")


def _threads() -> str:
    return f"float32, {torch.get_num_threads()} threads"


# ------------------------------------------------------------------------------------------------ build, name, store


def _reach(scale: Scale, stack: ExitStack) -> Sides:
    root = "vehicle.n.01" if scale.quick else "entity.n.01"
    wordnet = open_wordnet()
    nouns = sorted(wordnet.descendants(wordnet.wnid(root)))

    def ours() -> int:
        hierarchy = resolve_concepts([], root=root).hierarchy
        return sum(map(hierarchy.reaches_root, nouns))

    def walk() -> int:
        hierarchy = resolve_concepts([], root=root).hierarchy
        return sum(hierarchy.root in hierarchy.ancestors(noun) for noun in nouns)

    return {"ours": Side(run=ours), "every ancestor": Side(run=walk)}


def _names(nodes: int, scale: Scale, stack: ExitStack) -> Sides:
    tree = tree_of(nodes, scale)
    columns = (tree.wnids, tree.names, tree.synsets, tree.lemmas, tree.label_maps)

    def ours() -> tuple[int, ...]:
        return NameIndex(*columns).find("van")

    def each() -> tuple[int, ...]:
        stages: list[dict[str, set[int]]] = [{} for _ in range(4)]
        for node, (wnid, name, synset, lemmas) in enumerate(
            zip(tree.wnids, tree.names, tree.synsets, tree.lemmas, strict=True)
        ):
            for stage, words in zip(stages, ((wnid,), (synset or "",), (name,), lemmas), strict=True):
                for word in words:
                    stage.setdefault(fold(word), set()).add(node)
        return next(tuple(sorted(stage["van"])) for stage in stages if "van" in stage)

    return {"ours": Side(run=ours), "name by name": Side(run=each)}


def _checkpoint(nodes: int, scale: Scale, stack: ExitStack) -> Sides:
    tree = tree_of(nodes, scale)

    def there_and_back(stored: Any, read: Callable[[Any], WordTree]) -> WordTree:
        content_sha256({"tree": stored})
        file = io.BytesIO()
        torch.save({"tree": stored}, file)
        file.seek(0)
        return read(torch.load(file, weights_only=True)["tree"])

    def ours() -> WordTree:
        return there_and_back(to_json(tree), lambda stored: from_json(stored, "the checkpoint"))

    def columns() -> WordTree:
        stored = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
        return there_and_back(stored, lambda stored: WordTree(**stored))

    return {"ours": Side(run=ours, setting="one JSON text"), "columns": Side(run=columns, setting="lists of strings")}


# --------------------------------------------------------------------------------------------- tables and the softmax


def _tables(nodes: int, scale: Scale, stack: ExitStack) -> Sides:
    tree = tree_of(nodes, scale)
    runs = itertools.count()

    def unseen() -> WordTree:
        # Another id each time, or the second run would find the first one's tables.
        return dataclasses.replace(tree, wnids=(f"{tree.wnids[0]}-{next(runs)}", *tree.wnids[1:]))

    def ours() -> list[Tensor]:
        tree = unseen()
        tables = tree_tables(tree, "cpu")
        return [tables.path, tables.bucket_order, torch.from_numpy(path_widths(tree).copy())]

    def loop() -> list[Tensor]:
        tree = unseen()
        depth = int(tree.depths.max()) + 1
        paths: list[list[int]] = []
        widths: list[int] = []
        for parent, group in zip(tree.parents, tree.group_of.tolist(), strict=True):
            above = paths[parent] if parent >= 0 else []
            paths.append([*above, len(paths)])
            widths.append(int(tree.group_sizes[group]) + (widths[parent] if parent >= 0 else 0))
        padded = [path + [-1] * (depth - len(path)) for path in paths]
        kinds = zip(tree.group_has_rest.tolist(), tree.group_sizes.tolist(), range(len(tree.group_sizes)), strict=True)
        order = [
            node
            for _, size, group in sorted(kinds)
            for node in range(tree.group_offsets[group], tree.group_offsets[group] + size)
        ]
        return [torch.tensor(padded), torch.tensor(order), torch.tensor(widths)]

    return {"ours": Side(run=ours), "node by node": Side(run=loop)}


def looping_log_conditionals(logits: Tensor, tree: WordTree) -> Tensor:
    """One group after another: darknet's way."""
    parts = []
    # split(), not a slice for each group: the gradient of a slice is as large as all logits.
    for members, has_rest in zip(
        logits.split(tree.group_sizes.tolist(), dim=1), tree.group_has_rest.tolist(), strict=True
    ):
        if has_rest:
            parts.append(torch.cat([members, members.new_zeros(len(members), 1)], dim=1).log_softmax(dim=1)[:, :-1])
        else:
            parts.append(members.log_softmax(dim=1))
    return torch.cat(parts, dim=1)


def _softmax(nodes: int, boxes: int, scale: Scale, stack: ExitStack) -> Sides:
    tree = tree_of(nodes, scale)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3 if scale.quick else boxes, len(tree), generator=generator)
    upstream = torch.randn(logits.shape, generator=generator)

    def step(function: Callable[[Tensor, WordTree], Tensor]) -> Tensor:
        leaf = logits.clone().requires_grad_()
        function(leaf, tree).backward(upstream)
        assert leaf.grad is not None
        return leaf.grad

    return {
        "ours": Side(run=partial(step, log_conditionals), setting=_threads()),
        "loop over groups": Side(run=partial(step, looping_log_conditionals), setting=_threads()),
    }


def _closure(nodes: int, wanted: int, scale: Scale, stack: ExitStack) -> Sides:
    tree = tree_of(nodes, scale)
    coco = load_tree("yolo9000").label_maps["coco"]
    found = [coco[name] for name in coco] if nodes == 9418 and not scale.quick else None
    asked = found or random.Random(0).sample(range(len(tree)), wanted)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100, 1024, generator=generator) / 32  # yolo9000's head reads 1,024 channels
    weight = torch.randn(len(tree), 1024, generator=generator)

    def ours() -> Tensor:
        part = tree.closure(asked)  # could be made once; counted each time
        logits = features @ weight[list(part.new_to_old)].T
        return log_probs(logits, part.tree)[:, [part.old_to_new[node] for node in asked]]

    def whole() -> Tensor:
        return log_probs(features @ weight.T, tree)[:, asked]

    return {
        "ours": Side(run=ours, setting=f"{len(tree.closure(asked).tree):,} columns, {_threads()}"),
        "whole tree": Side(run=whole, setting=f"{len(tree):,} columns, {_threads()}"),
    }


def _furthest(ours: Any, other: Any) -> float:
    """0 for equal values; the largest difference of tensors."""
    if isinstance(ours, Tensor):
        return float((ours - other).abs().max())
    if isinstance(ours, list):
        return max(float(np.abs(a.numpy() - b.numpy()).max()) for a, b in zip(ours, other, strict=True))
    return float(ours != other)


def rows() -> list[Row]:
    """Rows ``tree-...``, of the original tree and of all nouns."""
    jobs: list[tuple[str, str, Callable[[Scale, ExitStack], Sides], str]] = [
        ("tree-reach", "which of 82,114 nouns are below the root", _reach, "every ancestor"),
    ]
    for nodes, boxes, wanted in ((9_418, 867, 80), (82_114, 100, 19)):
        many = f"{nodes:,} nodes"
        jobs += [
            (f"tree-names-{nodes}", f"first node by its name, {many}", partial(_names, nodes), "name by name"),
            (
                f"tree-checkpoint-{nodes}",
                f"tree into a checkpoint and out, {many}",
                partial(_checkpoint, nodes),
                "columns",
            ),
            (
                f"tree-tables-{nodes}",
                f"tree, then its tables as tensors, {many}",
                partial(_tables, nodes),
                "node by node",
            ),
            (
                f"tree-softmax-{nodes}",
                f"softmax in every sibling group, {boxes} boxes, forward + backward, {many}",
                partial(_softmax, nodes, boxes),
                "loop over groups",
            ),
            (
                f"tree-closure-{nodes}",
                f"class logits and log P of {wanted} nodes, 100 boxes, {many}",
                partial(_closure, nodes, wanted),
                "whole tree",
            ),
        ]
    return [
        Row(name=name, what=what, prepare=prepare, goals=(Goal(other=other),), difference=_furthest)
        for name, what, prepare, other in jobs
    ]
