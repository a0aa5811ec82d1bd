"""Files of the first layers of a net, which others have trained as a classifier: a detector starts from them."""

from __future__ import annotations

from pathlib import Path

from yolo9000.darknet.weights import load_darknet_weights
from yolo9000.models.model import DetectionModel
from yolo9000.models.timm_backbone import TimmBackbone
from yolo9000.runtime.checkpoint import CheckpointError

SAFETENSORS = ".safetensors"


def has_first_layers_alone(path: str | Path) -> bool:
    """Whether a name is that of such a file: ``NAME.conv.NN`` of darknet's, or ``NAME.safetensors`` of timm's.

    Examples
    --------
    >>> names = ("yolo9000.weights", "darknet19_448.conv.23", "runs/joint", "last.pt", "resnet18.safetensors")
    >>> [has_first_layers_alone(name) for name in names]
    [False, True, False, False, True]
    """
    return Path(Path(path).stem).suffix == ".conv" or Path(path).suffix == SAFETENSORS


def start_from_first_layers(detector: DetectionModel, file: str | Path) -> list[str]:
    """Fill the first layers of a net: as ``darknet19_448.conv.23`` fills a Darknet-19, or timm's weights its model.

    Returns
    -------
    list of str
        What was filled.

    Raises
    ------
    CheckpointError
        The file is not for the backbone of the net.
    WeightsError
        The file is of another net of darknet's.
    Mistake
        The file is torn, or of another model of timm's.
    """
    backbone = getattr(detector, "backbone", None)
    of_timm = Path(file).suffix == SAFETENSORS
    if isinstance(backbone, TimmBackbone):
        if not of_timm:
            raise CheckpointError(
                f"{file}: darknet has no net with this `backbone`; one of timm starts `pretrained`, or from a "
                f"{SAFETENSORS} file of timm's"
            )
        backbone.load(file)
        return [f"the backbone has the weights of {file}"]
    if of_timm:
        raise CheckpointError(f"{file}: weights of timm's are for a `backbone` of timm:NAME")
    left = load_darknet_weights(detector, file, partial=True).not_filled
    rest = f"; {len(left)} layers start anew, from {left[0]} on" if left else ""
    return [f"the first convolutions are those of {file}{rest}"]
