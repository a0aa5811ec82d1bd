"""Two sets of scenes that label different classes, joined: only what a set labels can be background, or all can.

``python -m benchmarks.partly_labelled [--seeds 0 1] [--steps 500]`` trains one small net in four ways from one start
and prints the table. All classes appear in all scenes. One set has boxes for half of the classes only, the other for
the rest, and every sibling group is divided, so that a box of the one set often looks like what the other labels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.small_trainings import NET, SIZE, config_of, data_of, region_of
from wordtree import WordTree
from yolo9000.datasets.joined import JoinedSource
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.pictograms import pictogram_concepts, read_classes
from yolo9000.datasets.sample import Batch, Kind, Record, Source, pixels
from yolo9000.datasets.scenes import SceneConfig, SceneSource, Split
from yolo9000.detection.boxes import iou
from yolo9000.detection.decode import detect
from yolo9000.evaluation.detector import evaluate_detector
from yolo9000.experiment.labels import tree_of_wnids
from yolo9000.experiment.plan import plan_phases
from yolo9000.models import Detector
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast, pick_precision, use_huge_pages
from yolo9000.runtime.run_folder import create_run_folder
from yolo9000.training.loop import train

TEST_SCENES = 600
LENGTHS = (10_000, 10_000)
VARIANTS = {
    "declared": "each set declares what it labels",
    "background": "the rest is background",
    "told": "unlabelled things are marked as such",
    "ceiling": "both sets label everything",
}


@dataclass(frozen=True, kw_only=True)
class Scores:
    """AP50 of all classes, of the first set's and the second's; what is seen of a prediction.

    Parameters
    ----------
    all_classes, first, second : float
        Mean AP50 of all classes, of the first set's and of the second's.
    found : float
        Share of objects with a box of IoU .5, whatever its label, at the default thresholds of prediction.
    false : float
        Mean number of such boxes without an object in an image.
    """

    all_classes: float
    first: float
    second: float
    found: float
    false: float


@dataclass(frozen=True)
class PartlyLabelled:
    """Scenes of which only boxes of some nodes are known.

    Parameters
    ----------
    scenes : Source
        The scenes, which hold things of other nodes too.
    name : str
        What messages call it.
    nodes : ndarray (L,)
        The nodes whose boxes are kept.
    declared : bool
        Whether the source says so; otherwise it claims to label everything.
    marks_the_rest : bool
        Whether boxes of other nodes are kept as areas to ignore: more than any data set says.
    """

    scenes: Source
    name: str
    nodes: NDArray[np.int64]
    declared: bool = False
    marks_the_rest: bool = False

    @property
    def kind(self) -> Kind:
        return self.scenes.kind

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None:
        return self.nodes if self.declared else None

    def __len__(self) -> int:
        return len(self.scenes)

    def read(self, index: int) -> Record:
        record = self.scenes.read(index)
        known = np.isin(record.labels, self.nodes)
        rest = record.boxes_xyxy[~known] if self.marks_the_rest else record.boxes_xyxy[:0]
        return replace(record, boxes_xyxy=record.boxes_xyxy[known], labels=record.labels[known], ignore_boxes_xyxy=rest)


def halves(tree: WordTree, labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Divide labels in two such that siblings go to both sides.

    Examples
    --------
    >>> names = ("animal", "tool", "dog", "cat", "owl", "saw", "axe")
    >>> halves(WordTree(names, names, (-1, -1, 0, 0, 0, 1, 1)), [2, 3, 4, 5, 6])
    ([2, 4, 6], [3, 5])
    """
    ordered = sorted(labels, key=lambda node: (tree.parents[node], node))
    return sorted(ordered[0::2]), sorted(ordered[1::2])


def names_of_classes() -> list[str]:
    """The classes with boxes that have siblings with boxes, without the animals, which take longer to tell apart.

    Examples
    --------
    >>> len(names_of_classes()), names_of_classes()[:5]
    (21, ['apple', 'watermelon', 'lemon', 'banana', 'cherry'])
    """
    concepts = {c.name: c.wnid for c in read_classes() if c.boxed}
    tree = tree_of_wnids(concepts.values())
    parent = {name: tree.parents[tree.node(wnid)] for name, wnid in concepts.items()}
    groups = Counter(parent.values())
    return [
        name
        for name, above in parent.items()
        if groups[above] > 1 and "animal" not in (tree.names[node] for node in tree.path(above))
    ]


def run_seed(
    seed: int, steps: int, start_steps: int, lengths: Sequence[int], variants: Sequence[str], out: Path
) -> dict[str, Scores]:
    """Train the start and the variants; AP50 of all classes on the test scenes, by variant."""
    device = torch.device("cpu")
    precision = pick_precision(device)
    concepts = pictogram_concepts()
    names = names_of_classes()
    tree = tree_of_wnids(concepts[name] for name in names)
    label_map = {name: tree.node(wnid) if name in names else -1 for name, wnid in concepts.items()}
    labels = sorted(label_map[name] for name in names)

    def scenes(number: int, split: Split = "train", kind: Kind = "detection", length: int = 20_000) -> SceneSource:
        config = SceneConfig(size=SIZE, split=split, seed=number)
        return SceneSource(config, kind=kind, length=length, classes="boxed", names=names, label_map=label_map)

    def pair(variant: str) -> JoinedSource:
        sides = [labels, labels] if variant == "ceiling" else halves(tree, labels)
        return JoinedSource(
            [
                PartlyLabelled(
                    scenes(i, length=length),
                    f"set {i}",
                    np.array(side, np.int64),
                    declared=variant == "declared",
                    marks_the_rest=variant == "told",
                )
                for i, (side, length) in enumerate(zip(sides, lengths, strict=True))
            ]
        )

    region = region_of(scenes(0), tree, seed)
    config = config_of(steps, seed, precision)
    data = data_of(tree, pair("ceiling"), scenes(0, kind="classification"), labels)
    results = {}
    test = make_evaluation_loader(scenes(0, "test", length=TEST_SCENES), SIZE, batch_size=32)
    torch.manual_seed(seed)
    first = Detector(NET, region)
    start, then = plan_phases(first, data, config_of(steps, seed, precision, start_steps=start_steps))
    train([start], config.train, create_run_folder(out / "start"), device=device)
    if then.begin is not None:
        then.begin()  # the detector takes over the classifier's weights
    for variant in variants:
        detector = Detector(first.config, region)
        detector.load_state_dict(first.state_dict())
        phases = plan_phases(detector, replace(data, detection=pair(variant)), config)
        train(phases, config.train, create_run_folder(out / variant), device=device)
        results[variant] = score(detector.eval(), test, halves(tree, labels), precision)
        print(f"seed {seed}: {VARIANTS[variant]}: {results[variant]}", flush=True)
    return results


@torch.no_grad()
def score(
    detector: Detector, test: Iterable[Batch], sides: tuple[list[int], list[int]], precision: Precision
) -> Scores:
    """Average precision on scenes whose objects all have a box, and what prediction shows of them by default."""
    device = torch.device("cpu")
    labels = [*sides[0], *sides[1]]
    report = evaluate_detector(
        detector, test, detector.classes, boxed=labels, device=device, precision=precision, parents=False
    )
    of_class = {each["node"]: each["ap50"] for each in report["classes"] if each["boxes"]}
    first, second = (statistics.fmean(of_class[node] for node in side if node in of_class) for side in sides)
    found = objects = shown = hits = 0
    for batch in test:
        with autocast(device, precision):
            output = detector(pixels(batch.images))
        for each, target in zip(detect(output, detector.classes), batch.targets, strict=True):
            overlaps = iou(target.boxes_cxcywh[:, None], each.boxes_cxcywh[None]) >= 0.5
            found, objects = found + int(overlaps.any(dim=1).sum()), objects + len(target.labels)
            hits, shown = hits + int(overlaps.any(dim=0).sum()), shown + len(each.scores)
    return Scores(
        all_classes=report["boxed"]["ap50"],
        first=first,
        second=second,
        found=found / objects,
        false=(shown - hits) / report["images"],
    )


def table(results: Sequence[dict[str, Scores]]) -> str:
    """Means over the seeds, and each one's AP50.

    Examples
    --------
    >>> some = Scores(all_classes=0.3, first=0.4, second=0.2, found=0.5, false=0.25)
    >>> fewer = Scores(all_classes=0.2, first=0.3, second=0.1, found=0.375, false=0.125)
    >>> print(table([{"declared": some, "background": fewer}] * 2))
    | | AP50 | of each seed | ratio | first set's classes | second set's | found | false boxes |
    |---|---|---|---|---|---|---|---|
    | each set declares what it labels | 0.300 | 0.300, 0.300 | 1.50 | 0.400 | 0.200 | 50 % | 0.25 |
    | the rest is background | 0.200 | 0.200, 0.200 | 1.00 | 0.300 | 0.100 | 38 % | 0.12 |
    """
    lines = [
        "| | AP50 | of each seed | ratio | first set's classes | second set's | found | false boxes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    means = {
        variant: Scores(**{field.name: statistics.fmean(getattr(r[variant], field.name) for r in results)
                           for field in fields(Scores)})
        for variant in results[0]
    }  # fmt: skip
    for variant, mean in means.items():
        ratio = f"{mean.all_classes / means['background'].all_classes:.2f}" if "background" in means else "-"
        each = ", ".join(f"{result[variant].all_classes:.3f}" for result in results)
        lines.append(
            f"| {VARIANTS[variant]} | {mean.all_classes:.3f} | {each} | {ratio} | {mean.first:.3f} | {mean.second:.3f} "
            f"| {mean.found:.0%} | {mean.false:.2f} |".replace("%", " %")
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.partly_labelled", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of weights, order and augmentation")
    parser.add_argument("--steps", type=int, default=500, help="of each variant (default: 500)")
    parser.add_argument(
        "--start-steps", type=int, default=250, help="of the classifier that all start as (default: 250)"
    )
    parser.add_argument("--lengths", type=int, nargs=2, default=LENGTHS, help="scenes of each set")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args(argv)
    use_huge_pages()
    torch.set_num_threads(1)
    results = []
    started = time.perf_counter()
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as out:
            results.append(
                run_seed(seed, options.steps, options.start_steps, options.lengths, options.variants, Path(out))
            )
    print(table(results))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
