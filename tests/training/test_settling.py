"""What a training is computed with: chosen by times that a test gives, kept for the resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import FORM, REGION
from yolo9000.experiment.config_file import read_config
from yolo9000.models import Detector
from yolo9000.runtime.config import SETTINGS_VARIABLE, Settings
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.settings import variants
from yolo9000.training import settling
from yolo9000.training.config import TrainConfig
from yolo9000.training.settling import time_steps, training_settings, with_settings

CPU = torch.device("cpu")


def test_what_is_chosen_is_fixed_for_the_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(SETTINGS_VARIABLE)
    monkeypatch.setattr(
        settling,
        "time_steps",
        lambda model, candidates, **_: {each: [1.0 + (each.layout == "channels_last")] for each in candidates},
    )
    net, usual = Detector(FORM, REGION), training_settings(TrainConfig(), CPU)
    chosen = with_settings(TrainConfig(), net, device=CPU, size=64)
    assert chosen.settings == "fixed:engine=torch,layout=contiguous,precision=float32,at_once=0"
    monkeypatch.setattr(settling, "time_steps", lambda *_, **__: pytest.fail("measured again"))
    assert with_settings(chosen, net, device=CPU, size=64) == chosen
    assert with_settings(TrainConfig(), net, device=CPU, size=64) == chosen
    assert training_settings(chosen, CPU).layout == "contiguous"
    alone = with_settings(TrainConfig(), net, device=CPU, size=32, measure=False)
    assert training_settings(alone, CPU) == usual == Settings(precision=usual.precision)
    # one process may go on with what several began, so it must not choose otherwise
    assert training_settings(with_settings(TrainConfig(exact=4), net, device=CPU, size=32), CPU) == usual


def test_timing_leaves_net_and_random_numbers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Detector(FORM, REGION)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    monkeypatch.setattr(
        settling, "time_in_turn", lambda runs, **_: {each: [run() or 1.0] for each, run in runs.items()}
    )
    found = time_steps(net, variants(Settings(), ["float32"]), size=64, images=2)
    assert [each.layout for each in found] == ["channels_last", "contiguous"]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_an_engine_that_trains_nothing() -> None:
    with pytest.raises(Mistake, match="`settings` fixed:engine=openvino: openvino trains nothing"):
        TrainConfig(settings="fixed:engine=openvino")


def test_a_run_before_there_were_settings_goes_on_in_its_layout(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"config": {"train": {"channels_last": false, "precision": "bfloat16"}}}')
    assert read_config(file).train.settings == "fixed:layout=contiguous,precision=bfloat16"
    file.write_text('{"config": {"train": {"channels_last": true, "precision": null}}}')
    assert read_config(file).train.settings == "fixed:layout=channels_last"
