"""The dense gradient of a large table of weights of which few rows are read, made when memory is free again.

A head of 9,418 nodes and 3 priors has 29 M class weights, of which a step reads a hundredth. Their gradient is dense
all the same, for momentum and decay move every row. Left to itself, autograd makes it first: the head's products were
computed last. Then it lies beside all activations of the net, where memory is at its peak. Autograd walks back in the
order in which operations were done, so a node that was made *before* the net comes last: the product's gradient is put
by, a row for each row read, and that node spreads it out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ReadGradients = list[tuple[Tensor, Tensor]]
"""What the products left: places along the second axis (C,), and the gradient of what was read there (A, C, D)."""


class LateTable(NamedTuple):
    """A table of weights, and where the gradients of what is read of it are put by.

    Attributes
    ----------
    weight : Tensor (A, K, D)
    put_by : list, optional
        None if the gradient is made at once.
    """

    weight: Tensor
    put_by: ReadGradients | None = None

    def read(self, columns: Tensor) -> Tensor:
        """The rows at some places of the second axis: (C,) -> (A, C, D). A place may be named once only."""
        if self.put_by is None:
            return self.weight.index_select(1, columns)
        rows: Tensor = _Read.apply(self.weight, columns, self.put_by)
        return rows


def late_table(weight: Tensor) -> LateTable:
    """A table whose gradient is made as late as autograd comes back to this call.

    Where no gradient is recorded, or a graph is captured, which orders its operations itself, it is the plain weight.

    Parameters
    ----------
    weight : Tensor (A, K, D)

    Examples
    --------
    >>> weight = torch.ones(1, 4, 2, requires_grad=True)
    >>> table = late_table(weight)  # before the net ...
    >>> table.read(torch.tensor([0, 3])).sum().backward()  # ... and read after it
    >>> weight.grad.squeeze(0).tolist()
    [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and weight.requires_grad):
        return LateTable(weight)
    put_by: ReadGradients = []
    return LateTable(_Table.apply(weight, put_by), put_by)


class _Table(torch.autograd.Function):
    """The weight itself; its gradient is what came the usual way and what was put by."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, put_by: ReadGradients) -> Tensor:
        ctx.put_by, ctx.shape = put_by, weight.shape
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        for columns, of_read in ctx.put_by:
            if gradient is None:
                gradient = of_read.new_zeros(ctx.shape)
            gradient.index_add_(1, columns, of_read)
        ctx.put_by.clear()
        return gradient, None


class _Read(torch.autograd.Function):
    """Some rows; puts their gradient by."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, columns: Tensor, put_by: ReadGradients) -> Tensor:
        ctx.save_for_backward(columns)
        ctx.put_by = put_by
        return weight.index_select(1, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.put_by.append((*ctx.saved_tensors, gradient))
        return None, None, None
