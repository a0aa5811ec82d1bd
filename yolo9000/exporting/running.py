"""A trained detector made ready on this machine: which engine runs its convolutions, and how.

The convolutions go to the engine as a file without the head; its features feed our own head, which computes the classes
that are read and no others.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.engine_detector import engine_detector
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.formats import write_onnx
from yolo9000.exporting.forms import OUTPUTS, exported_form, size_step, sparse_head
from yolo9000.inference.config import Engine, OpenConfig
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import PreparedDetector, prepare, prepare_with, usual_at_once
from yolo9000.models.model import DetectionModel
from yolo9000.runtime.config import Precision, Settings, fixed_parts, wanted_settings
from yolo9000.runtime.device import pick_precision
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.settings import Timings, fastest, settle, time_in_turn, variants

log = logging.getLogger(__name__)

OF_OTHERS: dict[str, tuple[Precision, ...]] = {"openvino": ("float32", "bfloat16"), "onnxruntime": ("float32",)}
"""Engines that run a file -> the number formats that they can work in."""
WRITERS = ("onnx", "onnxscript")
IMAGES = 4
"""Images that a larger batch is measured with."""


def ready(
    trained: TrainedModel,
    opened: OpenConfig = OpenConfig(),
    *,
    device: torch.device,
    compile: bool = False,
    measure: bool = True,
) -> tuple[TrainedModel, Settings]:
    """A detector with the engine that runs it, and the settings to prepare it with.

    Parameters
    ----------
    trained : TrainedModel
        It stays as it is. An exported one has its engine already.
    opened : OpenConfig
        Its settings, precision, engine and size, for which the times are taken. Without an engine it is torch, whose
        settings are measured on a CPU; "auto" also tries the others that are installed.
    device : torch.device
    compile : bool
        The same as the engine "inductor".
    measure : bool
        Whether anything may be measured here: of several processes all must do the same.

    Returns
    -------
    trained : TrainedModel
    settings : Settings

    Raises
    ------
    EngineAbsent, ExportError
        The engine, or what writes its file, is not installed; or the net cannot be written.
    Mistake
        What is asked for contradicts itself.
    """
    engine, precision = opened.engine, opened.precision
    if compile and engine not in (None, "inductor", "auto"):
        raise Mistake(f"`compile`: is the engine inductor; leave it out, or `engine` {engine}")
    if trained.detector.has_engine:
        return trained, Settings(engine="inductor" if compile or engine == "inductor" else "torch")
    only: Any = "inductor" if compile else None if engine == "auto" else engine or "torch"
    usual = _usual(only or "torch", device, precision)
    engines = [only] if only else ["torch", *_engines_here(device)]
    side = trained.input_size(opened.size)
    measured = measure and device.type == "cpu" and engines not in (["inductor"], ["openvino"], ["onnxruntime"])
    purpose = {
        "for": "prediction",
        "net": _digest(trained.detector),
        "size": side,
        "engines": {name: [_version(name), *OF_OTHERS.get(name, ())] for name in engines},
        "precision": precision,
    }
    chosen = settle(
        opened.settings,
        usual,
        precision=precision,
        purpose=purpose,
        measure=(lambda: time_predictions(trained, engines, usual, precision, side)) if measured else None,
    )
    if chosen.engine in OF_OTHERS:
        fixed = fixed_parts(wanted_settings(opened.settings))
        if fixed and precision is None and not any(part.startswith("precision=") for part in fixed):
            chosen = replace(chosen, precision=_usual(chosen.engine, device, None).precision)  # not torch's
        if chosen.precision not in (formats := OF_OTHERS[chosen.engine]):
            known = " or ".join(formats)
            raise Mistake(f"`precision` {chosen.precision}: {chosen.engine} runs nets in {known} here; leave it out")
        return on_engine(trained, chosen.engine, device, chosen.precision, side), chosen
    return trained, chosen


def _usual(engine: Any, device: torch.device, precision: Precision | None) -> Settings:
    at_once = usual_at_once(device, compile=engine == "inductor")
    usual = pick_precision(device, precision)
    if precision is None and usual not in OF_OTHERS.get(engine, (usual,)):
        usual = "float32"
    return Settings(engine=engine, precision=usual, at_once=at_once)


def _engines_here(device: torch.device) -> list[str]:
    """The engines besides torch that can run on this machine; on a GPU those that use it."""
    found = ["inductor"] if device.type != "cpu" or shutil.which("g++") or shutil.which("clang++") else []
    if device.type == "cpu" and all(map(_is_installed, WRITERS)):
        found += [name for name in OF_OTHERS if _is_installed(name)]
    return found


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _version(engine: str) -> str:
    package = engine if engine in OF_OTHERS else "torch"
    return importlib.metadata.version(package) if _is_installed(package) else ""


def _digest(detector: DetectionModel) -> str:
    """Tells the form of a net from all others; its weights do not change how fast it is."""
    shapes = {name: list(value.shape) for name, value in detector.state_dict().items()}
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16]


def on_engine(
    trained: TrainedModel,
    engine: Engine,
    device: torch.device | None = None,
    precision: Precision = "float32",
    size: int | None = None,
) -> TrainedModel:
    """A detector whose convolutions an engine runs, and whose head, if it reads single classes, is ours.

    Parameters
    ----------
    trained : TrainedModel
    engine : {"openvino", "onnxruntime"}
    device : torch.device, optional
        Where the head works; engines run on the CPU.
    precision : str
        Number format of the convolutions, one of the engine's `OF_OTHERS`. The head works in float32.
    size : int, optional
        Side of the input, for a net whose file takes no other; that of the training by default.

    Returns
    -------
    TrainedModel

    Raises
    ------
    EngineAbsent
        The engine or the writer of its file is not installed; the message names the extra.
    ExportError
        The net cannot be written as ONNX.
    """
    optional_module(engine)  # before seconds go into writing
    detector, cpu = trained.detector, torch.device("cpu")
    log.info("%s: its convolutions are written for %s", trained.path, engine)
    net = prepare(detector, device=cpu, layout="contiguous").net
    assert isinstance(net, DetectionModel)
    head = sparse_head(net)
    form: Any = "raw" if head is None else "features"
    side, multiple = trained.input_size(size), size_step(detector)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "net.onnx"
        write_onnx(
            exported_form(net, form, DecodeConfig()),
            file,
            size=side,
            outputs=OUTPUTS[form],
            multiple=multiple,
        )
        opened = open_engine(file, engine, precision=precision)
    opened.file = trained.path  # which messages name
    running = engine_detector(
        trained.spec,
        opened,
        form,
        detector.description,
        stride=detector.stride,
        only_size=None if multiple else side,
        decode=DecodeConfig(),
        head=head,
    )
    return replace(trained, model=running.to(device or cpu).eval().requires_grad_(False))


def time_predictions(
    trained: TrainedModel, engines: list[str], usual: Settings, precision: Precision | None, size: int
) -> Timings:
    """Seconds for an image, of each engine and of torch's settings: layouts and number formats, then images at once.

    Parameters
    ----------
    trained : TrainedModel
    engines : list of str
    usual : Settings
    precision : str, optional
        The only number format.
    size : int
        Side of the input.
    """
    log.info("%s: trying settings once; --settings unmeasured leaves it out", trained.path)
    cpu = torch.device("cpu")
    images = torch.rand(IMAGES, 3, size, size, generator=torch.Generator().manual_seed(0))
    nets: dict[Settings, PreparedDetector] = {}
    for engine in engines:
        if engine in OF_OTHERS:
            own = _usual(engine, cpu, None)
            for each in dict.fromkeys([own.precision, "float32"]):
                if precision in (None, each):
                    try:
                        running = on_engine(trained, engine, None, each, size).detector  # type: ignore[arg-type]
                    except ExportError as error:  # a net that it does not take is run by torch
                        log.info("%s: not run by %s: %s", trained.path, engine, error)
                        break
                    settings = replace(own, precision=each, at_once=1)
                    nets[settings] = prepare(running, device=cpu, at_once=1)
        elif engine == "inductor":
            settings = _usual(engine, cpu, precision)
            nets[settings] = prepare_with(trained.detector, settings, device=cpu)
        else:
            formats: Any = [precision] if precision else sorted({usual.precision, "float32"})
            for settings in variants(replace(usual, at_once=1), formats):
                nets[settings] = prepare_with(trained.detector, settings, device=cpu)
    timings = time_in_turn({settings: _run(net, images[:1]) for settings, net in nets.items()})
    winner = fastest(timings, replace(usual, at_once=1))
    if winner.engine == "inductor":  # another batch would be compiled for a minute
        return timings
    several = replace(winner, at_once=IMAGES)
    net = nets[winner]
    net.images_at_once = IMAGES
    return timings | time_in_turn({several: _run(net, images)}, images=IMAGES)


def _run(net: PreparedDetector, images: Tensor) -> Callable[[], Tensor]:
    return lambda: net(images).objectness  # with what of the head is read for every box
