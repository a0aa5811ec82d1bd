"""A detector whose convolutions an engine runs, in the place of a net of ours: used and evaluated the same way.

B images, S side of the input, N detections, D levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decoded_output import DecodedOutput
from yolo9000.detection.results import Detections
from yolo9000.exporting.config import Form
from yolo9000.exporting.engines import EngineFile
from yolo9000.exporting.errors import ExportError
from yolo9000.exporting.forms import OUTPUTS, DecodedTensors
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.models.model import DetectionModel, GridDetector, RegionDetector
from yolo9000.models.output import DenseRegionOutput, DetectorOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_head import TreeHead


class EngineDetector(DetectionModel):
    """What detectors with an engine have in common.

    Parameters
    ----------
    engine : EngineFile
        Runs the file.
    form : str
        What the file answers.
    description : mapping
        The net that it was made of.
    stride : int
    only_size : int, optional
        The side of its input, if it takes no other.
    decode : DecodeConfig
        How detections are made inside of a file of the form "decoded".
    head : TreeHead, optional
        Reads the features of a file of the form "features".
    """

    has_engine = True

    def __init__(
        self,
        engine: EngineFile,
        form: Form,
        description: Mapping[str, Any],
        *,
        stride: int,
        only_size: int | None,
        decode: DecodeConfig,
        head: TreeHead | None = None,
    ) -> None:
        super().__init__()
        self.engine = engine
        self.form = form
        self.decode = decode
        self.head = head
        self._description = dict(description)
        self._stride = stride
        self._only_size = only_size

    @property
    def stride(self) -> int:
        return self._stride

    @property
    def only_size(self) -> int | None:
        return self._only_size

    @property
    def description(self) -> dict[str, Any]:
        return self._description

    @property
    def decodes_inside(self) -> bool:
        return self.form == "decoded"

    @torch.no_grad()
    def forward(self, images: Tensor) -> DetectorOutput | DecodedOutput:
        """(B, 3, S, S) in 0..1 -> raw output, or detections."""
        found = self.engine(images)
        if len(found) != len(OUTPUTS[self.form]):
            raise ExportError(f"the file has {len(found)} outputs, and {len(OUTPUTS[self.form])} are described")
        if self.decodes_inside:
            return _by_image(DecodedTensors(*found), len(images), self.decode, has_tree=self.classes.tree is not None)
        return self._output(found[0].float())

    def _output(self, numbers: Tensor) -> DetectorOutput:
        raise NotImplementedError


class EngineRegionDetector(EngineDetector, RegionDetector):
    """A detector with a region head, see `EngineDetector`.

    Parameters
    ----------
    region : RegionSpec
        What its numbers mean.
    *args, **kwargs : Any
        See `EngineDetector`.
    """

    def __init__(self, region: RegionSpec, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.region = region

    def _output(self, numbers: Tensor) -> DetectorOutput:
        if self.head is None:
            if numbers.dim() != 4 or numbers.shape[1] != self.region.channels:
                raise ExportError(f"the file answers {tuple(numbers.shape)}, not {self.region.channels} channels")
            return DenseRegionOutput(numbers, self.region.coding)
        channels = self.head.box_weight.shape[1]
        if numbers.dim() != 4 or numbers.shape[1] != channels:
            raise ExportError(
                f"the file answers {tuple(numbers.shape)}, and the head beside it reads {channels} numbers"
            )
        output: DetectorOutput = self.head(numbers.contiguous(memory_format=torch.channels_last))
        return output


class EngineGridDetector(EngineDetector, GridDetector):
    """A detector with YOLOv1's output, see `EngineDetector`.

    Parameters
    ----------
    detection : GridSpec
        What its numbers mean.
    *args, **kwargs : Any
        See `EngineDetector`.
    """

    def __init__(self, detection: GridSpec, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.detection = detection

    def _output(self, numbers: Tensor) -> DetectorOutput:
        try:
            return GridOutput(numbers, self.detection)
        except ValueError as error:
            raise ExportError(f"the file's answer makes no grid: {error}") from error


def engine_detector(spec: RegionSpec | GridSpec, *args: Any, **kwargs: Any) -> EngineDetector:
    """The detector of a file, by what its numbers mean; see `EngineDetector` for the arguments."""
    if isinstance(spec, RegionSpec):
        return EngineRegionDetector(spec, *args, **kwargs)
    return EngineGridDetector(spec, *args, **kwargs)


def head_of_rows(rows: Mapping[str, Tensor], region: RegionSpec, where: str) -> TreeHead:
    """The head of a file of the form "features".

    Parameters
    ----------
    rows : mapping of str to Tensor
        Its weights, by their names in `TreeHead`.
    region : RegionSpec
    where : str
        Their file, for messages.

    Raises
    ------
    ExportError
        They are of another net.
    """
    names = {"box_weight", "box_bias", "class_weight", "class_bias"}
    if set(rows) != names:
        raise ExportError(f"{where}: holds {', '.join(sorted(rows)) or 'nothing'}, not {', '.join(sorted(names))}")
    priors, classes = region.coding.num_priors, region.classes.number
    bias = rows["class_bias"]
    rows_of_classes = classes if bias.shape == (classes,) else priors * classes
    width = int(rows["box_weight"].shape[-1]) if rows["box_weight"].dim() else 0
    expected: dict[str, tuple[int, ...]] = {
        "box_weight": (5 * priors, width),
        "box_bias": (5 * priors,),
        "class_weight": (rows_of_classes, width),
        "class_bias": (rows_of_classes,),
    }
    for name, shape in expected.items():
        if tuple(rows[name].shape) != shape:
            raise ExportError(
                f"{where}: {name} is {tuple(rows[name].shape)}, and {priors} priors with {classes} classes need {shape}"
            )
    with torch.device("meta"):
        head = TreeHead(width, region.coding, classes, share_class_rows=rows_of_classes == classes)
    for name in names:
        setattr(head, name, nn.Parameter(rows[name].float(), requires_grad=False))
    return head


def _by_image(table: DecodedTensors, images: int, config: DecodeConfig, *, has_tree: bool) -> DecodedOutput:
    """The detections of a batch, image by image."""
    found = []
    for number in range(images):
        mine = table.image == number
        paths = zip(table.path[mine].tolist(), table.path_probabilities[mine].tolist(), strict=True)
        known = tuple(tuple(p for node, p in zip(*each, strict=True) if node >= 0) for each in paths)
        found.append(
            Detections(
                boxes_cxcywh=table.boxes_cxcywh[mine],
                scores=table.scores[mine],
                nodes=table.labels[mine],
                objectness=table.objectness[mine],
                probabilities=table.probabilities[mine],
                paths=known if has_tree else None,
            )
        )
    return DecodedOutput(found, config)
