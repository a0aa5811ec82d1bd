"""What a rest alternative in every sibling group does to the naming of kinds that nothing in training showed.

``python -m benchmarks.rest_alternative [--seeds 0 1] [--steps 800]`` leaves one class of each larger sibling group
of the pictograms out of the tree and out of training, trains the same net over the tree with ``rest="only_child"`` and
with ``rest="all"``, and looks how both name the kinds that were left out, whose right name is their parent's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.small_trainings import NET, SIZE, config_of, data_of, region_of
from wordtree.tree import Rest
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.pictograms import pictogram_concepts
from yolo9000.datasets.sample import Kind
from yolo9000.datasets.scenes import SceneConfig, SceneSource, Split
from yolo9000.evaluation.detector import evaluate_detector
from yolo9000.experiment.labels import tree_of_wnids
from yolo9000.experiment.plan import plan_phases
from yolo9000.models import Detector
from yolo9000.runtime.device import pick_precision, use_huge_pages
from yolo9000.runtime.run_folder import create_run_folder
from yolo9000.training.loop import train

TEST_SCENES = 600
LEAST_SIBLINGS = 3
"""A group that loses one still has a choice to make."""
RESTS: tuple[Rest, ...] = ("only_child", "all")
SHARES = ("exact", "less_exact", "finer", "wrong", "missed")


def left_out() -> dict[str, str]:
    """The classes that are left out, the last of each group of leaves, and the wnid of the parent of each.

    Examples
    --------
    >>> chosen = left_out()
    >>> len(chosen), chosen["tiger"]  # some big cat
    (9, 'n02127808')
    """
    concepts = pictogram_concepts()
    tree = tree_of_wnids(concepts.values())
    name_of = {tree.node(wnid): name for name, wnid in concepts.items()}
    leaves = [node for node in sorted(name_of) if not tree.children(node) and tree.parents[node] >= 0]
    groups = Counter(tree.parents[node] for node in leaves)
    last = {tree.parents[node]: node for node in leaves}
    return {
        name_of[node]: tree.wnids[parent]
        for parent, node in last.items()
        if groups[parent] >= LEAST_SIBLINGS and parent not in name_of
    }


def run_seed(seed: int, steps: int, start_steps: int, out: Path) -> dict[str, dict[str, Any]]:
    """Train and evaluate over both trees; the evaluations of the seen and of the unseen kinds, by rest."""
    device = torch.device("cpu")
    precision = pick_precision(device)
    concepts, unseen = pictogram_concepts(), left_out()
    seen = [name for name in concepts if name not in unseen]
    plain = tree_of_wnids(concepts[name] for name in seen)
    # a kind that was left out is labelled with its parent, where the tree of the seen ones has it
    unseen = {name: wnid for name, wnid in unseen.items() if wnid in plain.wnids}
    label_map = {name: plain.node(concepts[name]) for name in seen}
    label_map |= {name: plain.node(unseen[name]) if name in unseen else -1 for name in concepts if name not in seen}
    labels = sorted(label_map[name] for name in seen)

    def scenes(split: Split, names: list[str], kind: Kind = "detection", length: int = 20_000) -> SceneSource:
        config = SceneConfig(size=SIZE, split=split)
        return SceneSource(config, kind=kind, length=length, classes="all", names=names, label_map=label_map)

    results: dict[str, dict[str, Any]] = {}
    for rest in RESTS:
        tree = replace(plain, rest=rest)
        torch.manual_seed(seed)
        training = scenes("train", seen)
        detector = Detector(NET, region_of(training, tree, seed))
        data = data_of(tree, training, scenes("train", seen, "classification"), labels)
        config = config_of(steps, seed, precision, start_steps=start_steps)
        train(plan_phases(detector, data, config), config.train, create_run_folder(out / rest), device=device)
        results[rest] = {
            name: evaluate_detector(
                detector.eval(),
                make_evaluation_loader(scenes("test", names, length=TEST_SCENES), SIZE, batch_size=32),
                detector.classes,
                boxed={label_map[name] for name in names},
                device=device,
                precision=precision,
                parents=False,
                diagnosis=True,
            )
            for name, names in (("seen", seen), ("unseen", sorted(unseen)))
        }
        print(f"seed {seed}, rest={rest}: AP50 of seen kinds {results[rest]['seen']['boxed']['ap50']:.3f}", flush=True)
    return results


def table(results: Sequence[dict[str, dict[str, Any]]]) -> str:
    """Means over the seeds: how the kinds are named that nothing showed, and what it costs the others."""
    lines = ["| kinds | rest | AP50 | " + " | ".join(SHARES) + " |", "|" + "---|" * (3 + len(SHARES))]
    for kinds in ("unseen", "seen"):
        for rest in RESTS:
            reports = [result[rest][kinds] for result in results]
            shares = [statistics.fmean(report["back_off"]["boxed"][name] for report in reports) for name in SHARES]
            ap50 = statistics.fmean(report["boxed"]["ap50"] for report in reports)
            lines.append(f"| {kinds} | {rest} | {ap50:.3f} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rest_alternative", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=800, help="on boxes (default: 800)")
    parser.add_argument("--start-steps", type=int, default=800, help="as a classifier before (default: 800)")
    options = parser.parse_args(argv)
    use_huge_pages()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        results = [run_seed(s, options.steps, options.start_steps, Path(out) / str(s)) for s in options.seeds]
    print(table(results))


if __name__ == "__main__":
    main()
