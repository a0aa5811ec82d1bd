"""What a net answers that decodes inside: an exported file with the tree in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.results import Detections
from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True)
class DecodedOutput:
    """Detections that a net has made itself, in place of raw numbers.

    Parameters
    ----------
    found : list of Detections
        Those of each image.
    config : DecodeConfig
        How they were made; it is a part of the net.
    """

    found: list[Detections]
    config: DecodeConfig

    def detections(self, config: DecodeConfig | None = None) -> list[Detections]:
        """Those of each image.

        Raises
        ------
        Mistake
            They are wanted in another way than they were made.

        Examples
        --------
        >>> DecodedOutput([], DecodeConfig(threshold=0.2)).detections(DecodeConfig(threshold=0.1))
        Traceback (most recent call last):
        yolo9000.runtime.mistakes.Mistake: `threshold` 0.1: the exported net decodes inside, with 0.2; ...
        """
        for name, inside in asdict(self.config).items():
            if config is not None and getattr(config, name) != inside:
                raise Mistake(
                    f"`{name}` {getattr(config, name)}: the exported net decodes inside, with {inside}; export it "
                    "again with this, or without `decoded`, which takes any"
                )
        return self.found
