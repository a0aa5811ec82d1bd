"""The dense gradient of a large table of weights of which few rows are read, made when memory is free again.

A head of 9,418 nodes and 3 priors has 29 M class weights, of which a step reads a hundredth. Their gradient is dense
all the same, for momentum and decay move every row. Left to itself, autograd makes it first: the head's products were
computed last. Then it lies beside all activations of the net, where memory is at its peak. Autograd walks back in the
order in which operations were done, so a node that was made *before* the net comes last: what the products' gradients
are made of is put by, and that node multiplies it out.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_WITH_AUTOCAST = frozenset(kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind))
"""Asked once: torch 2.6 cannot compile the question."""


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Products in the precision of their factors; there is no autocast on a device without numbers (meta)."""
    if device.type in _WITH_AUTOCAST:
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


PutBy = dict[object, tuple[Tensor, Tensor, Tensor]]
"""For each product the rows (m,) that it read, the gradient of its answer (n, m), and the features (n, D): one entry,
however often autograd comes by before it is the table's turn."""


class LateTable(NamedTuple):
    """A table of weights, and where the factors of its gradient are put by.

    Attributes
    ----------
    weight : Tensor (R, D)
    put_by : dict, optional
        None if the gradient is made at once.
    """

    weight: Tensor
    put_by: PutBy | None = None

    def product(self, features: Tensor, rows: Tensor) -> Tensor:
        """Features times some rows: (n, D) and (m,) -> (n, m). The rows read are not kept for the way back."""
        with without_autocast(self.weight.device):
            if self.put_by is None:
                return F.linear(features, self.weight.index_select(0, rows))
            answer: Tensor = _Product.apply(features, self.weight, rows, self.put_by)
            return answer


def late_table(weight: Tensor) -> LateTable:
    """A table whose gradient is made as late as autograd comes back to this call.

    Where no gradient is recorded, or a graph is captured, which orders its operations itself, it is the plain weight.

    Parameters
    ----------
    weight : Tensor (R, D)

    Examples
    --------
    >>> weight = torch.ones(4, 2, requires_grad=True)
    >>> table = late_table(weight)  # before the net ...
    >>> table.product(torch.tensor([[2.0, 3.0]]), torch.tensor([0, 3])).sum().backward()  # ... and read after it
    >>> weight.grad.tolist()
    [[2.0, 3.0], [0.0, 0.0], [0.0, 0.0], [2.0, 3.0]]
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and weight.requires_grad):
        return LateTable(weight)
    put_by: PutBy = {}
    return LateTable(_Table.apply(weight, put_by), put_by)


class _Table(torch.autograd.Function):
    """The weight itself; its gradient is what came the usual way and what was put by."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, put_by: PutBy) -> Tensor:
        ctx.put_by, ctx.shape, ctx.device = put_by, weight.shape, weight.device
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        whole = gradient.clone() if gradient is not None and ctx.put_by else gradient  # it may be shared, or expanded
        with without_autocast(ctx.device):
            for rows, of_answer, features in ctx.put_by.values():
                whole = features.new_zeros(ctx.shape) if whole is None else whole
                whole.index_add_(0, rows, of_answer.t() @ features)
        ctx.put_by.clear()
        return whole, None


class _Product(torch.autograd.Function):
    """Features times some rows; puts by what the rows' gradient is made of."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rows: Tensor, put_by: PutBy) -> Tensor:
        ctx.save_for_backward(features, weight, rows)
        ctx.put_by, ctx.product = put_by, object()
        return F.linear(features, weight.index_select(0, rows))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        features, weight, rows = ctx.saved_tensors
        ctx.put_by[ctx.product] = rows, gradient, features
        of_features = None
        if ctx.needs_input_grad[0]:
            with without_autocast(weight.device):
                of_features = gradient @ weight.index_select(0, rows)
        return of_features, None, None, None
