"""The gradient of class rows over several processes: its factors are sent, and multiplied out by everybody.

A head of 9,418 nodes and 3 priors has 29 M class weights, one of 82,114 nodes 252 M. What a step reads of them are a
few boxes (n) at the columns of a few paths (m): features (n, D) and gradients of the logits (n, m) say all of it.

R rows of a table, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from yolo9000.models.late_gradient import Factors, Product, multiply_out
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.distributed import Processes, gather_tensors, sum_tensors

PURPOSE = "class rows"
_WHOLE_NUMBERS = {torch.float32: torch.int32, torch.float64: torch.int64}


@dataclass(frozen=True)
class Table:
    """A head's class rows, and what their gradient is made of since it was last taken.

    Parameters
    ----------
    head : TreeHead
    factors : Factors
    """

    head: TreeHead
    factors: Factors

    @property
    def weight(self) -> nn.Parameter:
        """The rows (R, D)."""
        return self.head.class_weight

    def take_products(self) -> list[Product]:
        """Give up the products. What came the usual way becomes the gradient of the weight, as for any other."""
        products, dense = self.factors.take()
        if dense is not None:
            self.weight.grad = dense if self.weight.grad is None else self.weight.grad + dense
        return products

    def multiply_out(self, products: Sequence[Product]) -> None:
        """Add the products to the gradient of the weight."""
        self.weight.grad = multiply_out(self.weight.detach(), products, self.weight.grad)

    def release(self) -> None:
        """Let autograd make the gradient again."""
        self.head.factors = None


def tables_of(model: nn.Module) -> list[Table]:
    """The tables of a net, whose gradients are now made by whoever asked; none that is spread over processes."""
    tables = []
    for module in model.modules():
        if isinstance(module, TreeHead) and module.class_weight.requires_grad and module.shard is None:
            module.factors = Factors()
            tables.append(Table(module, module.factors))
    return tables


def sum_table(table: Table, processes: Processes) -> None:
    """Give a table's weight the sum of all processes' gradients.

    Their factors are sent where that is less than the gradient. With many processes it is not: each one gets the
    factors of all, and the gradient only once.

    Parameters
    ----------
    table : Table
    processes : Processes
    """
    products = table.take_products()
    has_gradient, numbers = table.weight.grad is not None, _numbers(products)
    # from host to host, so that no GPU is waited for
    said = gather_tensors(torch.tensor([int(has_gradient), numbers]), processes, PURPOSE)
    some_gradient, most = torch.stack(said).amax(0).tolist()
    if some_gradient or most * processes.world_size > 2 * table.weight.numel():
        table.multiply_out(products)
        if table.weight.grad is None:
            table.weight.grad = torch.zeros_like(table.weight)
        sum_tensors([table.weight.grad], processes, PURPOSE)
    else:
        table.multiply_out(
            [each for of_process in gather_products(table.weight, products, processes) for each in of_process]
        )


def gather_products(weight: Tensor, products: Sequence[Product], processes: Processes) -> list[list[Product]]:
    """The products of all processes, in the order of their ranks.

    Parameters
    ----------
    weight : Tensor (R, D)
        The table that they belong to.
    products : sequence of (Tensor (m,), Tensor (n, m), Tensor (n, D))
    processes : Processes
    """
    if processes.world_size == 1:
        return [list(products)]
    sizes = [len(products), *(size for _, of_answer, _ in products for size in of_answer.shape)]
    most = max(int(count) for count in gather_tensors(torch.tensor(sizes[:1]), processes, PURPOSE))
    padded = torch.tensor(sizes + [0] * (1 + 2 * most - len(sizes)))
    sizes_of_all = [said.tolist() for said in gather_tensors(padded, processes, PURPOSE)]
    shapes = [list(zip(said[1::2], said[2::2], strict=True))[: said[0]] for said in sizes_of_all]  # (n, m) each
    channels, dtype = weight.shape[1], weight.dtype
    lengths = [sum(m + n * m + n * channels for n, m in of_process) for of_process in shapes]
    flat = weight.new_zeros(max(lengths))
    own = [part for product in products for part in _as_numbers(product, dtype)]
    if own:
        torch.cat(own, out=flat[: lengths[processes.rank]])
    gathered = gather_tensors(flat, processes, PURPOSE) if max(lengths) else [flat] * processes.world_size
    return [_products(numbers, of_process, channels) for numbers, of_process in zip(gathered, shapes, strict=True)]


def _numbers(products: Sequence[Product]) -> int:
    return sum(len(rows) + of_answer.numel() + features.numel() for rows, of_answer, features in products)


def _as_numbers(product: Product, dtype: torch.dtype) -> list[Tensor]:
    """One flat tensor each; the numbers of rows are sent as the bits of floats, all of a process in one call."""
    rows, of_answer, features = product
    bits = rows.to(_WHOLE_NUMBERS[dtype]).view(dtype)
    return [bits, of_answer.to(dtype).reshape(-1), features.to(dtype).reshape(-1)]


def _products(numbers: Tensor, shapes: Sequence[tuple[int, int]], channels: int) -> list[Product]:
    products, offset = [], 0
    for n, m in shapes:
        rows, of_answer, features = numbers[offset:].split(
            [m, n * m, n * channels, len(numbers) - offset - m - n * (m + channels)]
        )[:3]
        products.append(
            (rows.view(_WHOLE_NUMBERS[numbers.dtype]).long(), of_answer.view(n, m), features.view(n, channels))
        )
        offset += m + n * (m + channels)
    return products
