"""A slow twin of darknet's region layer, written with plain loops from the behaviour it has (float64)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordtree import WordTree

Array = NDArray[np.float64]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def box_iou(a: Any, b: Any) -> float:
    def overlap(c1: float, s1: float, c2: float, s2: float) -> float:
        return min(c1 + s1 / 2, c2 + s2 / 2) - max(c1 - s1 / 2, c2 - s2 / 2)

    w, h = overlap(a[0], a[2], b[0], b[2]), overlap(a[1], a[3], b[1], b[3])
    shared = 0.0 if w < 0 or h < 0 else w * h
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


def group_members(tree: WordTree, node: int) -> list[int]:
    return [n for n in range(len(tree)) if tree.parents[n] == tree.parents[node]]


def conditionals(logits: Array, tree: WordTree) -> Array:
    out = np.zeros(len(tree))
    for node in range(len(tree)):
        members = group_members(tree, node)
        top = max(logits[members])
        rest = tree.rest == "all" or (tree.rest == "only_child" and len(members) == 1)
        top = max(top, 0.0) if rest else top
        total = sum(math.exp(logits[m] - top) for m in members) + (math.exp(-top) if rest else 0.0)
        out[node] = math.exp(logits[node] - top) / total
    return out


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max())
    return np.asarray(e / e.sum())


def region_delta(
    raw: Array,
    truths: list[list[tuple[float, float, float, float, int]]],
    image_labels: list[int | None],
    *,
    priors: list[tuple[float, float]],
    tree: WordTree | None,
    seen: int,
    box_map: list[int] | None = None,
    object_scale: float = 5,
    noobject_scale: float = 1,
    class_scale: float = 1,
    coord_scale: float = 1,
    thresh: float = 0.6,
    rescore: bool = True,
    bias_match: bool = True,
    use_softmax: bool = True,
) -> Array:
    """Minus the gradient of the summed loss with respect to ``raw`` (B, A*(5+K), H, W)."""
    b, channels, height, width = raw.shape
    count = len(priors)
    classes = channels // count - 5
    x = raw.reshape(b, count, 5 + classes, height, width)
    delta = np.zeros_like(x)  # towards the activations; the sigmoids' derivative comes last

    def predict(i: int, n: int, r: int, c: int) -> tuple[float, float, float, float]:
        tx, ty, tw, th = x[i, n, :4, r, c]
        return (
            (c + sigmoid(tx)) / width,
            (r + sigmoid(ty)) / height,
            priors[n][0] * math.exp(tw) / width,
            priors[n][1] * math.exp(th) / height,
        )

    def class_probabilities(i: int, n: int, r: int, c: int) -> Array:
        logits = x[i, n, 5:, r, c]
        if tree is not None:
            return conditionals(logits, tree)
        return softmax(logits) if use_softmax else 1 / (1 + np.exp(-logits))

    def class_delta(i: int, n: int, r: int, c: int, label: int) -> None:
        p = class_probabilities(i, n, r, c)
        d = delta[i, n, 5:, r, c]
        if tree is not None:
            for node in tree.path(label):
                for member in group_members(tree, node):
                    d[member] = class_scale * ((member == node) - p[member])
        elif not use_softmax and d[0] != 0:
            d[label] = class_scale * (1 - p[label])
        else:
            for k in range(classes):
                d[k] = class_scale * ((k == label) - p[k])

    everywhere = [(n, r, c) for n in range(count) for r in range(height) for c in range(width)]
    for i in range(b):
        label = image_labels[i]
        if label is not None:
            assert tree is not None
            best, chosen = -1.0, (0, 0, 0)
            for n, r, c in everywhere:
                o = sigmoid(x[i, n, 4, r, c])
                delta[i, n, 4, r, c] = noobject_scale * (0 - o)
                p = class_probabilities(i, n, r, c)
                score = o * math.prod(p[node] for node in tree.path(label))
                if score > best:
                    best, chosen = score, (n, r, c)
            class_delta(i, *chosen, label)
            n, r, c = chosen
            delta[i, n, 4, r, c] = 0
            continue
        for n, r, c in everywhere:
            box = predict(i, n, r, c)
            best = max((box_iou(box, t[:4]) for t in truths[i]), default=0.0)
            o = sigmoid(x[i, n, 4, r, c])
            delta[i, n, 4, r, c] = 0 if best > thresh else noobject_scale * (0 - o)
            if seen < 12800:
                tx, ty, tw, th = x[i, n, :4, r, c]
                delta[i, n, :4, r, c] = [0.01 * (0.5 - sigmoid(tx)), 0.01 * (0.5 - sigmoid(ty)), -0.01 * tw, -0.01 * th]
        for tx_, ty_, w, h, number in truths[i]:
            c, r = int(tx_ * width), int(ty_ * height)
            best, n = 0.0, 0
            for candidate, (pw, ph) in enumerate(priors):
                shape = (pw / width, ph / height) if bias_match else predict(i, candidate, r, c)[2:]
                score = box_iou((0, 0, *shape), (0, 0, w, h))
                if score > best:
                    best, n = score, candidate
            overlap = box_iou(predict(i, n, r, c), (tx_, ty_, w, h))
            scale = coord_scale * (2 - w * h)
            goals = (tx_ * width - c, ty_ * height - r)
            for k in range(2):
                delta[i, n, k, r, c] = scale * (goals[k] - sigmoid(x[i, n, k, r, c]))
            delta[i, n, 2, r, c] = scale * (math.log(w * width / priors[n][0]) - x[i, n, 2, r, c])
            delta[i, n, 3, r, c] = scale * (math.log(h * height / priors[n][1]) - x[i, n, 3, r, c])
            o = sigmoid(x[i, n, 4, r, c])
            delta[i, n, 4, r, c] = object_scale * ((overlap if rescore else 1) - o)
            class_delta(i, n, r, c, number if box_map is None else box_map[number])
    s = 1 / (1 + np.exp(-x))
    slope = s * (1 - s)
    for k in (0, 1, 4):
        delta[:, :, k] *= slope[:, :, k]
    return delta.reshape(raw.shape)
