"""Class rows spread over processes in a training: cut from the whole, put together again, and in its checkpoints.

A net is built, started and loaded whole, in the memory of the host. Then each process keeps the rows that it owns, and
the optimiser and the average are over these. Checkpoints hold the whole, so that any number of processes reads them:
the first process gets it range after range. An evaluation has the rows of the averaged net whole for as long as it
lasts, without their momentum, gradient and second copy.

R rows of a head, K nodes, k of them owned, A priors (1 if they share their rows).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from yolo9000.models.class_shards import ClassShard, ranges_of
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.distributed import Processes, gather_tensors
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import TrainConfig

PURPOSE = "whole class rows"
ROWS = ("class_weight", "class_bias")


class ShardedRows:
    """The class rows of a net's heads, of which this process keeps a range.

    Parameters
    ----------
    model : nn.Module
        Its heads, which are whole and alike on all processes, are cut. Others of its form, such as its average, can be
        asked for as well.
    processes : Processes
    """

    def __init__(self, model: nn.Module, processes: Processes) -> None:
        self.processes = processes
        self._shards = {
            name: ClassShard(region.classes.tree, ranges_of(region.classes.tree, processes.world_size), processes)
            for name, region in _heads(model).items()
            if region.classes.tree is not None
        }
        self._cut(model)

    @property
    def names(self) -> dict[str, ClassShard]:
        """Names of the parameters that are cut."""
        return {".".join(filter(None, (head, row))): shard for head, shard in self._shards.items() for row in ROWS}

    def _cut(self, model: nn.Module) -> None:
        for name, shard in self._shards.items():
            head = _head(model, name)
            for row in ROWS:
                whole = getattr(head, row)
                setattr(head, row, nn.Parameter(own_rows(whole.detach(), shard), requires_grad=whole.requires_grad))
            head.shard = shard

    @torch.no_grad()
    def _gather(self, own: Tensor, shard: ClassShard) -> Tensor:
        """The whole rows, for all processes, on the device of the own ones."""
        by_prior = own.view(-1, len(shard.own), *own.shape[1:])
        whole = own.new_empty(len(by_prior), len(shard.tree), *own.shape[1:])
        for rank, nodes in enumerate(shard.ranges):
            if rank == self.processes.rank:
                part = by_prior.contiguous()
                self.processes.count(PURPOSE, part)
            else:
                part = own.new_empty(len(by_prior), len(nodes), *own.shape[1:])
            dist.broadcast(part, src=rank)
            whole[:, nodes.start : nodes.stop] = part
        return whole.flatten(0, 1)

    @torch.no_grad()
    def _send_to_first(self, own: Tensor, shard: ClassShard) -> Tensor:
        """The whole rows for the first process, in the memory of its host; the others get their own back."""
        by_prior = own.cpu().view(-1, len(shard.own), *own.shape[1:]).contiguous()
        if not self.processes.is_first:
            self.processes.count(PURPOSE, by_prior)
            dist.send(by_prior, dst=0)
            return own
        whole = by_prior.new_empty(len(by_prior), len(shard.tree), *own.shape[1:])
        for rank, nodes in enumerate(shard.ranges):
            part = by_prior
            if rank != self.processes.rank:
                part = by_prior.new_empty(len(by_prior), len(nodes), *own.shape[1:])
                dist.recv(part, src=rank)
            whole[:, nodes.start : nodes.stop] = part
        return whole.flatten(0, 1)

    @contextlib.contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Give a net its whole rows for as long as it is asked as one process would ask it.

        All processes come here together.
        """
        kept: list[tuple[TreeHead, ClassShard, dict[str, nn.Parameter]]] = []
        try:
            for name, shard in self._shards.items():
                head = _head(model, name)
                rows = {row: getattr(head, row) for row in ROWS}
                wholes = {row: self._gather(own.detach(), shard) for row, own in rows.items()}
                kept.append((head, shard, rows))
                for row, value in wholes.items():
                    setattr(head, row, nn.Parameter(value, requires_grad=rows[row].requires_grad))
                head.shard = None
            yield
        finally:
            for head, shard, rows in kept:
                for row, own in rows.items():
                    setattr(head, row, own)
                head.shard = shard

    def put_together(self, model: nn.Module) -> None:
        """Make a net whole again, in the memory of the host. All processes come here together."""
        model.cpu()
        for name, shard in self._shards.items():
            head = _head(model, name)
            for row in ROWS:
                own = getattr(head, row)
                setattr(head, row, nn.Parameter(self._gather(own.detach(), shard), requires_grad=own.requires_grad))
            head.shard = None

    # --------------------------------------------------------------------------------------------------- checkpoints

    def cut_average(self, average: Mapping[str, Any]) -> dict[str, Any]:
        """This process's part of a saved average."""
        model = dict(average["model"])
        for name, shard in self.names.items():
            model[name] = own_rows(model[name], shard)
        return {**average, "model": model}

    def cut_optimizer(self, saved: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """This process's part of what an optimiser had saved."""
        state = dict(saved["state"])
        for number, shard in self._places(model, optimizer).items():
            if number in state:
                state[number] = {
                    key: own_rows(value, shard) if _is_of_rows(value) else value for key, value in state[number].items()
                }
        return {**saved, "state": state}

    def whole_content(
        self, content: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> dict[str, Any]:
        """What a checkpoint holds, with whole class rows on the first process. All processes come here together."""
        found = dict(content)
        found["model"] = self._whole_state(content["model"])
        if content["average"] is not None:
            found["average"] = {**content["average"], "model": self._whole_state(content["average"]["model"])}
        if content["optimizer"] is not None:
            state = dict(content["optimizer"]["state"])
            for number, shard in self._places(model, optimizer).items():
                if number in state:
                    state[number] = {
                        key: self._send_to_first(value, shard) if _is_of_rows(value) else value
                        for key, value in state[number].items()
                    }
            found["optimizer"] = {**content["optimizer"], "state": state}
        return found

    def _whole_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = self.names
        return {
            name: self._send_to_first(value, names[name]) if name in names else value for name, value in state.items()
        }

    def _places(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, ClassShard]:
        """The numbers that an optimiser gives to the parameters that are cut."""
        order = [id(each) for group in optimizer.param_groups for each in group["params"]]
        parameters = dict(model.named_parameters())
        return {
            order.index(id(parameters[name])): shard
            for name, shard in self.names.items()
            if id(parameters[name]) in order
        }

    # -------------------------------------------------------------------------------------------------------- a step

    def total_norm(self, model: nn.Module) -> Tensor:
        """Norm of the gradient of the whole net: each process has that of its own rows."""
        names = self.names
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        own = nn.utils.get_total_norm([grad for name, grad in gradients.items() if name in names])
        others = nn.utils.get_total_norm([grad for name, grad in gradients.items() if name not in names])
        of_all = gather_tensors(own.to(others.device), self.processes, "norm")
        norm: Tensor = torch.linalg.vector_norm(torch.stack([others, *of_all]))
        return norm


def own_rows(whole: Tensor, shard: ClassShard) -> Tensor:
    """The rows of a process's nodes, prior after prior: (R, ...) -> (A * k, ...), a copy.

    Examples
    --------
    >>> from wordtree import WordTree
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> shard = ClassShard(tree, (range(0, 1), range(1, 3)), Processes(1, 2))
    >>> own_rows(torch.arange(6), shard).tolist()  # two priors
    [1, 2, 4, 5]
    """
    own = shard.own
    return whole.view(-1, len(shard.tree), *whole.shape[1:])[:, own.start : own.stop].flatten(0, 1).clone()


def _is_of_rows(value: Any) -> bool:
    """Whether what an optimiser keeps is for each weight, and no count of steps."""
    return isinstance(value, Tensor) and value.dim() > 0


def _heads(model: nn.Module) -> dict[str, RegionSpec]:
    """The heads of a net that can be cut, by name, and what their numbers mean."""
    region = getattr(model, "region", None)
    if not isinstance(region, RegionSpec) or region.classes.tree is None or region.loss.form != "darknet":
        return {}
    return {name: region for name, module in model.named_modules() if isinstance(module, TreeHead)}


def _head(model: nn.Module, name: str) -> TreeHead:
    head = model.get_submodule(name)
    assert isinstance(head, TreeHead)
    return head


def check_sharded(config: TrainConfig, models: Sequence[nn.Module], processes: Processes) -> None:
    """Raise if the class rows are to be spread over processes and cannot be.

    Parameters
    ----------
    config : TrainConfig
    models : sequence of nn.Module
        The nets of all phases.
    processes : Processes

    Raises
    ------
    Mistake
        No net has a head over a tree, or the tree has fewer sibling groups than there are processes.
    """
    if not config.shard_classes or processes.world_size == 1:
        return
    regions = [region for model in models for region in _heads(model).values()]
    if not regions:
        raise Mistake(
            "`shard_classes`: no net of this run has class rows over a tree, which processes could share by sibling "
            "groups; leave it out"
        )
    for region in regions:
        assert region.classes.tree is not None
        ranges_of(region.classes.tree, processes.world_size)


def can_shard(model: nn.Module, config: TrainConfig, processes: Processes) -> bool:
    """Whether the class rows of a net are spread over the processes, as the configuration asks for.

    One process alone keeps them whole, and so does each for a net without class rows over a tree.

    Parameters
    ----------
    model : nn.Module
    config : TrainConfig
    processes : Processes
    """
    return config.shard_classes and processes.world_size > 1 and bool(_heads(model))


def shard_rows(model: nn.Module, config: TrainConfig, processes: Processes) -> ShardedRows | None:
    """Cut the class rows of a net if that is asked for; None if they stay whole.

    Parameters
    ----------
    model : nn.Module
    config : TrainConfig
    processes : Processes
    """
    return ShardedRows(model, processes) if can_shard(model, config, processes) else None
