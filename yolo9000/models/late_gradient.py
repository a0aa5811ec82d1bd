"""The dense gradient of a large table of weights of which few rows are read, made when memory is free again.

A head of 9,418 nodes and 3 priors has 29 M class weights, of which a step reads a hundredth. Their gradient is dense
all the same, for momentum and decay move every row. Left to itself, autograd makes it first: the head's products were
computed last. Then it lies beside all activations of the net, where memory is at its peak. Autograd walks back in the
order in which operations were done, so a node that was made *before* the net comes last: what the products' gradients
are made of is put by, and that node multiplies it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
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


Product = tuple[Tensor, Tensor, Tensor]
"""The rows (m,) that were read, the gradient of the answer (n, m), and the features (n, D)."""


class PutBy:
    """What the gradient of one table is made of, until autograd comes to the table.

    It belongs to one backward pass. What an earlier one left here, which asked for other gradients than the table's,
    is forgotten when the next one comes by.
    """

    def __init__(self) -> None:
        self._products: dict[object, Product] = {}
        self._pass = -1

    def put(self, key: object, product: Product) -> None:
        """Keep a product: one entry, however often autograd comes by before it is the table's turn."""
        self._of_this_pass()[key] = product

    def take(self) -> list[Product]:
        """Give up what this backward pass has put by, in its order."""
        products = list(self._of_this_pass().values())
        self._products.clear()
        return products

    def _of_this_pass(self) -> dict[object, Product]:
        now: int = torch._C._current_graph_task_id()  # no public function tells one backward pass from another
        if now != self._pass:
            self._products.clear()
            self._pass = now
        return self._products


class Factors:
    """What the gradient of a table is made of, kept for somebody who multiplies it out after the backward pass.

    Several processes exchange the factors, which are small, in place of the gradient, which is not.

    Attributes
    ----------
    products : list of (Tensor (m,), Tensor (n, m), Tensor (n, D))
        Rows, gradients of the answers and features.
    dense : Tensor (R, D), optional
        What came the usual way.
    """

    def __init__(self) -> None:
        self.products: list[Product] = []
        self.dense: Tensor | None = None

    def add(self, products: Sequence[Product], dense: Tensor | None) -> None:
        """Keep what one backward pass has brought."""
        self.products += products
        if dense is not None:
            self.dense = dense.clone() if self.dense is None else self.dense + dense

    def take(self) -> tuple[list[Product], Tensor | None]:
        """Give up what was kept."""
        taken = self.products, self.dense
        self.products, self.dense = [], None
        return taken


def multiply_out(table: Tensor, products: Iterable[Product], dense: Tensor | None = None) -> Tensor | None:
    """The gradient of a table from its factors, product after product.

    Parameters
    ----------
    table : Tensor (R, D)
    products : iterable of (Tensor (m,), Tensor (n, m), Tensor (n, D))
        Rows that are named once each, gradients of the answers and features.
    dense : Tensor (R, D), optional
        Another part of the gradient; it is added to in place.

    Returns
    -------
    Tensor (R, D), optional
        None if there is nothing.

    Examples
    --------
    >>> rows, of_answer, features = torch.tensor([2]), torch.tensor([[3.0]]), torch.tensor([[1.0, 10.0]])
    >>> multiply_out(torch.zeros(3, 2), [(rows, of_answer, features)]).tolist()
    [[0.0, 0.0], [0.0, 0.0], [3.0, 30.0]]
    """
    with without_autocast(table.device):
        for rows, of_answer, features in products:
            dense = features.new_zeros(table.shape) if dense is None else dense
            dense.index_add_(0, rows, of_answer.t() @ features)
    return dense


class LateTable(NamedTuple):
    """A table of weights, and where the factors of its gradient are put by.

    Attributes
    ----------
    weight : Tensor (R, D)
    put_by : PutBy, optional
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


class HeadRows(NamedTuple):
    """Weights and biases of a head, a row for each number that it can give."""

    box_weight: Tensor
    """(A*5, D): rows tx ty tw th to of every prior."""
    box_bias: Tensor
    """(A*5,)"""
    classes: LateTable
    """(A*K, D), prior after prior, or (K, D) if all priors share their class rows."""
    class_bias: Tensor
    """(A, K) or (1, K)"""


def late_table(weight: Tensor, factors: Factors | None = None) -> LateTable:
    """A table whose gradient is made as late as autograd comes back to this call.

    Where no gradient is recorded, or a graph is captured, which orders its operations itself, it is the plain weight.

    Parameters
    ----------
    weight : Tensor (R, D)
    factors : Factors, optional
        It is given what the gradient is made of, and the weight is given no gradient. A graph that is captured does
        not know of it: there the weight has its gradient as any other.

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
    put_by = PutBy()
    return LateTable(_Table.apply(weight, put_by, factors), put_by)


class _Table(torch.autograd.Function):
    """The weight itself; its gradient is what came the usual way and what was put by."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, put_by: PutBy, factors: Factors | None) -> Tensor:
        ctx.put_by, ctx.factors = put_by, factors
        ctx.table = weight.detach()  # for its shape and device; it shares the memory
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None, None]:
        products = ctx.put_by.take()
        if ctx.factors is not None:
            ctx.factors.add(products, gradient)
            return None, None, None
        whole = gradient.clone() if gradient is not None and products else gradient  # it may be shared, or expanded
        return multiply_out(ctx.table, products, whole), None, None


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
        ctx.put_by.put(ctx.product, (rows, gradient, features.detach()))
        of_features = None
        if ctx.needs_input_grad[0]:
            with without_autocast(weight.device):
                of_features = gradient @ weight.index_select(0, rows)
        return of_features, None, None, None
