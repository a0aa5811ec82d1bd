"""How the gradient of an update is made: in one process, over several, or to the same bits by any number of them.

Several processes share a batch, and their gradients are summed while the backward pass goes on, bucket after bucket
(torch's `DistributedDataParallel`). The class rows are not among these: a step reads few of them, and what their
gradient is made of is sent in place of it, see `yolo9000.training.factors`. Where they are spread over the processes,
each one makes the whole gradient of its own, see `yolo9000.models.class_shards`.

In exact mode the batch is cut into shards that do not depend on the number of processes. Each shard has a gradient of
its own, whoever computes it, and they are added up in the order of the shards.

Layers that draw random numbers (dropout, random crops, drop-path) are seeded anew for each forward pass, by numbers
that say which pass it is. So a run that is resumed draws what a whole one does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from yolo9000.datasets.loader import shares
from yolo9000.models.late_gradient import Product
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast
from yolo9000.runtime.distributed import Processes, average_buffers, broadcast_model, gather_tensors
from yolo9000.training.batch_norm import separate, synchronise
from yolo9000.training.config import TrainConfig
from yolo9000.training.factors import gather_products, sum_table, tables_of
from yolo9000.training.phases import Loss

Terms = list[tuple[dict[str, Tensor], int]]
"""Terms of the loss, each summed over so many images."""
BUCKET = 1 << 22
"""So many numbers are summed at once in exact mode; more would need more memory."""


@dataclass(frozen=True, kw_only=True)
class Backward:
    """What all ways of making a gradient have in common: one forward and backward pass.

    Parameters
    ----------
    model : nn.Module
    forward : callable
        The model, or the same compiled.
    loss : callable
        See `yolo9000.training.phases.Loss`.
    config : TrainConfig
    device : torch.device
    precision : Precision
    scaler : torch.amp.GradScaler
    processes : Processes
    """

    model: nn.Module
    forward: Callable[[Tensor], Any]
    loss: Loss
    config: TrainConfig
    device: torch.device
    precision: Precision
    scaler: torch.amp.GradScaler
    processes: Processes

    def terms(self, images: Tensor, targets: Sequence[Any], images_seen: int) -> dict[str, Tensor]:
        """Forward pass and loss."""
        with autocast(self.device, self.precision):
            output = self.forward(images)
        return self.loss(output, targets, images_seen)

    def backward(self, terms: dict[str, Tensor]) -> None:
        """Add the gradient of the mean over the whole batch to what the weights have."""
        total = torch.stack(list(terms.values())).sum() / self.config.batch_size
        self.scaler.scale(total).backward()


def seed_random_layers(*numbers: int) -> None:
    """Have random layers draw from here on what follows from these numbers alone.

    Examples
    --------
    >>> drop = nn.Dropout()
    >>> seed_random_layers(0, 3, 1)
    >>> first = drop(torch.ones(64))
    >>> seed_random_layers(0, 3, 1)
    >>> torch.equal(first, drop(torch.ones(64)))
    True
    """
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


class Gradients:
    """The gradient of one process that trains alone.

    Parameters
    ----------
    step : Backward
    """

    def __init__(self, step: Backward) -> None:
        self.step = step

    def add(
        self, images: Tensor, targets: Sequence[Any], images_seen: int, *, last: bool, draw: tuple[int, ...] = ()
    ) -> Terms:
        """Add the gradient of a part of an update's images, this process's share of them.

        Parameters
        ----------
        images : Tensor (B, 3, S, S)
        targets : sequence
            One for each image.
        images_seen : int
        last : bool
            Whether it is the last part of the update.
        draw : tuple of int
            Which part of the run it is. What random layers draw follows from it, and from the process, or in exact
            mode from the shard.
        """
        seed_random_layers(*draw, self.step.processes.rank)
        terms = self.step.terms(images, targets, images_seen)
        self.step.backward(terms)
        return [(terms, len(targets))]

    def finish(self) -> None:
        """After it the weights of every process have the gradient of the whole update."""

    def close(self) -> None:
        """Leave the model as it was before."""


class SharedGradients(Gradients):
    """Gradients that several processes sum while they are made.

    Parameters
    ----------
    step : Backward
    """

    def __init__(self, step: Backward) -> None:
        super().__init__(step)
        self._tables = tables_of(step.model)
        own = {id(table.weight) for table in self._tables}
        for module in step.model.modules():
            if isinstance(module, TreeHead) and module.shard is not None:
                own |= {id(module.class_weight), id(module.class_bias)}
        if step.config.shared_batch_norm == "synchronised":
            synchronise(step.model, step.processes)
        net = _NetAndLoss(step)
        ignored = [name for name, each in net.named_parameters() if id(each) in own]
        ignored += [name for name, _ in net.named_buffers()]  # `finish` sees to them
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(net, ignored)
        # Without a search for unused parameters torch would build its buckets anew after the first step, in an order
        # of which a resumed run knows nothing: three processes and more would then add up in another order.
        self._replicas = DistributedDataParallel(net, find_unused_parameters=True)
        self._replicas.register_comm_hook(step.processes, _sum_bucket)

    def add(
        self, images: Tensor, targets: Sequence[Any], images_seen: int, *, last: bool, draw: tuple[int, ...] = ()
    ) -> Terms:
        seed_random_layers(*draw, self.step.processes.rank)
        with contextlib.nullcontext() if last else self._replicas.no_sync():
            terms = self._replicas(images, targets, images_seen)
            self.step.backward(terms)
        return [(terms, len(targets))]

    def finish(self) -> None:
        processes, model = self.step.processes, self.step.model
        for table in self._tables:
            sum_table(table, processes)
        match self.step.config.shared_batch_norm:
            case "averaged":
                average_buffers(model.buffers(), processes)
            case "first":
                broadcast_model(model.buffers(), processes)
            case "synchronised":
                pass  # all have computed the same

    def close(self) -> None:
        for table in self._tables:
            table.release()
        separate(self.step.model)


class _NetAndLoss(nn.Module):
    """Images and targets -> terms. So all processes' losses are inside, whatever the net answers with."""

    def __init__(self, step: Backward) -> None:
        super().__init__()
        self.model = step.model
        self._terms = step.terms
        self.unused = nn.Parameter(torch.zeros(1, device=step.device))
        """torch warns in each process, at each start, where it finds no parameter unused."""

    def forward(self, images: Tensor, targets: Sequence[Any], images_seen: int) -> dict[str, Tensor]:
        return self._terms(images, targets, images_seen)


def _sum_bucket(processes: Processes, bucket: Any) -> torch.futures.Future[Tensor]:
    """Sum, where torch would take the mean: the loss is divided by the whole batch already."""
    processes.count("gradients", bucket.buffer())
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    future: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return future


_sum_bucket.__annotations__ = {}  # torch looks at them, and does not know that they may be texts


class ExactGradients(Gradients):
    """Gradients that have the same bits for any number of processes, and each as many shards as it computes.

    A batch norm normalises over the images of a shard; its statistics are the mean of the shards'.

    Parameters
    ----------
    step : Backward
    """

    def __init__(self, step: Backward) -> None:
        super().__init__(step)
        config, processes = step.config, step.processes
        of_ranks = shares(config.exact, processes.world_size)
        self._most = max(map(len, of_ranks))
        self._counts = [len(own) for own in of_ranks]
        images = shares(config.batch_size // config.accumulate, config.exact)
        self._own = of_ranks[processes.rank]
        own = [images[shard] for shard in self._own]
        self._places = [slice(part.start - own[0].start, part.stop - own[0].start) for part in own]
        self._tables = tables_of(step.model)
        self._products: dict[int, list[Product]] = {}
        self._parameters = [each for each in step.model.parameters() if each.requires_grad]
        self._sums: dict[int, Tensor] = {}

    def add(
        self, images: Tensor, targets: Sequence[Any], images_seen: int, *, last: bool, draw: tuple[int, ...] = ()
    ) -> Terms:
        buffers = list(self.step.model.buffers())
        before = [buffer.clone() for buffer in buffers]
        found: Terms = []
        gradients: list[list[Tensor | None]] = []
        statistics: list[list[Tensor]] = []
        products: list[list[list[Product]]] = []
        for shard, place in zip(self._own, self._places, strict=True):
            seed_random_layers(*draw, shard)
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            terms = self.step.terms(images[place], targets[place], images_seen)
            self.step.backward(terms)
            found.append((terms, len(targets[place])))
            products.append([table.take_products() for table in self._tables])
            gradients.append([each.grad for each in self._parameters])
            statistics.append([buffer.clone() for buffer in buffers if buffer.is_floating_point()])
            for each in self._parameters:
                each.grad = None
        self._add_gradients(gradients)
        for number, table in enumerate(self._tables):
            # of a process's shards one after the other, which is the order of all shards as well
            own = [product for shard in products for product in shard[number]]
            for of_process in gather_products(table.weight, own, self.step.processes):
                self._products.setdefault(number, []).extend(of_process)
        self._average([buffer for buffer in buffers if buffer.is_floating_point()], statistics)
        return found

    def _add_gradients(self, shards: list[list[Tensor | None]]) -> None:
        """Add the sums over all shards to what this update has."""
        device = self.step.device
        has = torch.tensor([any(each is not None for each in column) for column in zip(*shards, strict=True)])
        used = torch.stack(gather_tensors(has.to(torch.uint8), self.step.processes, "exact")).amax(0).tolist()
        wanted = [number for number, flag in enumerate(used) if flag]
        if not wanted:
            return
        shapes = [self._parameters[number] for number in wanted]
        rows = []
        for shard in shards:
            parts = [
                torch.zeros_like(each) if (grad := shard[n]) is None else grad
                for n, each in zip(wanted, shapes, strict=True)
            ]
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        flat = self._sum_in_order(torch.stack(rows).to(device))
        for number, each, part in zip(wanted, shapes, flat.split([s.numel() for s in shapes]), strict=True):
            grad = part.view(each.shape)
            self._sums[number] = self._sums[number] + grad if number in self._sums else grad.clone()

    def _average(self, buffers: list[Tensor], shards: list[list[Tensor]]) -> None:
        if buffers:
            rows = torch.stack([torch.cat([each.reshape(-1) for each in shard]) for shard in shards])
            mean = self._sum_in_order(rows) / sum(self._counts)
            for buffer, part in zip(buffers, mean.split([each.numel() for each in buffers]), strict=True):
                buffer.copy_(part.view(buffer.shape))

    def _sum_in_order(self, rows: Tensor) -> Tensor:
        """Sum over all shards of all processes, in their order: (own shards, N) -> (N,)."""
        return torch.cat([self._sum_stretches(part) for part in rows.split(BUCKET, dim=1)])

    def _sum_stretches(self, rows: Tensor) -> Tensor:
        processes, world = self.step.processes, self.step.processes.world_size
        if world == 1:
            return _one_after_the_other(rows)
        own, length = rows.shape
        # each process adds up one stretch of the numbers of all shards, and all get all stretches
        stretch = -(-length // world)
        sent = rows.new_zeros(world, self._most, stretch)
        padded = nn.functional.pad(rows, (0, world * stretch - length)).view(own, world, stretch)
        sent[:, :own] = padded.transpose(0, 1)
        received = torch.empty_like(sent)
        processes.count("exact", sent)
        dist.all_to_all_single(received, sent)
        shards = torch.cat([of_rank[:count] for of_rank, count in zip(received, self._counts, strict=True)])
        return torch.cat(gather_tensors(_one_after_the_other(shards), processes, "exact"))[:length]

    def finish(self) -> None:
        for number, gradient in self._sums.items():
            self._parameters[number].grad = gradient
        self._sums.clear()
        for number, table in enumerate(self._tables):
            table.multiply_out(self._products.pop(number, []))

    def close(self) -> None:
        for table in self._tables:
            table.release()


def _one_after_the_other(rows: Tensor) -> Tensor:
    """(S, N) -> (N,); `sum` would choose an order of its own."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def gradients_for(step: Backward) -> Gradients:
    """The way to make a gradient that the configuration and the number of processes ask for.

    Parameters
    ----------
    step : Backward
    """
    if step.config.exact:
        return ExactGradients(step)
    return SharedGradients(step) if step.processes.world_size > 1 else Gradients(step)
