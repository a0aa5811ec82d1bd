"""An export as it is asked for, from the command and from Python: which folder, and what writes it."""

from __future__ import annotations

from pathlib import Path

from yolo9000.experiment.label_counts import counts_if_there
from yolo9000.exporting.config import ExportConfig
from yolo9000.exporting.folder import name_of
from yolo9000.exporting.hub import save_pretrained
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel


def export_as(trained: TrainedModel, config: ExportConfig, *, size: int | None = None) -> Path:
    """Write the folder that a configuration asks for. Nothing is compared with the net, and nothing uploaded.

    Parameters
    ----------
    trained : TrainedModel
    config : ExportConfig
        Without `out` the folder is NAME-FORMAT in the working directory, see `yolo9000.exporting.folder.name_of`.
    size : int, optional
        The side of the input that is taken unless another is wanted; that of the training by default.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    EngineAbsent, ExportError, Mistake
        Something is not installed, or the net cannot be written so.
    """
    out = Path(config.out or f"{name_of(trained.path)}-{config.format}")
    if config.format == "safetensors":
        save_pretrained(trained, out, size=size, license=config.license, counts=counts_if_there(trained))
        return out
    export_model(
        trained,
        out,
        config.format,
        form=config.form,
        size=size,
        decode=config.decode,
        calibrate=[Path(config.calibrate)] if config.calibrate else None,
        calibration_images=config.calibration_images,
        opset=config.opset,
    )
    return out
