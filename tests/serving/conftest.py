"""A server of a small run, asked without a network."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.inference.model import load_detector
from yolo9000.inference.predictor import Predictor
from yolo9000.inference.restrict import restrict
from yolo9000.runtime.run_folder import RunFolder

MakeApp = Callable[..., Any]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def png() -> bytes:
    """A photo of noise, 48 x 40."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    return encoded(Image.fromarray(pixels))


@pytest.fixture
def predictor(run: RunFolder, request: pytest.FixtureRequest) -> Predictor:
    """An untrained detector; its boxes are sure enough to be shown. The parameter names the only classes to find."""
    trained = load_detector(run.path)
    torch.manual_seed(3)
    for _, bias in trained.detector.head.dense_rows():
        if bias is not None:
            bias.data.normal_(0, 1.5)
    if only := getattr(request, "param", None):
        trained = restrict(trained, only)
    return Predictor(trained, device=torch.device("cpu"))


@pytest.fixture
def make_app(predictor: Predictor) -> MakeApp:
    """Limits -> the web app of the run with these limits. What its training facts say can be replaced."""
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from yolo9000.serving.app import create_app
    from yolo9000.serving.config import Limits
    from yolo9000.serving.explorer import Explorer
    from yolo9000.serving.guard import LOCAL
    from yolo9000.serving.photos import Photos
    from yolo9000.serving.training_facts import facts_of

    def make(*, facts: Mapping[str, Any] | None = None, **limits: Any) -> Any:
        photos = Photos(predictor, Limits(**limits))
        trained = predictor.trained
        assert trained.classes.tree is not None
        said = dataclasses.replace(facts_of(trained), **(facts or {}))
        return create_app(Explorer(trained.classes.tree, said), photos, hosts=LOCAL)

    return make
