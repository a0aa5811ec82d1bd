"""Net, head and loss are one graph, forward and backward: nothing on the way asks the host for a value.

A value that the host reads (`.item()`, a shape that depends on data, a Python branch on a tensor) breaks a graph, and
``fullgraph=True`` makes that an error. On a GPU it would make the host wait.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from wordtree import load_tree
from yolo9000.datasets.sample import Target
from yolo9000.detection.config import RECIPES
from yolo9000.detection.loss import packed_loss
from yolo9000.detection.targets import PackedTargets, pack_targets
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses

TREE = load_tree("coco")
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=TreeClasses(TREE))


def packed_batch(rng: int) -> PackedTargets:
    """Truths (two of them at one box), none, ignored areas and a partly labelled source; an image label, a mosaic."""
    torch.manual_seed(rng)
    labels = torch.randint(0, len(TREE), (6,))
    nowhere = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    targets = [
        Target(torch.tensor([[0.5, 0.5, 0.2, 0.3]] * 2), labels[:2], labelled_nodes=torch.tensor([3, 40])),
        Target(*nowhere, ignore_boxes_cxcywh=torch.tensor([[0.1, 0.1, 0.2, 0.2]])),
        Target(torch.rand(3, 4) * 0.5 + 0.25, labels[:3]),
        Target.of_image(int(labels[4])),
        Target(*nowhere, areas_cxcywh=torch.rand(2, 4) * 0.5 + 0.25, area_labels=labels[4:]),
    ]
    return pack_targets(targets, REGION, torch.device("cpu"))


def in_precision(packed: PackedTargets, dtype: torch.dtype) -> PackedTargets:
    tensors = {name: value for name, value in vars(packed).items() if isinstance(value, torch.Tensor)}
    return dataclasses.replace(
        packed, **{name: value.to(dtype) for name, value in tensors.items() if value.is_floating_point()}
    )


def tracer_follows_dataclasses() -> bool:
    """Torch 2.6 and 2.7 do not; `train --compile` compiles the net alone, which needs less."""

    def merged(x: torch.Tensor) -> torch.Tensor:
        return ({} | vars(Wrapped(x)))["value"] * 2

    try:
        torch.compile(merged, fullgraph=True, backend="aot_eager")(torch.ones(1))
    except torch._dynamo.exc.Unsupported:
        return False
    return True


@dataclasses.dataclass(frozen=True)
class Wrapped:
    value: torch.Tensor


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize(
    ("recipe", "shared"),
    [
        ("mil", False),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("overlap", True),
                ("paper", False),
                ("darknet", False),
                ("objectness", False),
                ("constant", False),
            )
        ),
    ],
)
def test_net_and_joint_loss_are_one_graph(recipe: str, shared: bool, dtype: torch.dtype, tolerance: float) -> None:
    """The graph gives what the plain functions give: in float64 all but exactly, in float32 as far as it rounds.

    The graph adds up gradients in another order. In float32 that moves them by 3e-6 of a tensor's largest one, and by
    more of a small one beside it; both ways are ten times as far from float64, where they agree to 1e-14.
    """
    if not tracer_follows_dataclasses():
        pytest.skip(f"torch {torch.__version__} traces neither `vars` of a dataclass nor `dict | dict`")
    torch.compiler.reset()
    torch.manual_seed(0)
    model = Detector(DetectorConfig(width=0.05, share_class_rows=shared), REGION).to(dtype)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter)

    def loss(images: torch.Tensor, packed: PackedTargets) -> torch.Tensor:
        terms = packed_loss(model(images), packed, REGION, pull=True, recipe=RECIPES[recipe])
        return torch.stack(list(terms.values()))

    packed, images = in_precision(packed_batch(1), dtype), torch.rand(5, 3, 64, 64).to(dtype)
    answers = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        terms = function(images, packed)
        terms.sum().backward()
        answers.append((terms.detach(), [parameter.grad for parameter in model.parameters()]))
    torch.testing.assert_close(answers[0][0], answers[1][0], rtol=tolerance, atol=tolerance)
    for one, two in zip(answers[0][1], answers[1][1], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=tolerance * float(one.abs().max()))


def test_a_value_read_by_the_host_would_be_noticed() -> None:
    def reads(packed: PackedTargets) -> torch.Tensor:
        return packed.labels * (2.0 if packed.labels.sum().item() > 0 else 1.0)

    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        torch.compile(reads, fullgraph=True, backend="aot_eager")(dataclasses.replace(packed_batch(1)))
