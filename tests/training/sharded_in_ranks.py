"""What the tests of spread class rows run in each process: a small net over a tree of many groups, joint batches."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wordtree import WordTree
from yolo9000.datasets.loader import shares
from yolo9000.datasets.sample import Target
from yolo9000.detection.config import find_recipe
from yolo9000.detection.loss import joint_loss
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.gradients import Backward, gradients_for
from yolo9000.training.loop import _Training, train
from yolo9000.training.objectives import detection_objective
from yolo9000.training.phases import ImageBatch, Phase
from yolo9000.training.sharding import shard_rows

CPU = torch.device("cpu")
# 3 top nodes; groups of 4, 2, 1, 5, 3 and 2 below them, of up to four levels; a group of one has a rest alternative
PARENTS = (-1, -1, -1, 0, 0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 3, 9, 9, 9, 10, 10)
TREE = WordTree(
    tuple(f"n{node}" for node in range(len(PARENTS))),
    tuple(f"node {node}" for node in range(len(PARENTS))),
    PARENTS,
    rest="only_child",
)
LABELLED = torch.tensor([4, 7, 11])  # by a source that labels nothing else


@dataclass(frozen=True)
class Images:
    images: Tensor
    targets: Sequence[Target]


def batches(size: int, processes: Processes, *, deepest: int = 19) -> Callable[[int], Iterator[ImageBatch]]:
    """Images with boxes, some of a source that labels a part, with none, with a label, and mosaics with two of them."""

    def target(number: int, place: int, generator: torch.Generator) -> Target:
        boxes = torch.rand(3, 4, generator=generator) * 0.5 + 0.25
        labels = torch.randint(deepest + 1, (3,), generator=generator)
        match (place + number) % 5:
            case 0:
                return Target.of_image(int(labels[0]))
            case 1:
                halves = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])
                return Target(boxes[:0], labels[:0], areas_cxcywh=halves, area_labels=labels[:2])
            case 2:
                return Target(boxes, LABELLED[labels % 3], labelled_nodes=LABELLED)
            case 3:
                return Target(boxes[:2].expand(2, 4)[[0, 0]], labels[:2])  # two truths of one box
            case _:
                return Target(boxes[:0], labels[:0])

    def own(first: int) -> Iterator[ImageBatch]:
        for number in count(first):
            generator = torch.Generator().manual_seed(number)
            images = torch.rand(size, 3, 64, 64, generator=generator)
            targets = [target(number, place, generator) for place in range(size)]
            mine = shares(size, processes.world_size)[processes.rank]
            yield Images(images[mine.start : mine.stop], targets[mine.start : mine.stop])

    return own


def detector(*, share_rows: bool = False, exact: bool = True) -> Detector:
    """A small net. An exact one computes in float64 and has no batch norm, which would round to float32.

    What rounding turns over, such as the box that is picked, stays as it is in an exact one.
    """
    region = RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=TreeClasses(TREE))
    torch.manual_seed(0)
    model = Detector(DetectorConfig(width=0.05, share_class_rows=share_rows, batch_norm=not exact), region)
    if exact:
        with torch.no_grad():  # larger than at a start, so that P(label) tells boxes apart
            model.head.class_weight.mul_(30)
            model.head.class_bias.normal_()
            model.head.box_weight.mul_(10)
        model.double()
    return model


def one_gradient(
    processes: Processes,
    *,
    batch_size: int = 10,
    accumulate: int = 1,
    share_rows: bool = False,
    recipe: str = "mil",
    deepest: int = 19,
    offsets: bool = False,
    exact: bool = True,
) -> dict[str, Any]:
    """Terms and the whole gradient of one update, the same on each rank, and what each rank holds of the rows."""
    config = TrainConfig(
        batch_size=batch_size, accumulate=accumulate, shard_classes=True, shared_batch_norm="synchronised"
    )
    model = detector(share_rows=share_rows, exact=exact)
    whole = {name: each.shape for name, each in model.named_parameters()}
    sharded = shard_rows(model, config, processes)
    truth_offsets = torch.linspace(-1, 1, len(TREE)) if offsets else None
    maker = gradients_for(
        Backward(
            model=model,
            forward=model,
            loss=detection_objective(model.region, find_recipe(recipe), truth_offsets),
            config=config,
            device=CPU,
            precision="float32",
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            processes=processes,
        )
    )
    model.train()
    data = batches(batch_size // accumulate, processes, deepest=deepest)(0)
    terms: dict[str, float] = {}
    for part in range(1, accumulate + 1):
        batch = next(data)
        for found, _ in maker.add(
            batch.images.to(model.head.box_weight.dtype), batch.targets, 8, last=part == accumulate
        ):
            terms = {name: terms.get(name, 0.0) + float(value.detach()) for name, value in found.items()}
    maker.finish()
    maker.close()
    grads = {name: each.grad for name, each in model.named_parameters()}
    norm = nn.utils.get_total_norm(list(grads.values())) if sharded is None else sharded.total_norm(model)
    held = {name: len(each) for name, each in model.named_parameters() if "class" in name}
    if sharded is not None:
        for name, shard in sharded.names.items():
            grads[name] = sharded._gather(grads[name], shard)
    assert {name: each.shape for name, each in grads.items()} == whole
    return {"terms": terms, "gradient": grads, "norm": float(norm), "held": held, "sent": dict(processes.sent)}


def gradients(processes: Processes, *, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`one_gradient` of several cases."""
    found = []
    for case in cases:
        processes.sent.clear()
        found.append(one_gradient(processes, **case))
    return found


def held_numbers(model: Detector) -> dict[str, int]:
    """How many numbers of class rows a process has in its net, its average and its optimiser while it trains."""
    training = next(each for each in gc.get_objects() if type(each) is _Training and each.phase.model is model)
    average, optimizer = training.average, training.optimizer
    assert average is not None
    kept = optimizer.state[model.head.class_weight]
    return {
        "net": model.head.class_weight.numel(),
        "average": average.model.head.class_weight.numel(),
        "optimiser": sum(value.numel() for value in kept.values() if value.dim() > 0),
    }


def held_out_loss(model: nn.Module) -> dict[str, float]:
    """What an evaluation in a training does: one process alone asks a whole net."""
    assert model.head.shard is None
    batch = next(batches(5, Processes())(1000))
    terms = joint_loss(model(batch.images.double()), batch.targets, model.region, images_seen=10**6)
    return {"ap50": -float(torch.stack(list(terms.values())).sum())}


def run(
    processes: Processes,
    *,
    folder: str,
    steps: int | dict[str, int],
    optimizer: str = "sgd",
    gradient_clip: float = 0.0,
    poisoned: int = -1,
    **config: Any,
) -> dict[str, Any]:
    """What a training has come to, which goes on with what is in the folder.

    `steps` may be other ones for each number of processes. The batch `poisoned` has an image that is no number.
    """
    train_config = TrainConfig(
        **{"batch_size": 7, "ema_decay": 0.9, "log_every": 2, "save_every": 0, "shard_classes": True} | config
    )
    run = RunFolder(Path(folder.format(size=processes.world_size)))
    run.path.mkdir(parents=True, exist_ok=True)
    model = detector()
    held: dict[str, int] = {}

    def data(first: int) -> Iterator[ImageBatch]:
        for number, batch in enumerate(batches(train_config.batch_size, processes)(first), first):
            if number == first + 1:
                held.update(held_numbers(model))
            is_bad = number == poisoned and processes.rank == 0
            yield Images(batch.images.double() * (float("nan") if is_bad else 1.0), batch.targets)

    phase = Phase(
        name="joint",
        steps=steps if isinstance(steps, int) else steps[str(processes.world_size)],
        model=model,
        loss=detection_objective(model.region),
        batches=data,
        optimiser=OptimiserConfig(
            learning_rate=1e-3,
            burn_in=2,
            momentum=0.9,
            schedule="constant",
            optimizer=optimizer,
            gradient_clip=gradient_clip,
        ),
        evaluate=held_out_loss,
    )
    resume = run.last.exists()
    if processes.world_size > 1:
        dist.barrier()
    train([phase], train_config, run, device=CPU, processes=processes, resume=resume)
    if processes.world_size > 1:
        dist.barrier()
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "whole": model.head.shard is None and len(model.head.class_weight) == 2 * len(TREE),
        "held": held,
    }


def runs(processes: Processes, *, folder: str, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`run` of several cases, in a folder each."""
    return {name: run(processes, folder=f"{folder}/{name}/{{size}}", **case) for name, case in cases.items()}


def resumed(processes: Processes, *, folder: str, steps: dict[str, int], whole: int) -> dict[str, Any]:
    """Go on with one run, in which so many processes keep all rows; and one process alone does all of it at once."""
    if processes.world_size == 1:
        run(processes, folder=f"{folder}/alone", steps=max(steps.values()))
    return run(processes, folder=f"{folder}/changed", steps=steps, shard_classes=processes.world_size != whole)
