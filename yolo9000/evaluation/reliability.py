"""Is a probability what it claims? The figures of a reliability diagram, and its picture.

Legend: K nodes (or classes), C claims. A *claim* is P(node) of one node at one box, see
`yolo9000.evaluation.observation`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolo9000.evaluation.observation import Observation
from yolo9000.models.classes import Classes
from yolo9000.runtime.checkpoint import write_atomically

BINS = 10
"""Bins of equal width that claims are sorted into."""


def calibration_scores(seen: Observation, classes: Classes, boxed: Collection[int]) -> dict[str, Any]:
    """Is a node right as often as its probability says?

    Parameters
    ----------
    seen : Observation
    classes : Classes
    boxed : collection of int
        Labels that had boxes. A node at or above one of them is "boxed", the others are "never_boxed".

    Returns
    -------
    dict
        For "boxed" and "never_boxed": ``{"claims": n, "ece": .., "bins": [{"claims", "predicted", "right"}, ..],
        "unclaimed": ..}``: ten bins of equal width by P(node), in each the mean of P(node) and the share of claims that
        were right; the expected calibration error, the mean difference of the two over all claims; and of the nodes at
        and above the found truths, which all are right, the share that was not claimed: a net that never thinks of a
        node makes no mistake with it in the bins. A mean over nothing is NaN.
    """
    labels = torch.unique(torch.tensor(sorted(boxed), dtype=torch.int64))
    paths = classes.paths("cpu")
    above = paths[labels].unique()
    on_paths = paths[seen.labels[seen.found]].flatten()
    on_paths = on_paths[on_paths >= 0]
    report = {}
    for name, is_boxed in (("boxed", True), ("never_boxed", False)):
        own = torch.isin(seen.claimed_nodes, above, invert=not is_boxed)
        to_claim = int(torch.isin(on_paths, above, invert=not is_boxed).sum())
        claimed = int(seen.claim_right[own].sum())
        report[name] = reliability(seen.claimed[own], seen.claim_right[own])
        report[name]["unclaimed"] = 1 - claimed / to_claim if to_claim else math.nan
    return report


def reliability(claimed: Tensor, right: Tensor) -> dict[str, Any]:
    """Bins of claims and their expected calibration error; see `calibration_scores`.

    Parameters
    ----------
    claimed : Tensor (C,)
        Probabilities.
    right : Tensor (C,) bool

    Examples
    --------
    Four times .75 was said, and three times it was right.

    >>> scores = reliability(torch.full((4,), 0.75), torch.tensor([True, True, True, False]))
    >>> scores["ece"], scores["bins"][7]
    (0.0, {'claims': 4, 'predicted': 0.75, 'right': 0.75})
    """
    bins = (claimed * BINS).long().clamp(max=BINS - 1)
    counts = torch.bincount(bins, minlength=BINS)
    predicted, were_right = (
        torch.bincount(bins, weights=values.double(), minlength=BINS) / counts for values in (claimed, right)
    )
    gap = torch.where(counts > 0, (predicted - were_right).abs() * counts, 0.0).sum()
    return {
        "claims": len(claimed),
        "ece": float(gap) / len(claimed) if len(claimed) else math.nan,
        "bins": [
            {"claims": claims, "predicted": mean, "right": share}
            for claims, mean, share in zip(counts.tolist(), predicted.tolist(), were_right.tolist(), strict=True)
        ],
    }


def draw_reliability(calibration: Mapping[str, Any], path: Path) -> None:
    """Draw how often nodes were right against P(node): on the diagonal where it says what is so, below it too sure.

    Under it the number of claims in each bin: few say little.

    Parameters
    ----------
    calibration : mapping
        "boxed" and "never_boxed", as `calibration_scores` gives them.
    path : Path
        A PNG file; written atomically.
    """
    # imported here: half a second that only an evaluation with a picture should pay
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    shares.plot((0, 1), (0, 1), color="0.6", linewidth=0.8)
    for name, colour in (("boxed", "tab:blue"), ("never_boxed", "tab:orange")):
        scores = calibration[name]
        bins = [each for each in scores["bins"] if each["claims"]]
        error = "-" if math.isnan(scores["ece"]) else f"{scores['ece']:.3f}"
        label = {"boxed": "had boxes", "never_boxed": "never boxed"}[name]
        predicted = [each["predicted"] for each in bins]
        shares.plot(
            predicted, [each["right"] for each in bins], marker="o", color=colour, label=f"{label} (error {error})"
        )
        counts.plot(predicted, [each["claims"] for each in bins], marker=".", color=colour)
    shares.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
    shares.legend(fontsize="small", loc="upper left")
    counts.set(xlabel="P(node)", ylabel="claims")
    if any(scores["claims"] for scores in calibration.values()):  # no logarithm of nothing
        counts.set_yscale("log")
    for axes in (shares, counts):
        axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())
