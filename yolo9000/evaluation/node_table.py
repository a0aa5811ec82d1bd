"""A row for each concept: what it was taught by, how well it is found, and which siblings it is taken for.

Legend: T truth boxes of the evaluated labels, N those of them that are found, D levels of the tree.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from yolo9000.evaluation.observation import Observation
from yolo9000.models.classes import Classes

_COLUMNS = (
    "node", "id", "name", "depth", "trained_boxes", "trained_images", "boxes", "images", "ap50", "ap", "asked", "right",
    "taken_for",
)  # fmt: skip
_MOST = 3
"""The siblings that a row lists, those that a concept is taken for most often."""


def sibling_confusions(seen: Observation, classes: Classes) -> list[dict[str, Any]]:
    """Which siblings the concepts on the way to a truth are taken for.

    The way down the tree is followed while it is right: where the truth is a poodle and the answer a siamese cat, the
    two part at *dog* and *cat*, and that is the confusion. Only truths with a box in the right place are asked.

    Parameters
    ----------
    seen : Observation
    classes : Classes
        Flat classes are all siblings.

    Returns
    -------
    list of dict
        ``{"node", "boxes", "images", "asked", "right", "taken_for": [[node, times], ..]}`` of each concept at which or
        below which there is a truth: its truth boxes; the pairs of an image and a label at or below it; how often it
        was asked for among its siblings, how often it was the answer, and which were in its place, the most frequent
        first. -1 is none of them.
    """
    paths = classes.paths("cpu")
    truth = paths[seen.labels[seen.found]]  # (N, D)
    agree = (seen.answers == truth) & (truth >= 0)
    # a level is asked where all above it agree
    before = torch.cat([torch.ones_like(agree[:, :1]), agree[:, :-1].cumprod(dim=1).bool()], dim=1)
    asked = before & (truth >= 0)
    pairs = Counter(zip(truth[asked].tolist(), seen.answers[asked].tolist(), strict=True))
    boxes, images = (_at_or_below(labels, paths) for labels in (seen.labels, seen.present))
    times: Counter[int] = Counter()
    wrong: dict[int, list[list[int]]] = {}
    for (node, answer), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        times[node] += count
        if answer != node:
            wrong.setdefault(node, []).append([answer, count])
    return [
        {
            "node": node,
            "boxes": boxes[node],
            "images": images[node],
            "asked": times[node],
            "right": pairs[node, node],
            "taken_for": wrong.get(node, []),
        }
        for node in sorted(boxes)
    ]


def _at_or_below(labels: torch.Tensor, paths: torch.Tensor) -> Counter[int]:
    nodes = paths[labels]
    return Counter(nodes[nodes >= 0].tolist())


def node_rows(
    report: Mapping[str, Any], classes: Classes, taught: Mapping[str, Mapping[int, int]] | None = None
) -> list[dict[str, Any]]:
    """The rows of the table; what is below a concept follows it.

    Parameters
    ----------
    report : mapping
        As `yolo9000.evaluation.detector.evaluate_detector` gives it with a diagnosis.
    classes : Classes
    taught : mapping, optional
        ``{"boxes": {node: number}, "images": {node: number}}`` of the training, labels as they stand.

    Returns
    -------
    list of dict
        Values of the columns; None where there is none. Counts are of what is at the concept or below it.
    """
    below = {key: _summed(counts, classes) for key, counts in (taught or {}).items()}
    scores = {row["node"]: row for row in report.get("classes", []) if row["boxes"]}
    rows = []
    found = {row["node"]: row for row in report.get("confusions", [])}
    nodes = {*found, *below.get("boxes", ()), *below.get("images", ())}
    for node in sorted(nodes, key=lambda node: classes.path(node) or (node,)):
        row = found.get(node, {"boxes": 0, "images": 0, "asked": 0, "right": 0, "taken_for": []})
        path = classes.path(node)
        names = [
            f"{'none of them' if other < 0 else classes.name(other)} {times}"
            for other, times in row["taken_for"][:_MOST]
        ]
        rows.append(
            {
                "node": node,
                "id": classes.identity(node).get("id", ""),
                "name": classes.name(node),
                "depth": max(0, len(path) - 1),
                "trained_boxes": below["boxes"][node] if "boxes" in below else None,
                "trained_images": below["images"][node] if "images" in below else None,
                "boxes": row["boxes"],
                "images": row["images"],
                "ap50": scores[node]["ap50"] if node in scores else None,
                "ap": scores[node]["ap"] if node in scores else None,
                "asked": row["asked"],
                "right": row["right"],
                "taken_for": ", ".join(names),
            }
        )
    return rows


def _summed(counts: Mapping[int, int], classes: Classes) -> Counter[int]:
    """Counts at each label -> counts at or below each node."""
    total: Counter[int] = Counter()
    for label, count in counts.items():
        for node in classes.path(label) or (label,):
            total[node] += count
    return total


def node_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    return buffer.getvalue()


def node_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table in Markdown, with names indented as they lie in the tree.

    Examples
    --------
    >>> row = {"name": "dog", "depth": 1, "trained_boxes": 20, "trained_images": None, "boxes": 4, "images": 3,
    ...     "ap50": 0.5, "ap": 0.25, "asked": 4, "right": 3, "taken_for": "cat 1"}
    >>> print(node_markdown([row]).splitlines()[-1])
    | &nbsp;&nbsp;dog | 20 |  | 4 | 3 | 0.500 | 0.250 | 3 of 4 | cat 1 |
    """
    lines = [
        "Counts are of what is at the concept or below it. *Right*: of the boxes that are in the right place and were "
        "called rightly one level above, how many were called this and no sibling.",
        "",
        "| concept | boxes in training | images with its label | boxes | images | AP50 | AP50:95 | right | taken for |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        scores = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("ap50", "ap")]
        trained = ["" if row[key] is None else f"{row[key]:,}" for key in ("trained_boxes", "trained_images")]
        right = f"{row['right']} of {row['asked']}" if row["asked"] else ""
        cells = [
            "&nbsp;" * 2 * row["depth"] + row["name"],
            *trained,
            f"{row['boxes']:,}",
            f"{row['images']:,}",
            *scores,
        ]
        lines.append("| " + " | ".join([*cells, right, row["taken_for"]]) + " |")
    return "\n".join(lines) + "\n"
