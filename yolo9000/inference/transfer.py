"""Start a detector from one over another tree: a part of it, one that grew, or one with other branches.

K_old and K_new nodes; A priors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wordtree import TreeMismatch, WordTree
from yolo9000.inference.same_classes import check_same_classes
from yolo9000.models.model import Model
from yolo9000.runtime.checkpoint import CheckpointError

P_ALONE = 0.9999
"""P(node | parent) with which a node begins that lost all its siblings. Without a rest alternative it would be 1. This
costs a chain of ten such nodes a thousandth of their probability, and leaves the rest a gradient."""


@dataclass(frozen=True)
class NodeTransfer:
    """Which class row of the old net each node of the new tree starts from.

    Parameters
    ----------
    source : tuple of int
        (K_new,) old node, -1 for none.
    kept : tuple of int
        New nodes that the old tree has too.
    inherited : tuple of int
        New nodes that start as a copy of their nearest ancestor among `kept`.
    fresh : tuple of int
        New nodes without such an ancestor; their rows stay as they are.
    dropped : tuple of int
        Old nodes that the new tree does not have.
    alone : tuple of int
        Those of `kept` that are the only member of a sibling group with a rest alternative, where their group in the
        old tree had none. Their logits meant something beside those of their siblings alone, and say nothing against
        the rest's 0.
    """

    source: tuple[int, ...]
    kept: tuple[int, ...]
    inherited: tuple[int, ...]
    fresh: tuple[int, ...]
    dropped: tuple[int, ...]
    alone: tuple[int, ...] = ()


def match_nodes(old: WordTree, new: WordTree) -> NodeTransfer:
    """Match the nodes of two trees by their ids.

    Examples
    --------
    >>> old = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> new = WordTree(("a", "b", "d", "p"), ("animal", "dog", "horse", "poodle"), (-1, 0, 0, 1))
    >>> match_nodes(old, new)
    NodeTransfer(source=(0, 1, 0, 1), kept=(0, 1), inherited=(2, 3), fresh=(), dropped=(2,), alone=())
    """
    number = {wnid: node for node, wnid in enumerate(old.wnids)}
    source: list[int] = []
    for node, wnid in enumerate(new.wnids):  # a parent comes before its children
        parent = new.parents[node]
        source.append(number.get(wnid, source[parent] if parent >= 0 else -1))
    kept = [node for node, wnid in enumerate(new.wnids) if wnid in number]
    there = set(new.wnids)
    others = sorted(set(range(len(new))) - set(kept))
    return NodeTransfer(
        source=tuple(source),
        kept=tuple(kept),
        inherited=tuple(node for node in others if source[node] >= 0),
        fresh=tuple(node for node in others if source[node] < 0),
        dropped=tuple(node for node, wnid in enumerate(old.wnids) if wnid not in there),
        alone=tuple(node for node in kept if _has_rest_alone(new, node) and not _has_rest(old, source[node])),
    )


def _has_rest(tree: WordTree, node: int) -> bool:
    return bool(tree.group_has_rest[tree.group_of[node]])


def _has_rest_alone(tree: WordTree, node: int) -> bool:
    return _has_rest(tree, node) and int(tree.group_sizes[tree.group_of[node]]) == 1


def transfer_class_rows(old: Tensor, new: Tensor, transfer: NodeTransfer) -> Tensor:
    """Class rows of the new head as the transfer says.

    Parameters
    ----------
    old, new : Tensor
        (R * K_old, ...) and (R * K_new, ...), R priors with rows of their own: weights or biases of both heads; not
        changed.
    transfer : NodeTransfer

    Returns
    -------
    Tensor
        The rows of the new head, in the shape of `new`.

    Examples
    --------
    >>> grown = NodeTransfer(source=(1, -1), kept=(0,), inherited=(), fresh=(1,), dropped=(0,))
    >>> transfer_class_rows(torch.tensor([5.0, 6.0]), torch.tensor([9.0, 9.0]), grown).tolist()
    [6.0, 9.0]
    """
    source = torch.tensor(transfer.source, device=old.device)
    found = source >= 0
    after = new.clone().unflatten(0, (-1, len(source)))
    before = old.unflatten(0, (len(after), -1))
    after[:, found] = before[:, source[found]]
    # whatever the image shows: a row of zeros, and a bias that makes the probability
    after[:, list(transfer.alone)] = math.log(P_ALONE / (1 - P_ALONE)) if new.ndim == 1 else 0.0
    rows: Tensor = after.flatten(0, 1)
    return rows


@torch.no_grad()
def transfer_detector(detector: Model, other: Model, where: str) -> list[str]:
    """Start a detector from one of the same form, over the same tree or another.

    A sibling group whose members are the same in both trees keeps its conditional probabilities. In a group that lost
    members the others share what those had; a new member is at first as probable as its logit, the parent's, makes it.

    Parameters
    ----------
    detector, other : Model
        The new one, which is changed, and the one that was trained. One may be ours and the other darknet's: weights
        are matched in the order of the convolutions.
    where : str
        The file of the old weights, for messages.

    Returns
    -------
    list of str
        What a person should know: how many nodes were kept, are new, were dropped, and the first names of each.
        Nothing if the trees are the same.

    Raises
    ------
    wordtree.TreeMismatch
        Only one of them has a tree, the trees have no node in common, or flat classes are not the same.
    CheckpointError
        The nets differ in more than their classes.
    """
    old, new = other.classes.tree, detector.classes.tree
    if old is None or new is None:
        check_same_classes(detector.classes, other.classes, where)
    transfer = None
    if old is not None and new is not None and old.digest != new.digest:
        transfer = match_nodes(old, new)
        if not transfer.kept:
            raise TreeMismatch(
                f"{where} was trained on a tree of {len(old)} nodes, and none of its ids ({old.wnids[0]}, ..) is among "
                f"the {len(new)} nodes of this one ({new.wnids[0]}, ..); nothing could be carried over"
            )
    theirs, ours = list(other.state_dict().values()), detector.state_dict()
    if len(theirs) != len(ours):
        raise CheckpointError(f"{where}: a net of {len(theirs)} arrays, this one has {len(ours)}")
    classes = len(ours) - 2  # class weights and biases of the head
    if transfer is not None and old is not None and new is not None:
        # not so behind a last convolution of another form; a classifier of ours ends in class rows alone
        apart = list(ours)[classes].endswith("class_weight") or detector.objective == "classification"
        if not apart or len(theirs[classes]) * len(new) != list(ours.values())[classes].shape[0] * len(old):
            raise CheckpointError(
                f"{where}: another tree, and its class rows cannot be carried over: both nets must end in a plain 1x1 "
                "convolution, and both or neither share their class rows among the priors"
            )
    state = {}
    for number, ((name, mine), their) in enumerate(zip(ours.items(), theirs, strict=True)):
        if number >= classes and transfer is not None:
            state[name] = transfer_class_rows(their, mine, transfer)
        elif mine.shape != their.shape:
            raise CheckpointError(f"{where}: its {name} is {tuple(their.shape)}, this net has {tuple(mine.shape)}")
        else:
            state[name] = their
    detector.load_state_dict(state)
    if transfer is None or old is None or new is None:
        return []
    return _report(transfer, old, new, where)


def _report(transfer: NodeTransfer, old: WordTree, new: WordTree, where: str) -> list[str]:
    moved = sum(_parent_id(new, node) != _parent_id(old, transfer.source[node]) for node in transfer.kept)
    notes = [f"{where}: another tree; {len(transfer.kept):,} of its {len(old):,} nodes are carried over"]
    if moved:
        notes.append(f"{moved:,} of them stand under another parent, and have other siblings to compete with")
    if transfer.inherited:
        notes.append(f"{len(transfer.inherited):,} new nodes start from an ancestor: {_some(transfer.inherited, new)}")
    if transfer.fresh:
        notes.append(f"{len(transfer.fresh):,} new nodes start from nothing: {_some(transfer.fresh, new)}")
    if transfer.dropped:
        notes.append(f"{len(transfer.dropped):,} nodes are dropped: {_some(transfer.dropped, old)}")
    if transfer.alone:
        notes.append(
            f"{len(transfer.alone):,} nodes are the only member of their sibling group now, and begin with "
            f"P(node | parent) = {P_ALONE}: {_with_parents(transfer.alone, new)}"
        )
    if old.rest != new.rest and (old.rest, new.rest) != ("none", "only_child"):  # those are the nodes above
        notes.append(f"it was trained with rest={old.rest!r}, this tree has {new.rest!r}: probabilities will move")
    return notes


def _parent_id(tree: WordTree, node: int) -> str | None:
    return tree.wnids[tree.parents[node]] if tree.parents[node] >= 0 else None


def _with_parents(nodes: tuple[int, ...], tree: WordTree, count: int = 20) -> str:
    parents = [tree.names[tree.parents[node]] if tree.parents[node] >= 0 else "the top" for node in nodes[:count]]
    names = ", ".join(f"{tree.names[node]} (below {parent})" for node, parent in zip(nodes, parents, strict=False))
    return names if len(nodes) <= count else f"{names}, .."


def _some(nodes: tuple[int, ...], tree: WordTree, count: int = 5) -> str:
    names = ", ".join(tree.names[node] for node in nodes[:count])
    return names if len(nodes) <= count else f"{names}, .."
