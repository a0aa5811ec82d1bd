"""Class rows spread over processes train as one process with all of them does, and each holds its part of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import TrainConfig
from yolo9000.training.sharding import check_sharded

FILE = Path(__file__).with_name("sharded_in_ranks.py")
NODES = 20
Ranks = Callable[..., dict[int, list[Any]]]


def compare(found: dict[int, list[Any]], tolerance: float = 1e-9) -> None:
    """Loss terms, whole gradient and its norm of each number of processes against those of one."""
    (alone,) = found.pop(1)
    largest = max(float(each.abs().max()) for each in alone["gradient"].values())
    scale = sum(map(abs, alone["terms"].values()))
    assert alone["terms"]["class"] > 0
    assert alone["terms"]["image_class"] > 0
    for size, of_ranks in found.items():
        for name, value in alone["terms"].items():
            total = sum(each["terms"][name] for each in of_ranks)
            assert total == pytest.approx(value, rel=1e-6, abs=1e-6 * scale), f"{size} processes, {name}"
        for each in of_ranks:
            assert each["norm"] == pytest.approx(alone["norm"], rel=tolerance)
            for name, gradient in alone["gradient"].items():
                difference = float((each["gradient"][name] - gradient).abs().max())
                assert difference < tolerance * largest, f"{size} processes, {name}: {difference / largest}"


def test_two_processes_make_the_gradient_of_one(ranks: Ranks) -> None:
    """And nothing dense is sent for the class rows."""
    found = ranks(FILE, "one_gradient", [1, 2])
    rows = [each["held"]["head.class_weight"] for each in found[2]]
    assert sum(rows) == found[1][0]["held"]["head.class_weight"] == 2 * NODES
    assert max(rows) <= 2 * (NODES // 2 + 2)
    assert "class rows" not in found[2][0]["sent"]
    assert found[2][0]["sent"]["class features"] > 0
    assert found[2][0]["sent"]["class answers"] > 0
    compare(found)


CASES: list[dict[str, Any]] = [
    {"recipe": "mil"},
    {"recipe": "darknet", "share_rows": True},
    {"recipe": "max-size", "offsets": True},  # which asks for no P(label) before the loss
    {"offsets": True, "accumulate": 2, "batch_size": 14},
    {"exact": False},  # in float32, with batch norms
    {"deepest": 2},  # all labels are top nodes: of three processes two own no group that is read
]


@pytest.mark.slow
def test_any_number_makes_the_gradient_of_one(ranks: Ranks) -> None:
    found = ranks(FILE, "gradients", [1, 2, 3, 4], cases=CASES)
    for number, case in enumerate(CASES):
        of_case = {size: [each[number] for each in of_ranks] for size, of_ranks in found.items()}
        compare(of_case, 1e-9 if case.get("exact", True) else 1e-5)


@pytest.mark.slow
def test_trainings_are_equal_and_their_checkpoints_are_whole(ranks: Ranks, tmp_path: Path) -> None:
    """Weights, average and optimiser after four steps; each process holds its part of them."""
    cases = {"sgd": {"steps": 4, "gradient_clip": 0.5}, "adamw": {"steps": 4, "optimizer": "adamw"}}
    found = ranks(FILE, "runs", [1, 2, 3], folder=str(tmp_path), cases=cases)
    for case in cases:
        (alone,) = (each[case] for each in found[1])
        last, best = (load_checkpoint(tmp_path / case / "1" / name) for name in ("last.pt", "best.pt"))
        for size in (2, 3):
            of_ranks = [each[case] for each in found[size]]
            for name, all_of_them in alone["held"].items():
                assert sum(each["held"][name] for each in of_ranks) == all_of_them
                # the largest group has five of the twenty nodes
                assert max(each["held"][name] for each in of_ranks) <= (1 / size + 0.15) * all_of_them
            assert all(each["whole"] for each in of_ranks)
            for name, whole in (("last.pt", last), ("best.pt", best)):
                content = load_checkpoint(tmp_path / case / str(size) / name)
                for part in ("model", "average", "optimizer", "best"):
                    same(content[part], whole[part], part)


def same(one: Any, other: Any, way: str) -> None:
    """All numbers agree to 1e-6 of the largest of their tensor."""
    if isinstance(other, torch.Tensor):
        assert one.shape == other.shape, way
        if other.is_floating_point() and other.numel():
            assert float((one - other).abs().max()) <= 1e-6 * float(other.abs().max()), way
    elif isinstance(other, dict):
        assert one.keys() == other.keys(), way
        for key in other:
            same(one[key], other[key], f"{way}/{key}")
    elif isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-6), way
    else:
        assert one == other, way


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_any_number(ranks: Ranks, tmp_path: Path) -> None:
    """Three processes, then one with all rows, then two that keep all of them, then four: as one process alone."""
    ranks(FILE, "resumed", [3, 1, 2, 4], folder=str(tmp_path), steps={"3": 2, "1": 4, "2": 6, "4": 8}, whole=2)
    changed, alone = (load_checkpoint(tmp_path / name / "last.pt") for name in ("changed", "alone"))
    for name in ("position", "model", "average", "optimizer"):
        same(changed[name], alone[name], name)
    # whoever evaluates has whole rows: the four processes find what the one finds
    scores = [ResultsFile(tmp_path / name / "results.csv").column("ap50")[1] for name in ("changed", "alone")]
    assert scores[0][-1] == pytest.approx(scores[1][-1], rel=1e-6)


@pytest.mark.slow
def test_a_bad_step_is_left_out_by_all(ranks: Ranks, tmp_path: Path) -> None:
    """It is named and kept with a whole net, as by one process; the others wait for whoever looks for the culprit."""
    found = ranks(FILE, "run", [3], folder=str(tmp_path / "{size}"), steps=4, poisoned=1)[3]
    (file,) = (tmp_path / "3").glob("bad-step-*.pt")
    kept = load_checkpoint(file)
    assert kept["model"]["head.class_weight"].shape[0] == 2 * NODES
    assert all(bool(torch.isfinite(value).all()) for value in found[0]["weights"].values())
    for each in found[1:]:
        assert all(torch.equal(each["weights"][name], value) for name, value in found[0]["weights"].items())


def test_what_does_not_go_together() -> None:
    with pytest.raises(Mistake, match="`shard_classes` and `exact`"):
        TrainConfig(shard_classes=True, exact=2)
    with pytest.raises(Mistake, match="`shard_classes`: a compiled net"):
        TrainConfig(shard_classes=True, compile=True)
    with pytest.raises(Mistake, match="`shard_classes`: float16"):
        TrainConfig(shard_classes=True, precision="float16")
    config = TrainConfig(shard_classes=True)
    flat = Detector(DetectorConfig(width=0.05), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=FlatClasses(4)))
    with pytest.raises(Mistake, match="`shard_classes`: no net of this run has class rows over a tree"):
        check_sharded(config, [flat], Processes(0, 2))
    check_sharded(config, [flat], Processes())  # one process alone shares with nobody
