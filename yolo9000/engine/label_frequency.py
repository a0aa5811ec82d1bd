"""How often each node is seen in training: what balances the sibling groups, and which images are repeated."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordtree import WordTree
from yolo9000.datasets.box_index import BoxIndex
from yolo9000.datasets.repeated import RepeatedSource
from yolo9000.datasets.sample import Source

COUNTED = 2000
"""Images that are read to count labels, where a source cannot tell them unread: drawn scenes and tiles."""
RAREST = 0.05
"""A node seen more rarely than this share of its sibling group counts as seen so often: one that nothing in training
shows would otherwise be pushed without bound."""


def labels_per_image(source: Source, nodes: int) -> NDArray[np.float64]:
    """Mean number of labels of each node in one image: (nodes,).

    Boxes count for detection sources, image labels for classification sources.
    """
    if isinstance(source, RepeatedSource):
        return np.bincount(image_labels(source), minlength=nodes) / len(source)
    index, labels = getattr(source, "index", None), getattr(source, "labels", None)
    known = index.labels if isinstance(index, BoxIndex) else labels
    if known is not None:
        return np.bincount(known, minlength=nodes) / len(source)
    counted = min(COUNTED, len(source))
    records = (source.read(number * len(source) // counted) for number in range(counted))
    each = [r.labels if r.image_label is None else [r.image_label] for r in records]
    return np.bincount(np.concatenate(each), minlength=nodes) / counted


def image_labels(source: Source) -> NDArray[np.int64]:
    """The label of each image of a classification source: (N,); read if the source cannot tell them unread."""
    if isinstance(source, RepeatedSource):
        return image_labels(source.source)[source.places]
    labels = getattr(source, "labels", None)
    if labels is not None:
        return np.asarray(labels, np.int64)
    return np.array([source.read(number).image_label for number in range(len(source))], np.int64)


def log_frequency(seen: NDArray[np.float64], tree: WordTree) -> Tensor:
    """Log of each node's share of what its sibling group is seen: (K,) float32.

    Parameters
    ----------
    seen : ndarray (K,)
        How often each node is a label, in any unit. A node is seen whenever something below it is.
    tree : WordTree

    Returns
    -------
    Tensor
        The most frequent of each group has 0; a group that is never seen has 0 everywhere.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0))
    >>> log_frequency(np.array([1.0, 2.0, 3.0]), tree).exp()  # dogs: 1 and 3 terriers
    tensor([1.0000, 0.5000, 1.0000])
    """
    total = np.array(seen, np.float64)
    for node in range(len(tree) - 1, -1, -1):  # a parent comes before its children
        if tree.parents[node] >= 0:
            total[tree.parents[node]] += total[node]
    groups = np.asarray(tree.parents) + 1
    most = np.zeros(len(tree) + 1)
    np.maximum.at(most, groups, total)
    share = np.divide(total, most[groups], out=np.ones_like(total), where=most[groups] > 0)
    return torch.from_numpy(np.log(share.clip(RAREST))).float()
