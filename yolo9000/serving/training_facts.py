"""What a run says about the nodes of its tree: what data trained each, and how well it is found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from yolo9000.runtime.output_folder import latest_file

if TYPE_CHECKING:  # a tree alone is served without torch
    from yolo9000.inference.model import TrainedModel

EVALUATION = "evaluation.json"
_EMBEDDED = "scenes of pictograms"
"""What a run without data sets was trained on."""


class Score(NamedTuple):
    """How well a class was found, by the run's own evaluation.

    Attributes
    ----------
    ap50 : float
        Average precision where a box counts from an overlap of one half.
    boxes : int
        Boxes of the class in the images that were evaluated.
    """

    ap50: float
    boxes: int


class Taught(NamedTuple):
    """How much data a class had in training.

    Attributes
    ----------
    boxes : int or None
        Boxes of it; None where they are not known, as those of scenes that are drawn.
    images : int or None
        Whole images with its label; None where they are not known.
    about : bool
        Whether the images are as many as chance gives: each scene with a label draws one of the classes.
    """

    boxes: int | None
    images: int | None
    about: bool = False


@dataclass(frozen=True)
class TrainingFacts:
    """What a run says about the nodes of its tree.

    Parameters
    ----------
    name : str
        The run.
    step : int
        Steps of training.
    boxed : frozenset of int
        Nodes that had boxes in training.
    labelled : frozenset of int
        Nodes that only labels of whole images taught.
    sources : tuple of str
        The kinds of data that it was trained on.
    scores : mapping of int to Score
        The classes that were evaluated.
    taught : mapping of int to Taught
        How much data each class had.
    """

    name: str
    step: int
    boxed: frozenset[int]
    labelled: frozenset[int]
    sources: tuple[str, ...] = ()
    scores: Mapping[int, Score] = field(default_factory=dict)
    taught: Mapping[int, Taught] = field(default_factory=dict)


def facts_of(trained: TrainedModel) -> TrainingFacts:
    """What a trained net's checkpoint says, and the last evaluation beside it if there is one."""
    sets = trained.content.get("data", {}).get("sets") or ()
    sources = tuple(dict.fromkeys(str(layout) for layout, _ in sets))
    if not sources and "data" in trained.content:
        sources = (_EMBEDDED,)
    path = trained.path
    return TrainingFacts(
        name=path.parent.name if path.suffix == ".pt" else path.name,
        step=trained.step,
        boxed=frozenset(trained.boxed),
        labelled=frozenset(trained.never_boxed) - frozenset(trained.boxed),
        sources=sources,
        scores=read_scores(latest_file(path.with_name(EVALUATION)), trained),
        taught=_taught(trained, drawn=sources == (_EMBEDDED,)),
    )


def _taught(trained: TrainedModel, *, drawn: bool) -> dict[int, Taught]:
    """What the checkpoint counted; of the embedded scenes, what can be expected."""
    content = trained.content
    counts: dict[str, dict[int, int]] = content.get("taught") or {}
    if drawn and not counts:
        each = int(content["data"].get("scenes", 0)) / max(len(trained.boxed) + len(trained.never_boxed), 1)
        nodes = [*trained.boxed, *trained.never_boxed] if each >= 1 else []
        return {node: Taught(None, round(each), about=True) for node in nodes}
    boxes, images = (counts.get(name) for name in ("boxes", "images"))
    return {
        node: Taught(
            None if boxes is None else boxes.get(node, 0),
            None if images is None else images.get(node, 0),
        )
        for node in {*(boxes or ()), *(images or ())}
    }


def read_scores(file: Path, trained: TrainedModel) -> dict[int, Score]:
    """The average precision of each class in an evaluation of this net; none if there is no such file.

    A file of another kind, or of another tree, gives none either: the page says less then, and nothing wrong.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["classes"]
        found = [_score_of(row, trained) for row in rows]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {node: score for each in found if each is not None for node, score in [each]}


def _score_of(row: Mapping[str, Any], trained: TrainedModel) -> tuple[int, Score] | None:
    node, ap50 = int(row["node"]), row["ap50"]
    if not 0 <= node < trained.classes.number:
        return None
    identity = trained.classes.identity(node)
    if any(key in row and row[key] != value for key, value in identity.items()):
        return None  # it was evaluated with another tree
    return None if ap50 is None or math.isnan(ap50) else (node, Score(float(ap50), int(row["boxes"])))
