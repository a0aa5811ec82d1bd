"""How well priors fit the boxes of a data set: the YOLO9000 paper's table 1 and figure 2 (section 2).

Everything is relative to the side of the letterboxed input. Shapes: N boxes, K priors; a row is (width, height).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolo9000.darknet.builtin_cfg import YOLOV2_VOC_PRIORS
from yolo9000.detection.priors import Distance, cluster_priors, mean_best_iou
from yolo9000.models.config import HAND_PICKED, YOLO9000_PRIORS, YOLOV2_PRIORS, Priors
from yolo9000.runtime.checkpoint import write_atomically

MOST_PRIORS = 15
"""The last k of the curve (paper, figure 2)."""
_STRIDE = 32
"""Pixels of a grid cell of the published priors."""
_CLUSTERS: tuple[tuple[str, Distance], ...] = (("Cluster SSE", "euclidean"), ("Cluster IoU", "iou"))
_IN_PAPER = {"Cluster SSE 5": 58.7, "Cluster IoU 5": 61.0, "Cluster IoU 9": 67.2}
_PUBLISHED: tuple[tuple[str, Priors, int], ...] = (
    ("yolo9000.cfg at 416", YOLO9000_PRIORS, 416),
    ("yolo9000.cfg at 544, its cfg's size", YOLO9000_PRIORS, 544),
    ("yolov2.cfg (COCO) at 416", YOLOV2_PRIORS, 416),
    ("yolov2.cfg (COCO) at 608, its cfg's size", YOLOV2_PRIORS, 608),
    ("yolov2-voc.cfg at 416, its cfg's size", YOLOV2_VOC_PRIORS, 416),
)
_POINT_COLOURS = ("tab:red", "tab:green", "tab:green", "tab:purple", "tab:purple", "tab:brown")
"""The colours of `fixed_fits`, in its order."""
Progress: TypeAlias = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class PriorFit:
    """Priors, and how well they fit the boxes of a data set.

    Parameters
    ----------
    name : str
        Where the priors come from.
    priors : NDArray of float64 (K, 2)
        Their width and height relative to the side of the input.
    mean_iou : float
        The mean IoU of a box with its best prior.
    paper : float, optional
        What table 1 of the paper has for VOC 2007.
    """

    name: str
    priors: NDArray[np.float64]
    mean_iou: float
    paper: float | None = None


def fit_curves(
    boxes_wh: NDArray[np.float64],
    *,
    most: int = MOST_PRIORS,
    seed: int = 0,
    restarts: int = 1,
    progress: Progress = iter,
) -> dict[Distance, list[PriorFit]]:
    """Cluster a data set's boxes for each number of priors, with both distances (paper, figure 2).

    Parameters
    ----------
    boxes_wh : NDArray of float64 (N, 2)
        Width and height of its boxes, relative to the side of the input.
    most : int
        The last number of priors. The curves end before it if there are fewer different boxes.
    seed, restarts : int
        As of `cluster_priors`.
    progress : callable
        Wraps the numbers, to show a bar.

    Returns
    -------
    dict of str to list of PriorFit
        "iou" and "euclidean"; for 1 prior, 2 priors and so on.

    Examples
    --------
    >>> curves = fit_curves(np.array([[0.1, 0.1], [0.2, 0.1], [0.1, 0.1]]))
    >>> [(fit.name, round(fit.mean_iou, 3)) for fit in curves["iou"]]
    [('Cluster IoU 1', 0.722), ('Cluster IoU 2', 1.0)]
    """
    curves: dict[Distance, list[PriorFit]] = {"iou": [], "euclidean": []}
    for k in progress(range(1, min(most, len(np.unique(boxes_wh, axis=0))) + 1)):
        for name, distance in _CLUSTERS:
            curves[distance].append(_clustered(boxes_wh, k, name, distance, seed, restarts))
    return curves


def fixed_fits(boxes_wh: NDArray[np.float64]) -> list[PriorFit]:
    """How well priors that are made for other data fit: those picked by hand, and darknet's.

    Parameters
    ----------
    boxes_wh : NDArray of float64 (N, 2)
        Width and height of the boxes, relative to the side of the input.

    Returns
    -------
    list of PriorFit
        A net keeps its priors in grid cells whatever the size of its input, so darknet's are at 416 pixels, which the
        paper's nets begin with, and at the size that their cfg has.

    Examples
    --------
    >>> [round(fit.mean_iou, 2) for fit in fixed_fits(np.array([[0.16, 0.16], [0.64, 0.64]]))][:1]
    [1.0]
    """
    by_hand = np.array(HAND_PICKED)
    fits = [PriorFit("Anchor Boxes 9 (picked by hand)", by_hand, mean_best_iou(boxes_wh, by_hand), 60.9)]
    for name, cells, size in _PUBLISHED:
        priors = np.array(cells) * _STRIDE / size
        fits.append(PriorFit(name, priors, mean_best_iou(boxes_wh, priors)))
    return fits


def compare_priors(boxes_wh: NDArray[np.float64], *, seed: int = 0, restarts: int = 1) -> list[PriorFit]:
    """The rows of the paper's table 1 for a data set, then priors that were published.

    Parameters
    ----------
    boxes_wh : NDArray of float64 (N, 2)
        Width and height of its boxes, relative to the side of the input.
    seed, restarts : int
        As of `cluster_priors`.

    Returns
    -------
    list of PriorFit
        Clusters of 5 and 9 with both distances, the nine picked by hand, and darknet's.

    Raises
    ------
    Mistake
        If there are fewer than nine different boxes.

    Examples
    --------
    >>> fits = compare_priors(np.random.default_rng(0).uniform(0.01, 1, (100, 2)))
    >>> [fit.name for fit in fits][:5]
    ['Cluster SSE 5', 'Cluster IoU 5', 'Cluster SSE 9', 'Cluster IoU 9', 'Anchor Boxes 9 (picked by hand)']
    """
    clusters = [_clustered(boxes_wh, k, *kind, seed, restarts) for k in (5, 9) for kind in _CLUSTERS]
    return clusters + fixed_fits(boxes_wh)


def comparison_table(fits: Sequence[PriorFit]) -> str:
    """Fits as a Markdown table, in percent as the paper has them.

    Examples
    --------
    >>> print(comparison_table([PriorFit("Cluster IoU 5", np.ones((5, 2)), 0.6234, 61.0)]))
    | priors | number | average IoU | paper, VOC 2007 |
    |---|---|---|---|
    | Cluster IoU 5 | 5 | 62.3 | 61.0 |
    """
    rows = ["| priors | number | average IoU | paper, VOC 2007 |", "|---|---|---|---|"]
    for fit in fits:
        paper = "" if fit.paper is None else f"{fit.paper:.1f}"
        rows.append(f"| {fit.name} | {len(fit.priors)} | {100 * fit.mean_iou:.1f} | {paper} |")
    return "\n".join(rows)


def curve_csv(curves: Mapping[Distance, Sequence[PriorFit]]) -> str:
    """The curves as CSV: a line for each number of priors, a column for each distance.

    Examples
    --------
    >>> print(curve_csv({"iou": [PriorFit("Cluster IoU 1", np.ones((1, 2)), 0.5)]}))
    k,iou
    1,0.5000
    """
    lines = [",".join(["k", *curves])]
    for number, fits in enumerate(zip(*curves.values(), strict=True), 1):
        lines.append(",".join([str(number), *(f"{fit.mean_iou:.4f}" for fit in fits)]))
    return "\n".join(lines)


def draw_fits(
    curves: Mapping[Distance, Sequence[PriorFit]], others: Sequence[PriorFit], marked: int, title: str, path: Path
) -> None:
    """Draw the average IoU against the number of priors, and the shapes of the priors that are marked.

    Parameters
    ----------
    curves : mapping of str to sequence of PriorFit
        Distance -> its fits, from 1 prior on.
    others : sequence of PriorFit
        What `fixed_fits` gives for the same boxes; each is drawn as a point.
    marked : int
        The number of priors that is marked in the curves and whose shapes are drawn: 5 in the paper.
    title : str
        Which boxes.
    path : Path
        A PNG file; written atomically.
    """
    # imported here: half a second that only a drawing should pay
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    fit_axes, shape_axes = figure.subplots(1, 2, width_ratios=(1.7, 1))
    colours = {"iou": "tab:blue", "euclidean": "tab:orange"}
    labels = {"iou": "clusters, distance 1 - IoU", "euclidean": "clusters, Euclidean distance"}
    for distance, fits in curves.items():
        numbers = [len(fit.priors) for fit in fits]
        scores = [fit.mean_iou for fit in fits]
        fit_axes.plot(numbers, scores, marker="o", markersize=4, color=colours[distance], label=labels[distance])
    for fit, marker, colour in zip(others, "s^v<>D", _POINT_COLOURS, strict=True):
        fit_axes.plot(len(fit.priors), fit.mean_iou, marker, color=colour, label=fit.name, linestyle="none")
    fit_axes.axvline(marked, color="0.6", linewidth=0.8, linestyle="dashed", zorder=0)
    fit_axes.set(xlabel="number of priors k", ylabel="average IoU of a box with its best prior")
    fit_axes.set_ylim(bottom=0)
    fit_axes.set_xticks(range(1, 1 + max([marked, *(len(fits) for fits in curves.values())])))
    fit_axes.grid(alpha=0.25)
    figure.legend(fontsize="small", loc="outside lower center", ncols=3)

    shape_axes.add_patch(_outline(np.ones(2), "0.6", linestyle="dashed"))  # the input
    for distance, fits in curves.items():
        for prior in fits[marked - 1].priors if marked <= len(fits) else ():
            shape_axes.add_patch(_outline(prior, colours[distance]))
    shape_axes.set(xlim=(-0.53, 0.53), ylim=(-0.53, 0.53), aspect="equal", xticks=[], yticks=[])
    shape_axes.set_title(f"{marked} priors of each distance; dashed: the input", fontsize="medium")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())


def _clustered(
    boxes_wh: NDArray[np.float64], k: int, name: str, distance: Distance, seed: int, restarts: int
) -> PriorFit:
    priors, mean_iou = cluster_priors(boxes_wh, k, distance=distance, seed=seed, restarts=restarts)
    return PriorFit(f"{name} {k}", priors, mean_iou, _IN_PAPER.get(f"{name} {k}"))


def _outline(wh: NDArray[np.float64], colour: str, linestyle: str = "-") -> Any:
    from matplotlib.patches import Rectangle

    width, height = map(float, wh)
    corner = (-width / 2, -height / 2)
    return Rectangle(corner, width, height, fill=False, edgecolor=colour, linestyle=linestyle, linewidth=1.5)
