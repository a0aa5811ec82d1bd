"""Any net on any engine: the same detections, with our own head behind the engine's convolutions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.results import Detections
from yolo9000.exporting import engines, running
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.errors import EngineAbsent, ExportError
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.running import on_engine, ready, time_predictions
from yolo9000.inference.config import OpenConfig
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.predictor import Predictor
from yolo9000.inference.restrict import restrict
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.config import SETTINGS_VARIABLE, Settings
from yolo9000.runtime.mistakes import Mistake

CPU = torch.device("cpu")
DECODE = DecodeConfig(threshold=0.5, tree_threshold=0.4)
NEAR = 1e-4
"""Labels may differ where a probability is as near to a threshold, or to its rival."""


def records() -> list[Record]:
    rng = np.random.default_rng(0)
    return [Record(rng.integers(0, 256, (*shape, 3), np.uint8), f"{shape}.jpg") for shape in ((60, 80), (96, 96))]


def detections(trained: TrainedModel, settings: Settings = Settings()) -> list[Detections]:
    found = Predictor(trained, device=CPU, settings=settings).find(records(), DECODE, size=96)
    return [each.detections for each in found]


def same(ours: Detections, theirs: Detections) -> None:
    """Each box of one side whose score is clear of the threshold is among the other's, under the same label."""
    for one, other in ((ours, theirs), (theirs, ours)):
        for box, score, node, along in zip(one.boxes_cxcywh, one.scores, one.nodes, one.probabilities, strict=True):
            if abs(float(score) - DECODE.threshold) < NEAR or abs(float(along) - DECODE.tree_threshold) < NEAR:
                continue
            near = (other.boxes_cxcywh - box).abs().amax(dim=1) < NEAR
            assert bool((near & (other.nodes == node)).any())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("chosen", [None, pytest.param(["dog", "car"], marks=pytest.mark.slow)])
def test_a_net_of_ours_on_an_engine(
    trained: TrainedModel, engine: Any, chosen: list[str] | None, needs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    needs("openvino" if engine == "openvino" else "onnx")
    net = trained if chosen is None else restrict(trained, chosen)
    with caplog.at_level(logging.INFO):
        moved, settings = ready(net, OpenConfig(engine=engine, precision="float32"), device=CPU)
    assert caplog.messages == [f"{trained.path}: its convolutions are written for {engine}"]
    assert settings.engine == engine
    assert isinstance(moved.detector.head, TreeHead)  # the classes are not in the file
    assert isinstance(net.detector, type(trained.detector))
    expected = detections(net)
    assert sum(map(len, expected)) > 10
    for ours, theirs in zip(expected, detections(moved, settings), strict=True):
        same(ours, theirs)


def test_an_engine_that_is_not_installed_is_named(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise EngineAbsent(f"the package {name} is not installed")

    monkeypatch.setattr(running, "optional_module", absent)
    with pytest.raises(EngineAbsent, match="the package openvino is not installed"):
        on_engine(trained, "openvino")


def test_what_contradicts_itself_is_a_mistake(trained: TrainedModel) -> None:
    with pytest.raises(Mistake, match="`compile`: is the engine inductor; leave it out, or `engine` onnxruntime"):
        ready(trained, OpenConfig(engine="onnxruntime"), device=CPU, compile=True)
    with pytest.raises(Mistake, match="`precision` bfloat16: onnxruntime runs nets in float32 here"):
        ready(trained, OpenConfig(engine="onnxruntime", precision="bfloat16"), device=CPU)


def test_openvino_works_in_the_number_format_that_is_asked_for(
    trained: TrainedModel, monkeypatch: pytest.MonkeyPatch, exports: Any
) -> None:
    """On a processor that multiplies bfloat16 it is the usual one, as in torch; onnxruntime has float32 alone."""
    file = exports("onnx").model
    said: list[Any] = []
    compiled = SimpleNamespace(outputs=[], create_infer_request=lambda: None)
    core = SimpleNamespace(
        read_model=Path, compile_model=lambda model, device, options: said.append(options) or compiled
    )
    monkeypatch.setattr(engines, "optional_module", lambda name: SimpleNamespace(Core=lambda: core))
    for precision, hint in (("float32", "f32"), ("bfloat16", "bf16")):
        open_engine(file, "openvino", precision=precision)  # type: ignore[arg-type]
        assert said.pop()["INFERENCE_PRECISION_HINT"] == hint
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(running, "on_engine", lambda *given: asked.append(given[1:]) or trained)
    for usual in ("bfloat16", "float32"):
        monkeypatch.setattr(running, "pick_precision", lambda device, wanted=None, usual=usual: wanted or usual)
        for opened in (OpenConfig(engine="openvino"), OpenConfig(settings="fixed:engine=openvino")):
            assert ready(trained, opened, device=CPU)[1].precision == usual
            assert asked.pop() == ("openvino", CPU, usual, 96)
        for opened in (OpenConfig(engine="onnxruntime"), OpenConfig(settings="fixed:engine=onnxruntime")):
            ready(trained, opened, device=CPU)
            assert asked.pop() == ("onnxruntime", CPU, "float32", 96)
    ready(trained, OpenConfig(engine="openvino", precision="float32"), device=CPU)
    assert asked.pop() == ("openvino", CPU, "float32", 96)


def test_compiled_is_an_engine(trained: TrainedModel) -> None:
    ways = ({}, True), ({"engine": "inductor"}, False), ({"settings": "fixed:engine=inductor"}, False)
    for opened, compile in ways:
        net, settings = ready(trained, OpenConfig(**opened), device=CPU, compile=compile)  # type: ignore[arg-type]
        assert net is trained
        assert settings.engine == "inductor"


@pytest.mark.parametrize("engine", [None, "auto"])
def test_the_fastest_by_times_that_are_given(
    trained: TrainedModel, engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: Any
) -> None:
    written = open_exported(exports("onnx").path)  # as `on_engine` would write it, which takes long
    monkeypatch.setattr(running, "on_engine", lambda *_: written)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(SETTINGS_VARIABLE)
    monkeypatch.setattr(running, "_engines_here", lambda device: ["onnxruntime"])
    seen: list[Mapping[Settings, Any]] = []

    def time_in_turn(runs: Mapping[Settings, Any], *, images: int = 1) -> dict[Settings, list[float]]:
        """The runs are run, and their times made up: onnxruntime is fastest, then contiguous, four images at once."""
        seen.append(runs)
        assert all(isinstance(run(), Tensor) for run in runs.values())
        time = {"onnxruntime": 1.0, "torch": 2.0}
        return {
            each: [time[each.engine] + (each.layout == "channels_last") * (each.engine == "torch") - 0.5 * (images > 1)]
            for each in runs
        }

    monkeypatch.setattr(running, "time_in_turn", time_in_turn)
    opened = OpenConfig(engine=engine, precision=None if engine else "float32")
    net, settings = ready(trained, opened, device=CPU)
    assert (settings.engine, settings.at_once) == ("onnxruntime" if engine else "torch", 4)
    assert net.detector.has_engine is bool(engine)
    assert settings.layout == ("channels_last" if engine else "contiguous")
    assert len(seen) == 2
    assert ready(trained, opened, device=CPU)[1] == settings
    assert len(seen) == 2  # kept
    # one of several processes takes what all take, whatever this machine knows
    opened = OpenConfig(engine=engine, precision="float32")
    assert ready(trained, opened, device=CPU, measure=False)[1] == Settings(at_once=4)
    assert len(seen) == 2


def test_layout_changes_nothing_but_rounding(trained: TrainedModel) -> None:
    for ours, theirs in zip(
        detections(trained), detections(trained, Settings(layout="contiguous", at_once=1)), strict=True
    ):
        same(ours, theirs)


def test_an_engine_that_does_not_take_the_net_is_left_out_of_the_measurement(
    trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise ExportError("the net cannot be written as ONNX")

    monkeypatch.setattr(running, "on_engine", refuse)
    monkeypatch.setattr(running, "time_in_turn", lambda runs, images=1: {each: [1.0] for each in runs})
    timings = time_predictions(trained, ["torch", "onnxruntime"], Settings(), "float32", 32)
    assert {each.engine for each in timings} == {"torch"}
