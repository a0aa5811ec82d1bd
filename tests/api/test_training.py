"""Trainings from Python that end otherwise than with a detector, and where they compute."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000 import YOLO9000
from yolo9000.api import model as api
from yolo9000.api.keywords import asked_training
from yolo9000.api.opening import How
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import written_config
from yolo9000.runtime.config import MachineConfig
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.callbacks import Callback, Moment

TREE = WordTree(
    ("n00015388", "n02084071", "n02121620"),
    ("animal", "dog", "cat"),
    (-1, 0, 0),
    rest="only_child",
    label_maps={"imagenet": {"n02084071": 1, "n02121620": 2}, "names": {"cat": 2}},
)
SMALL: dict[str, Any] = {"size": 64, "classification_size": 32, "width": 0.05, "stride": 32, "batch": 2, "priors": 1}
SMALL |= {"optimizer": "adamw", "schedule": "cosine", "burn_in": 1, "threads": 1, "evaluate_every": 0, "log_every": 1}
SMALL |= {"precision": "float32", "val_images": 2, "joint": True}


class Stopped(Callback):
    """Ctrl-C after a step of a phase."""

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def on_step(self, at: Moment, values: Mapping[str, Any]) -> None:
        if at.phase == self.phase:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two photographs with a box for each split, as many with a label of each kind, and their tree."""
    root = tmp_path_factory.mktemp("data")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    for split in ("train", "val"):
        places = [root / "yolo" / "images" / split, *(root / "imagenet" / split / wnid for wnid in TREE.wnids[1:])]
        for place in places:
            place.mkdir(parents=True)
            for number in range(2):
                picture.save(place / f"{number}.{'png' if place is places[0] else 'JPEG'}", format="PNG")
        labels = root / "yolo" / "labels" / split
        labels.mkdir(parents=True)
        for number in range(2):
            (labels / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (root / "yolo" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat]\n")
    save_tree(TREE, root / "tree.json")
    return {"yolo": root / "yolo" / "data.yaml", "imagenet": root / "imagenet", "tree": root / "tree.json"}


def stop_in(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train_run = api.train_run
    monkeypatch.setattr(
        api, "train_run", lambda *values, **options: train_run(*values, **options, callbacks=[Stopped(phase)])
    )


def test_a_training_that_is_stopped_before_it_has_a_detector_leaves_the_model_as_it_was(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    model = YOLO9000()
    with monkeypatch.context() as patched:
        stop_in("classification", patched)
        assert model.train(**data, **SMALL, out=run, steps=1, classification_steps=2, device="cpu") is model
    assert repr(model) == "<YOLO9000: no net yet; load one, or train>"
    said = capsys.readouterr().err
    assert "stopped at step 1, before there is a detector: the model is what it was" in said
    assert f"continue with train(resume='{run}')" in said
    assert model.train(resume=run).trained.step == 3
    assert "continue with" not in capsys.readouterr().err


def test_a_training_that_is_stopped_with_a_detector_becomes_the_model(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_in("joint", monkeypatch)
    model = YOLO9000().train(**data, **SMALL, out=tmp_path / "run", steps=3, classification_steps=1, device="cpu")
    assert model.trained.step == 2
    assert f"stopped at step 2; continue with train(resume='{tmp_path / 'run'}')\n" in capsys.readouterr().err
    assert model.device == torch.device("cpu")
    assert model._how.device == "cpu"  # also for what it is trained further, and where there is a GPU


def test_a_classifier_alone_is_refused_before_anything_is_done(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"train: with no steps of a detector .* the command `yolo9000 classify` does"):
        YOLO9000().train(**data, **SMALL, out=tmp_path / "run", steps=0, classification_steps=1)
    assert not (tmp_path / "run").exists()


def device_of(how: How, options: Mapping[str, Any], **beginning: Any) -> str | None:
    none = dict.fromkeys(("preset", "recipe", "config", "resume", "out"))
    return asked_training(None, how, options, **{**none, **beginning}).config.machine.device


def test_the_device_of_load_is_that_of_a_training_unless_another_is_named(tmp_path: Path) -> None:
    loaded = How(device=torch.device("cuda:1"))
    assert device_of(loaded, {}) == "cuda:1"
    assert device_of(loaded, {"device": "cpu"}) == "cpu"
    assert device_of(How(), {}) is None
    file = tmp_path / "mine.yaml"
    file.write_text(written_config(RunConfig(machine=MachineConfig(device="cuda:0"))))
    assert device_of(loaded, {}, config=file) == "cuda:0"


def test_the_form_of_our_own_net_is_refused_beside_a_cfg() -> None:
    none = dict.fromkeys(("preset", "recipe", "config", "resume", "out"))
    with pytest.raises(Mistake, match="`width`, `priors`: of a net of ours; a `cfg` says itself"):
        asked_training(None, How(), {"cfg": "yolov2", "width": 0.5, "priors": 4}, **none)
    assert asked_training(None, How(), {"cfg": "yolov2"}, **none).config.net.cfg == "yolov2"


def test_a_run_that_is_resumed_computes_where_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolo9000.api.keywords.begin_with", lambda *_, **__: RunConfig())
    assert device_of(How(device="cpu"), {}, resume=tmp_path) is None
    for device in ("cpu", None):  # which then is what the training took
        assert How(device="cuda:1").of_run(device).device == device
