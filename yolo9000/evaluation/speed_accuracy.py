"""Speed beside accuracy: the papers' plot, one point for each size of a net's input."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from yolo9000.runtime.checkpoint import write_atomically


@dataclass(frozen=True, kw_only=True)
class SpeedPoint:
    """One net at one size of its input.

    Parameters
    ----------
    method : str
        What the net is called.
    size : int
        Side of the input in pixels.
    ap50 : float
        Mean AP at IoU .5 over all classes of the held-out images, 0 to 1.
    images_per_second : float
        From an image in the net's input to its detections, one image at a time: the median.
    images : int
        How many images the AP is of.
    precision : str
        Number format of the convolutions.
    machine : str
        Where the time was taken.
    """

    method: str
    size: int
    ap50: float
    images_per_second: float
    images: int
    precision: str
    machine: str


def to_csv(points: Sequence[SpeedPoint]) -> str:
    """The points as comma-separated values.

    Examples
    --------
    >>> print(to_csv([SpeedPoint(method="a", size=416, ap50=0.5, images_per_second=12.5, images=9,
    ...                          precision="float32", machine="a CPU, 1 thread")]))
    method,size,ap50,images_per_second,images,precision,machine
    a,416,0.5,12.5,9,float32,"a CPU, 1 thread"
    <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(SpeedPoint)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(point) for point in points)
    return text.getvalue()


def draw_speed_accuracy(points: Sequence[SpeedPoint], path: Path) -> None:
    """Draw mean AP over images a second: a line for each method, each point with its size.

    Parameters
    ----------
    points : sequence of SpeedPoint
    path : Path
        A PNG file; written atomically.
    """
    # imported here: half a second that only a picture should cost
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for method in dict.fromkeys(point.method for point in points):
        own = sorted((point for point in points if point.method == method), key=lambda point: point.size)
        speeds, scores = [point.images_per_second for point in own], [100 * point.ap50 for point in own]
        axes.plot(speeds, scores, marker="o", label=method)
        for point, speed, score in zip(own, speeds, scores, strict=True):
            axes.annotate(str(point.size), (speed, score), xytext=(4, 4), textcoords="offset points", fontsize="small")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="images a second, one at a time", ylabel="mean AP at IoU .5, percent")
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize="small")
    if machines := dict.fromkeys(point.machine for point in points):
        axes.set_title("; ".join(machines), fontsize="small", color="0.4")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())
