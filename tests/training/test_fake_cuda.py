"""Net, loss and backward on fake GPU tensors: a tensor on the wrong device, or a value read by the host, fails here.

No GPU is needed: FakeTensorMode follows shapes and devices only. What would make the host wait for a GPU (`.item()`,
boolean indexing, `nonzero`) needs a value, and there is none.

A torch that was built with CUDA refuses a backward pass of CUDA tensors on a machine without a GPU, fake or not
(pytorch issue 92627). There the backward pass runs on "lazy:0" instead, a device type that needs no driver: tensors
that belong together must still be on one device, and there are no values either.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.detection import yolov1_loss
from yolo9000.models import (
    BoxCoding,
    Classifier,
    Detector,
    DetectorConfig,
    FlatClasses,
    GridSpec,
    RegionSpec,
    TreeClasses,
    Yolov1,
)
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.objectives import classification_objective, detection_objective
from yolo9000.training.optimiser import build_optimizer
from yolo9000.training.tally import LossTally

TREE = WordTree(
    ("a", "v", "d", "c", "k", "p"),
    ("animal", "vehicle", "dog", "cat", "car", "poodle"),
    (-1, -1, 0, 0, 1, 2),
    rest="only_child",
)
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=TreeClasses(TREE))
FORM = DetectorConfig(width=0.05, stride=32, passthrough=True)
GRID = GridSpec(classes=FlatClasses(6, "linear", map=(0, 1, 2, 3, 4, 5)), square_root=False)
GRID_FORM = DetectorConfig(width=0.05, stride=32, head="connected")
BACKWARD_ON_CUDA = torch.cuda.is_available() or not torch.backends.cuda.is_built()


@pytest.fixture(params=["cuda", "lazy:0"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("fake_cuda")
    return str(request.param)


def targets() -> list[Target]:
    """Two truths, none, one beside an ignored region; an image label, two labelled areas. As a loader gives them."""
    return [
        Target(torch.tensor([[0.5, 0.5, 0.2, 0.3], [0.2, 0.2, 0.1, 0.1]]), torch.tensor([5, 3])),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
        Target(
            torch.tensor([[0.7, 0.5, 0.2, 0.3]]),
            torch.tensor([4]),
            ignore_boxes_cxcywh=torch.tensor([[0.1, 0.1, 0.2, 0.2]]),
        ),
        Target.of_image(2),
        Target(
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.int64),
            areas_cxcywh=torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]]),
            area_labels=torch.tensor([3, 5]),
        ),
    ]


def on(device: str, make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device(device):
        return make()


def backward(loss: torch.Tensor, model: nn.Module) -> None:
    device = loss.device.type
    if device == "cuda" and not BACKWARD_ON_CUDA:
        return
    loss.backward()
    assert {parameter.grad.device.type for parameter in model.parameters() if parameter.grad is not None} == {device}


@pytest.mark.parametrize("recipe", ["paper", "darknet", "overlap"])
def test_net_joint_loss_and_backward(recipe: str, device: str) -> None:
    with FakeTensorMode():
        model = on(device, lambda: Detector(FORM, REGION))
        output = model(torch.empty(5, 3, 64, 64, device=device))
        terms = detection_objective(REGION, recipe)(output, targets(), 64)
        assert {term.device.type for term in terms.values()} == {torch.device(device).type}
        backward(torch.stack(list(terms.values())).sum(), model)


@pytest.mark.parametrize("form", ["paper", "darknet"])
def test_net_yolov1_loss_and_backward(form: Literal["paper", "darknet"], device: str) -> None:
    with FakeTensorMode():
        model = on(device, lambda: Yolov1(GRID_FORM, GRID, size=64))
        terms = yolov1_loss(model(torch.empty(3, 3, 64, 64, device=device)), targets()[:3], GRID, form=form)
        assert {term.device.type for term in terms.values()} == {torch.device(device).type}
        backward(torch.stack(list(terms.values())).sum(), model)


def test_classifier_and_backward(device: str) -> None:
    with FakeTensorMode():
        model = on(device, lambda: Classifier(FORM, REGION.classes))
        images = torch.empty(2, 3, 64, 64, device=device)
        terms = classification_objective(REGION.classes)(model(images), [Target.of_image(5)] * 2, 2)
        backward(terms["label"], model)


def test_a_step_waits_for_nothing(device: str) -> None:
    with FakeTensorMode():
        model = on(device, lambda: Detector(FORM, REGION))
        optimizer = build_optimizer(model, OptimiserConfig())
        tally = LossTally()
        objective = detection_objective(REGION, truth_offsets=torch.zeros(REGION.classes.number))  # made on the host
        terms = objective(model(torch.empty(5, 3, 64, 64, device=device)), targets(), 64)
        backward(torch.stack(list(terms.values())).sum(), model)
        if device != "cuda" or BACKWARD_ON_CUDA:
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            terms = {**terms, "gradient": norm}
        optimizer.step()
        tally.add(terms, 5)
        with pytest.raises(DataDependentOutputException):
            tally.read()  # the one place that reads: every so many steps


class WaitingCopies(TorchDispatchMode):
    """Notes where a tensor of the host is copied to a GPU in a way that waits for all that the GPU still has to do."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        told: Mapping[str, Any] = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu" and not told.get("non_blocking"):
            ours = [frame.name for frame in traceback.extract_stack()[:-1] if "torch" not in frame.filename]
            # a tree's tables are built once and kept; only fake ones are not
            if torch.device(told.get("device") or "cpu").type == "cuda" and "tree_tables" not in ours:
                self.found.append(ours[-1])
        return func(*args, **told)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("images_seen", [64, 64_000])
def test_no_copy_to_the_gpu_makes_the_host_wait(images_seen: int) -> None:
    with FakeTensorMode():
        output = on("cuda", lambda: Detector(FORM, REGION))(torch.empty(5, 3, 64, 64, device="cuda"))
        grid = on("cuda", lambda: Yolov1(GRID_FORM, GRID, size=64))(torch.empty(3, 3, 64, 64, device="cuda"))
        with WaitingCopies() as copies:
            detection_objective(REGION)(output, targets(), images_seen)
            classification_objective(REGION.classes)(
                torch.empty(1, 6, device="cuda"), [Target.of_image(5)], images_seen
            )
            yolov1_loss(grid, targets()[:3], GRID, form="paper")
            assert copies.found == []
            torch.tensor([1.0], device="cuda")
        assert len(copies.found) == 1  # it would notice


def test_the_test_would_notice(device: str) -> None:
    with FakeTensorMode():
        scores = torch.empty(4, device=device)
        with pytest.raises(DataDependentOutputException):
            scores.max().item()
        with pytest.raises(RuntimeError, match="devices"):
            scores + torch.empty(4)
