"""Where the time of one training step and of one prediction goes: ``python -m benchmarks.profile [PICTURE] [--quick]``.

Each operation's own time on the processor, from torch's profiler, in groups; the picture shows them as bars.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks import nets
from benchmarks.harness import machine
from benchmarks.training import training_step
from yolo9000.models import Detector, DetectorConfig
from yolo9000.runtime.device import use_huge_pages
from yolo9000.training.config import TrainConfig
from yolo9000.training.settling import training_settings, with_settings

GROUPS = (
    ("convolution, backward", ("convolution_backward",)),
    ("convolution, forward", ("convolution", "mkldnn")),
    ("batch norm", ("batch_norm",)),
    ("activation", ("leaky_relu",)),
    ("pooling", ("max_pool",)),
    ("optimiser", ("sgd", "Optimizer")),
    ("zeros and copies", ("fill_", "zero_", "copy_")),
)
"""The first group one of whose words is in the name of an operation takes it; what is left is `REST`."""

REST = "head, loss and all else"
REPEATS = 3


def shares(job: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of each group in one run of a job."""
    job()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(REPEATS):
            job()
    found = dict.fromkeys([name for name, _ in GROUPS] + [REST], 0.0)
    for event in recorded.key_averages():
        name = next((group for group, words in GROUPS if any(word in event.key for word in words)), REST)
        found[name] += event.self_cpu_time_total / 1e3 / REPEATS
    return found


def jobs(quick: bool, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is profiled, by its name."""
    nodes, train, predict, width = (60, 64, 224, 0.1) if quick else (9418, 416, 544, 1.0)
    region = nets.tree_region(nets.tree_of(nodes))
    files = nets.image_files(folder, 2)
    form = nets.darknet_form(region, DetectorConfig(width=width), files, predict, 20, folder)
    forward, settings = nets.chosen(form.ours(), predict)
    net = Detector(DetectorConfig(width=width), region)
    config = with_settings(TrainConfig(batch_size=8, precision=None), net, device=nets.CPU, size=train)
    best = training_settings(config, nets.CPU)
    step = partial(training_step, nodes, size=train, width=width)
    return {
        "training step, float32, channels last": step(),
        "training step, float32, contiguous": step(layout="contiguous"),
        f"training step as chosen ({nets.said(best)})": step(precision=best.precision, layout=best.layout),
        f"file to detections as chosen ({nets.said(settings)})": partial(
            nets.detect_file, files[0], predict, forward, region
        ),
    }


def report(found: dict[str, dict[str, float]]) -> str:
    """The groups as Markdown: milliseconds and shares."""
    lines = [f"| | {' | '.join(found)} |", f"| --- {'| --- ' * len(found)}|"]
    for group in next(iter(found.values())):
        cells = [f"{each[group]:.1f} ms, {each[group] / sum(each.values()):.0%}" for each in found.values()]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, float]], picture: Path) -> None:
    """One bar a job, cut into its groups."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import patches, pyplot

    figure, axis = pyplot.subplots(figsize=(11, 3.2))
    for row, times in enumerate(found.values()):
        left, whole = 0.0, sum(times.values())
        for number, value in enumerate(times.values()):
            axis.barh(row, value / whole, left=left, color=f"C{number}")
            if value / whole > 0.03:
                axis.text(left + value / whole / 2, row, f"{value / whole:.0%}", ha="center", va="center", fontsize=8)
            left += value / whole
    names = list(next(iter(found.values())))
    axis.legend([patches.Rectangle((0, 0), 1, 1, color=f"C{n}") for n in range(len(names))], names, fontsize=8,
                ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12))  # fmt: skip
    axis.set(yticks=range(len(found)), yticklabels=list(found), xlim=(0, 1), xlabel="")
    axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile, print the table, draw the picture."""
    use_huge_pages()
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parent / "images" / "profile.png"
    parser.add_argument("picture", nargs="?", type=Path, default=default, help="PNG (default: benchmarks/images)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: shares(job) for name, job in jobs(options.quick, Path(folder)).items()}
    print(", ".join(f"{key} {value}" for key, value in machine().items()), "\n")
    print(report(found))
    draw(found, options.picture)


if __name__ == "__main__":
    main()
