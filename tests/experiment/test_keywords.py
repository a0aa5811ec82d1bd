"""Keywords of Python: what is wrong is called as it was given."""

from __future__ import annotations

from typing import Any

import pytest

from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.experiment.keywords import ways_of, with_keywords
from yolo9000.exporting.config import ExportConfig
from yolo9000.runtime.mistakes import Mistake


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 0}, "train: batch 0: at least 1 is needed"),
        ({"lr": -1}, "train: lr -1.0: a positive number is needed"),
        ({"detection_steps": -1}, "train: detection_steps -1: 0 or more is needed"),
        ({"classification_lr": 0}, "train: classification_lr 0.0: a positive number is needed"),
        ({"clip": -1}, "train: clip -1.0: 0 or more is needed"),
        ({"ema": 2}, "train: ema 2.0: at least 0 and below 1 is needed"),
        ({"batch": 3, "accumulate": 2}, "train: batch 3 cannot be cut into 2 equal parts"),
        (
            {"joint": False, "detection_steps": 3},
            "train: detection_steps: these steps go before joint training; without joint add them to steps",
        ),
        ({"seed": -1}, "train: seed -1: 0 or more is needed"),
        ({"stride": 8}, "train: stride: Input should be 16, 32 or 64"),
        ({"lr": "low"}, "train: lr: Input should be a valid number, unable to parse string as a number"),
    ],
)
def test_a_mistake_names_the_keyword_and_no_field(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake) as error:
        with_keywords(RunConfig(), given, "train")
    assert str(error.value) == message


@pytest.mark.parametrize("kind", [RunConfig, EvaluateConfig, ExportConfig])
def test_no_two_fields_are_called_alike(kind: type) -> None:
    names = [way.rpartition(".")[2] for way in ways_of(kind).values()]
    assert len(names) == len(set(names)), "a message names a field by its last word, which then says too little"
