"""A fully connected layer whose answers keep their digits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from yolo9000.models.late_gradient import without_autocast
from yolo9000.runtime.tensors import full_precision


class ExactLinear(nn.Linear):
    """A linear layer in float32, whatever precision the net before it works in.

    A detector's last numbers are places of boxes, of which bfloat16 keeps two or three digits.

    Examples
    --------
    >>> import torch
    >>> layer = ExactLinear(2, 3)
    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     layer(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., D) -> (..., outputs)."""
        with without_autocast(input.device):
            return F.linear(full_precision(input), self.weight, self.bias)
