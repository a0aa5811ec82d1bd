"""What the tests of several processes run in each of them: a small net over a tree, and batches by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wordtree import WordTree
from yolo9000.datasets.loader import PositionSampler
from yolo9000.datasets.sample import Target
from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.gradients import Backward, gradients_for
from yolo9000.training.loop import train
from yolo9000.training.objectives import detection_objective
from yolo9000.training.phases import ImageBatch, Phase

CPU = torch.device("cpu")
TREE = WordTree(("a", "v", "d", "c"), ("animal", "vehicle", "dog", "cat"), (-1, -1, 0, 0))


@dataclass(frozen=True)
class Images:
    images: Tensor
    targets: Sequence[Target]


def batches(config: TrainConfig, processes: Processes) -> Callable[[int], Iterator[ImageBatch]]:
    """Images with boxes, with none at all, and with a label; which is which goes round from batch to batch."""

    def own(first: int) -> Iterator[ImageBatch]:
        part = config.batch_size // config.accumulate
        for number in count(first):
            generator = torch.Generator().manual_seed(number)
            images = torch.rand(part, 3, 64, 64, generator=generator)
            boxes = torch.rand(part, 2, 4, generator=generator) * 0.5 + 0.25
            targets = [
                Target.of_image(2 + place % 2)
                if (place + number) % 3 == 1
                else Target(boxes[place][: place % 3], torch.tensor([3, 1])[: place % 3])
                for place in range(part)
            ]
            sampler = PositionSampler(
                part, rank=processes.rank, world_size=processes.world_size, shards=config.exact or None
            )
            yield Images(images[sampler.own.start : sampler.own.stop], targets[sampler.own.start : sampler.own.stop])

    return own


def region(flat: bool = False) -> RegionSpec:
    return RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=FlatClasses(4) if flat else TreeClasses(TREE))


def drop_features(head: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Dropout before a head."""
    return (torch.nn.functional.dropout(inputs[0], training=head.training), *inputs[1:])


def one_gradient(
    processes: Processes, *, share_rows: bool = True, dropout: bool = False, **config: Any
) -> dict[str, Any]:
    """Terms and gradient of one update, the same on each rank."""
    train_config = TrainConfig(**config)
    torch.manual_seed(0)
    model = Detector(DetectorConfig(width=0.05, share_class_rows=share_rows), region())
    if dropout:
        model.head.register_forward_pre_hook(drop_features)
    before = dict(model.named_parameters())["head.class_weight"].detach().clone()
    gradients = gradients_for(
        Backward(
            model=model,
            forward=model,
            loss=detection_objective(region()),
            config=train_config,
            device=CPU,
            precision="float32",
            scaler=torch.amp.GradScaler("cpu", enabled=False),
            processes=processes,
        )
    )
    model.train()
    data = batches(train_config, processes)(0)
    terms = torch.zeros(())
    for part in range(1, train_config.accumulate + 1):
        batch, last = next(data), part == train_config.accumulate
        for found, _ in gradients.add(batch.images, batch.targets, 8, last=last, draw=(0, 1, part)):
            terms = terms + torch.stack(list(found.values())).sum().detach()
    gradients.finish()
    gradients.close()
    assert model.head.factors is None
    assert torch.equal(model.head.class_weight, before)
    return {
        "loss": float(terms),
        "gradient": {name: each.grad for name, each in model.named_parameters()},
        "buffers": dict(model.named_buffers()),
        "sent": dict(processes.sent),
    }


def run(
    processes: Processes, *, folder: str, steps: int | dict[str, int], stops: Sequence[int] = (), **config: Any
) -> str:
    """The hash of what a training has come to, which goes on with what is in the folder.

    `steps` may be other ones for each number of processes.
    """
    train_config = TrainConfig(ema_decay=0.9, log_every=3, save_every=0, **config)
    run = RunFolder(Path(folder.format(size=processes.world_size)))
    run.path.mkdir(parents=True, exist_ok=True)
    for stop in [*stops, None]:
        if processes.world_size > 1:
            dist.barrier()  # the first one has written what all are to read
        torch.manual_seed(processes.rank)  # rank 0's weights are those of all
        model = Detector(DetectorConfig(width=0.05), region())
        phase = Phase(
            name="boxes",
            steps=steps if isinstance(steps, int) else steps[str(processes.world_size)],
            model=model,
            loss=detection_objective(region()),
            batches=batches(train_config, processes),
            optimiser=OptimiserConfig(learning_rate=1e-3, burn_in=2, momentum=0.9, schedule="constant"),
        )
        resume = run.last.exists()
        if processes.world_size > 1:
            dist.barrier()
        train([phase], train_config, run, device=CPU, processes=processes, resume=resume, stop_after=stop)
    return digest(load_checkpoint(run.last)) if processes.is_first else ""


def digest(content: Any) -> str:
    found = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Tensor):
            found.update(value.numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                found.update(str(key).encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for each in value:
                feed(each)
        else:
            found.update(repr(value).encode())

    feed({key: content[key] for key in ("model", "average", "optimizer", "position")})
    return found.hexdigest()
