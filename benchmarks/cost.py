"""What an image costs at every size and batch, beside the best that the processor's convolutions do.

``python -m benchmarks.cost [PICTURE] [--quick]`` prints the table and draws the plot.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks import nets
from benchmarks.harness import machine
from yolo9000.models import Detector, DetectorConfig
from yolo9000.models.darknet19 import DARKNET19
from yolo9000.runtime.config import Precision, Settings

SIZES, BATCHES = (320, 384, 448, 544, 608), (1, 2, 4, 8, 16)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Cost:
    """One point of the plot."""

    size: int
    batch: int
    precision: Precision
    milliseconds: float  # of one image
    gflop: float  # of one image: the convolutions and the box rows, whatever the vocabulary

    @property
    def gflops(self) -> float:
        """Arithmetic in a second, in 1e9."""
        return 1e3 * self.gflop / self.milliseconds


def _seconds(job: Callable[[], object], repeats: int) -> float:
    job()
    samples = []
    for _ in range(repeats):
        started = time.perf_counter()
        job()
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)


def backbone_gflop(size: int) -> float:
    """Multiplications and additions of Darknet-19's convolutions and of 15 box rows, for one image, in 1e9.

    Examples
    --------
    >>> round(backbone_gflop(544), 1)
    32.3
    """
    side, channels, total = size, 3, 0
    for layer in DARKNET19:
        if layer == "M":
            side //= 2
            continue
        total += 2 * layer[0] * channels * layer[1] ** 2 * side**2
        channels = layer[0]
    return (total + 2 * channels * 15 * side**2) / 1e9


def convolution_peak(precision: Precision, *, size: int = 416, batches: Sequence[int] = (1, 8)) -> tuple[float, str]:
    """The fastest 3x3 convolution of the net's own shapes, weights packed beforehand: 1e9 operations a second, shape.

    oneDNN does them, as in the net itself.
    """
    dtype = getattr(torch, precision)
    best, shape = 0.0, ""
    for batch in batches:
        side, channels = size, 3
        for layer in DARKNET19:
            if layer == "M":
                side //= 2
                continue
            out, kernel = layer
            if kernel == 3 and channels > 3:
                conv = _packed(nn.Conv2d(channels, out, 3, padding=1).eval(), dtype)
                x = torch.randn(batch, channels, side, side).to_mkldnn(dtype)
                with torch.inference_mode():
                    seconds = _seconds(lambda conv=conv, x=x: conv(x), 5)  # type: ignore[misc]
                rate = 2e-9 * batch * out * channels * 9 * side**2 / seconds
                if rate > best:
                    best, shape = rate, f"{batch} x {channels} x {side} x {side} -> {out}"
            channels = out
    return best, shape


def _packed(conv: nn.Conv2d, dtype: torch.dtype) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of importing this
        from torch.utils.mkldnn import to_mkldnn

        packed: nn.Module = to_mkldnn(conv, dtype)
    return packed


def costs(sizes: Sequence[int], batches: Sequence[int], precision: Precision, width: float, repeats: int) -> list[Cost]:
    """Time of the net (images in, region output out) over 9,418 nodes; random weights cost the same as trained ones."""
    torch.manual_seed(0)
    region = nets.tree_region(nets.tree_of(9418))
    net = Detector(DetectorConfig(width=width), region)
    found = []
    for size in sizes:
        torch.compiler.reset()  # or it would refuse to compile the net for so many sizes
        forward = nets.prepared(net, Settings(engine="inductor", precision=precision, at_once=1))
        for batch in batches:
            images = torch.rand(batch, 3, size, size)
            seconds = _seconds(lambda forward=forward, images=images: forward(images).objectness, repeats)  # type: ignore[misc]
            found.append(Cost(size, batch, precision, 1e3 * seconds / batch, backbone_gflop(size)))
    return found


def draw(points: Sequence[Cost], peaks: dict[Precision, float], picture: Path) -> None:
    """Time per image against size, one line a batch; dashed what the peak would take."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(peaks), figsize=(11, 4.2), squeeze=False)
    for axis, (precision, peak) in zip(axes[0], peaks.items(), strict=True):
        for batch in sorted({point.batch for point in points}):
            line = [point for point in points if point.batch == batch and point.precision == precision]
            axis.plot([p.size for p in line], [p.milliseconds for p in line], marker=".", label=f"batch {batch}")
        sizes = sorted({point.size for point in points})
        axis.plot(sizes, [1e3 * backbone_gflop(s) / peak for s in sizes], "k--", label=f"at {peak:.0f} GFLOP/s")
        axis.set(title=precision, xlabel="image side (px)", ylabel="ms an image", ylim=(0, None))
        axis.legend()
        axis.grid(alpha=0.3)
    figure.suptitle("Darknet-19 with 9,418 classes: cost of an image, beside the best 3x3 convolution's rate")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


def report(points: Sequence[Cost], peaks: dict[Precision, float], shapes: dict[Precision, str]) -> str:
    """The plot's numbers as Markdown."""
    lines = [f"Best convolution in {name}: {peaks[name]:.0f} GFLOP/s ({shapes[name]})." for name in peaks]
    lines += ["", "| precision | size | batch | ms an image | GFLOP/s | share of the peak |", "| --- " * 6 + "|"]
    for p in points:
        share = p.gflops / peaks[p.precision]
        lines.append(f"| {p.precision} | {p.size} | {p.batch} | {p.milliseconds:.1f} | {p.gflops:.0f} | {share:.0%} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parent / "images" / "cost.png"
    parser.add_argument("picture", nargs="?", type=Path, default=default, help="PNG (default: benchmarks/images)")
    parser.add_argument("--quick", action="store_true", help="a small net at two sizes: does it run?")
    options = parser.parse_args(arguments)
    sizes, batches = ((64, 96), (1, 2)) if options.quick else (SIZES, BATCHES)
    width, repeats = (0.05, 2) if options.quick else (1.0, 5)
    points: list[Cost] = []
    peaks: dict[Precision, float] = {}
    shapes: dict[Precision, str] = {}
    for precision in PRECISIONS if nets.has_bfloat16() else PRECISIONS[:1]:
        before, shape = convolution_peak(precision, size=64 if options.quick else 416)
        points += costs(sizes, batches, precision, width, repeats)
        after, shape_after = convolution_peak(precision, size=64 if options.quick else 416)  # neighbours come and go
        peaks[precision], shapes[precision] = max((before, shape), (after, shape_after))
    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print(report(points, peaks, shapes))
    draw(points, peaks, options.picture)


if __name__ == "__main__":
    main()
