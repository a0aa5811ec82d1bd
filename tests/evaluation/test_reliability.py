"""Whether probabilities are what they claim, by hand, and the picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from yolo9000.evaluation.observation import Observation
from yolo9000.evaluation.reliability import calibration_scores, draw_reliability, reliability
from yolo9000.models import FlatClasses, RegionSpec

ANIMAL, VEHICLE, DOG, CAT, CAR, POODLE = range(6)

# animal (dog (poodle), cat), vehicle (car): six found truths, the seventh is missed; what they were answered is of no
# matter here
SEEN = Observation(
    labels=torch.tensor([POODLE, POODLE, CAT, CAR, DOG, CAR, CAT]),
    found=torch.tensor([True, True, True, True, True, True, False]),
    among_ten=torch.zeros(7, dtype=torch.bool),
    answers=torch.full((6, 3), -1),
    answer_probabilities=torch.zeros(6, 3),
    claimed=torch.tensor([0.85, 0.95, 0.15, 0.55, 0.55]),
    claimed_nodes=torch.tensor([ANIMAL, ANIMAL, POODLE, CAR, CAT]),
    claim_right=torch.tensor([True, True, False, True, False]),
    present=torch.zeros(0, dtype=torch.int64),
    localised=torch.zeros(0, dtype=torch.bool),
)


def test_calibration_by_hand(region: RegionSpec) -> None:
    scores = calibration_scores(SEEN, region.classes, [CAT])  # cat and animal had boxes
    boxed, never_boxed = scores["boxed"], scores["never_boxed"]
    assert boxed["claims"] == 3
    assert boxed["ece"] == pytest.approx((0.15 + 0.05 + 0.55) / 3)
    assert never_boxed["ece"] == pytest.approx((0.15 + 0.45) / 2)
    assert [each["claims"] for each in never_boxed["bins"]] == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    # boxed nodes on the paths: animal of poodle, poodle, cat and dog, and cat; two were claimed
    assert boxed["unclaimed"] == pytest.approx(3 / 5)
    # never boxed: dog and poodle twice, vehicle and car twice, dog; one was claimed
    assert never_boxed["unclaimed"] == pytest.approx(8 / 9)
    flat = calibration_scores(SEEN, FlatClasses(6), [CAT])
    assert flat["boxed"]["claims"] == 1  # without a tree the cat is not an animal
    assert flat["boxed"]["unclaimed"] == 1


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    scores = reliability(torch.tensor([1.0, 0.0]), torch.tensor([True, True]))
    assert [each["claims"] for each in scores["bins"]] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert scores["ece"] == pytest.approx(0.5)


def test_the_picture(tmp_path: Path, region: RegionSpec) -> None:
    calibration = calibration_scores(SEEN, region.classes, [CAT])
    draw_reliability(calibration, tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    no_claims = reliability(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    draw_reliability({"boxed": no_claims, "never_boxed": no_claims}, tmp_path / "none.png")
    assert (tmp_path / "none.png").exists()
