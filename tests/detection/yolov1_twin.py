"""A slow twin of darknet's detection layer, and of equation 3 of YOLOv1's paper, with plain loops (float64)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def box_iou(a: Any, b: Any) -> float:
    def overlap(c1: float, s1: float, c2: float, s2: float) -> float:
        return min(c1 + s1 / 2, c2 + s2 / 2) - max(c1 - s1 / 2, c2 - s2 / 2)

    w, h = overlap(a[0], a[2], b[0], b[2]), overlap(a[1], a[3], b[1], b[3])
    shared = 0.0 if w < 0 or h < 0 else w * h
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


def detection_delta(
    numbers: Array, rows: list[tuple[float, ...]], *, side: int, n: int, c: int, sqrt: bool, softmax: bool,
    rescore: bool, forced: bool, scales: tuple[float, float, float, float],
) -> Array:  # fmt: skip
    """Darknet's delta of one image whose boxes are x, y, w, h, label; scales: object, no object, class, coordinates."""
    of_object, of_none, of_class, of_box = scales
    truth: dict[int, tuple[float, ...]] = {}
    for x, y, w, h, label in rows:
        if w < 0.005 or h < 0.005:
            continue
        column, row = int(x * side), int(y * side)
        truth.setdefault(row * side + column, (x * side - column, y * side - row, w, h, label))
    delta = np.zeros_like(numbers)
    cells = side * side
    for cell in range(cells):
        for j in range(n):
            at = cells * c + cell * n + j
            delta[at] = of_none * (0 - numbers[at])
        if cell not in truth:
            continue
        x, y, w, h, label = truth[cell]
        p = numbers[cell * c : cell * c + c]
        if softmax:
            p = np.exp(p - p.max()) / np.exp(p - p.max()).sum()
        for k in range(c):
            delta[cell * c + k] = of_class * ((k == label) - p[k])
        best, best_iou, best_distance = -1, 0.0, math.inf
        for j in range(n):
            o = numbers[cells * (c + n) + (cell * n + j) * 4 :][:4]
            box = (o[0] / side, o[1] / side, *(o[2:] ** 2 if sqrt else o[2:]))
            aim = (x / side, y / side, w, h)
            iou, distance = box_iou(box, aim), math.dist(box, aim)
            if best_iou > 0 or iou > 0:
                if iou > best_iou:
                    best, best_iou = j, iou
            elif distance < best_distance:
                best, best_distance = j, distance
        if forced:
            best = 1 if w * h < 0.1 else 0
        begin = cells * (c + n) + (cell * n + best) * 4
        o = numbers[begin : begin + 4]
        box = (o[0] / side, o[1] / side, *(o[2:] ** 2 if sqrt else o[2:]))
        confidence = box_iou(box, (x / side, y / side, w, h)) if rescore else 1.0
        at = cells * c + cell * n + best
        delta[at] = of_object * (confidence - numbers[at])
        aims = (x, y, math.sqrt(w), math.sqrt(h)) if sqrt else (x, y, w, h)
        for k in range(4):
            delta[begin + k] = of_box * (aims[k] - o[k])
    return delta


def equation_3(numbers: Array, rows: list[tuple[float, ...]], *, side: int, n: int, c: int) -> dict[str, float]:
    """Its five sums for one image, lambda_coord 5 and lambda_noobj .5, with roots as the net's numbers."""
    cells = side * side
    terms = {"box": 0.0, "objectness": 0.0, "background": 0.0, "class": 0.0}
    taken: set[int] = set()
    answers: set[int] = set()
    for x, y, w, h, label in rows:
        column, row = int(x * side), int(y * side)
        cell = row * side + column
        if cell in taken:
            continue
        taken.add(cell)
        overlaps = []
        for j in range(n):
            o = numbers[cells * (c + n) + (cell * n + j) * 4 :][:4]
            overlaps.append(box_iou(((column + o[0]) / side, (row + o[1]) / side, o[2] ** 2, o[3] ** 2), (x, y, w, h)))
        j = overlaps.index(max(overlaps))
        answers.add(cell * n + j)
        o = numbers[cells * (c + n) + (cell * n + j) * 4 :][:4]
        terms["box"] += 5 * ((x * side - column - o[0]) ** 2 + (y * side - row - o[1]) ** 2)
        terms["box"] += 5 * ((math.sqrt(w) - o[2]) ** 2 + (math.sqrt(h) - o[3]) ** 2)
        terms["objectness"] += (overlaps[j] - numbers[cells * c + cell * n + j]) ** 2
        for k in range(c):
            terms["class"] += ((k == label) - numbers[cell * c + k]) ** 2
    for box in range(cells * n):
        if box not in answers:
            terms["background"] += 0.5 * numbers[cells * c + box] ** 2
    return terms
