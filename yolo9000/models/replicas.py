"""Answers of nets inside torch's `DistributedDataParallel`.

It has to find the tensors of an answer: without them ``static_graph`` leaves all gradients unreduced, and says nothing,
and ``find_unused_parameters`` takes all parameters for unused. It looks into tuples, dictionaries and dataclasses for
those that lead to parameters, and into what torch's pytree knows for those that it passes through a node of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree


class Rebuilt(Protocol):
    """An answer that can be made anew from other tensors of the same values."""

    def of_tensors(self, tensors: Sequence[Tensor]) -> Self:
        """The same answer, made of these tensors."""


Answer = TypeVar("Answer", bound=Rebuilt)


def shows_tensors(*names: str) -> Callable[[type[Answer]], type[Answer]]:
    """A class of answers whose tensors `DistributedDataParallel` finds.

    It is a dataclass as well, whose fields are all the tensors that lead to parameters.

    Parameters
    ----------
    *names : str
        Attributes with the tensors that the loss goes through, in the order of `Rebuilt.of_tensors`.
    """

    def register(kind: type[Answer]) -> type[Answer]:
        def flatten(answer: Answer) -> tuple[list[Any], Answer]:
            return [getattr(answer, name) for name in names], answer

        def unflatten(tensors: Any, answer: Answer) -> Answer:
            found = list(tensors)
            # pytree also asks for answers of things that are no tensors, which stand for where the tensors were
            return answer.of_tensors(found) if all(isinstance(each, Tensor) for each in found) else answer

        pytree.register_pytree_node(kind, flatten, unflatten)
        return kind

    return register
