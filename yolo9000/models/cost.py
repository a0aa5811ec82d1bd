"""What a net computes for one image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from yolo9000.models.model import Model


def gflops(model: Model, size: int) -> float:
    """Multiplications and additions that a net does for one image, in 1e9, as the papers and darknet count them.

    Convolutions, fully connected layers and attention are counted. A region head is counted as darknet's dense one,
    with all class rows at every cell; ours computes fewer.

    Parameters
    ----------
    model : Model
        Any net of ours. Nothing is computed, and it stays as it is.
    size : int
        Side of the image in pixels.

    Examples
    --------
    >>> from yolo9000.models import Classifier, DetectorConfig, FlatClasses
    >>> with torch.device("meta"):
    ...     net = Classifier(DetectorConfig(), FlatClasses(1000))
    >>> round(gflops(net, 224), 2)
    5.48
    """
    names = [*model.named_parameters(), *model.named_buffers()]
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in names}
    training = [module for module in model.modules() if module.training]
    model.eval()  # a single image is no batch to normalise
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            output = functional_call(model, shapes, (torch.zeros(1, 3, size, size, device="meta"),))
            if not isinstance(output, Tensor):
                _ = output.raw
    finally:
        for module in training:
            module.training = True
    return float(counter.get_total_flops()) / 1e9
