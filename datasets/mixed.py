"""Images with boxes and images with a label in one stream, reproducible from a position alone.

A *position* is the number of an image in the whole run, counted over all ranks: 0, 1, 2, ... Which image comes there
and how it is augmented follows from (seed, epoch, position) and the options, and from nothing else: not from workers,
prefetching, ranks or any global random state. So a run is resumed by starting at a position.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from yolo9000.datasets.darknet_augment import DarknetAugment, DarknetCrops, augment_as_darknet, crop_as_darknet
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.joined import labelled_by, single_sources, with_labelled_nodes
from yolo9000.datasets.sample import Record, Replacement, Sample, Source
from yolo9000.datasets.transforms import CLASSIFICATION, DETECTION, AugmentConfig, augment, box_mosaic, mosaic
from yolo9000.datasets.unreadable import UnreadableCounter, read_or_next

log = logging.getLogger(__name__)

Interleave = Literal["in_batch", "batch_by_batch"]

# What a random number is for, so that two uses with the same numbers behind never share a stream.
_SHUFFLE, _AUGMENT, _SIZE = 0, 1, 2


@lru_cache(maxsize=4)  # two sources, each around the end of a pass
def _permutation(seed: int, slot: int, turn: int, n: int) -> NDArray[np.int32]:
    order = np.random.default_rng((seed, _SHUFFLE, slot, turn)).permutation(n).astype(np.int32)
    order.setflags(write=False)
    return order


Augment = AugmentConfig | DarknetAugment | DarknetCrops
"""Our augmentation, darknet's, or darknet's of a classifier, which is for images with a label alone."""


class MixedDataset(Dataset[Sample]):
    """Images of a detection and a classification source in an exact proportion, augmented.

    Each source is shuffled anew for each pass over it, and passed over as often as its share asks for: the smaller one
    is oversampled. In any stretch of positions (of batches, with ``batch_by_batch``) each kind's number is within one
    of its exact share. Positions have no end; ``len`` is one epoch, in which every image has come at least once.

    Parameters
    ----------
    detection, classification : Source, optional
        The sources. One of them may be None, to train on the other alone.
    batch_size : int
        Number of images of one batch over all ranks together.
    sizes : sequence of int
        Sides of the network's input in pixels; with several, all images of a batch have one of them.
    seed : int
        Seed of everything random.
    ratio : tuple (int, int), optional
        Images with a label to images with boxes, ``(4, 1)`` by default (the paper: ImageNet larger by 4 to 1). With
        only one source it must be None: a ratio asks for joint training.
    interleave : {"in_batch", "batch_by_batch"}
        ``in_batch`` mixes both kinds inside each batch, ``batch_by_batch`` has one kind in a batch.
    size_every : int
        Number of batches after which a new size is drawn (darknet: 10).
    detection_augment, classification_augment : AugmentConfig, DarknetAugment or DarknetCrops
        How much augmentation; a `DarknetAugment` augments as darknet does, `DarknetCrops` as it does for a classifier.
    mosaic : float
        Probability that a classification sample is a mosaic.
    box_mosaic : float
        Probability that a detection sample is a mosaic of images with boxes.
    mosaic_side : int
        Number of images along one side of a mosaic: 2 makes four cells.

    Raises
    ------
    DatasetError
        If a source is absent or empty, or an option is out of its range.
    ValueError
        If a source is of the wrong kind.

    Examples
    --------
    >>> dataset = MixedDataset(scenes, photos, batch_size=32, sizes=[320, 352, 384])  # doctest: +SKIP
    >>> dataset[1_000_000].image.shape  # doctest: +SKIP
    torch.Size([3, 352, 352])
    """

    def __init__(
        self,
        detection: Source | None,
        classification: Source | None,
        *,
        batch_size: int,
        sizes: Sequence[int],
        seed: int = 0,
        ratio: tuple[int, int] | None = None,
        interleave: Interleave = "in_batch",
        size_every: int = 10,
        detection_augment: Augment = DETECTION,
        classification_augment: Augment = CLASSIFICATION,
        mosaic: float = 0.0,
        box_mosaic: float = 0.0,
        mosaic_side: int = 2,
    ) -> None:
        _check_sources(detection, classification, ratio)
        for name, probability in (("mosaic", mosaic), ("box_mosaic", box_mosaic)):
            if not 0 <= probability <= 1:
                raise DatasetError(f"`{name}` {probability}: a probability from 0 to 1 is needed")
        if mosaic and classification is None:
            raise DatasetError("`mosaic`: mosaics are made of images with a label, and no source has them")
        if detection is not None and isinstance(detection_augment, DarknetCrops):
            raise DatasetError("darknet turns and crops the images of a classifier, which have no boxes")
        if mosaic and not isinstance(classification_augment, AugmentConfig):
            raise DatasetError("darknet's augmentation knows no mosaics; `mosaic` must be 0")
        if box_mosaic and not isinstance(detection_augment, AugmentConfig):
            raise DatasetError("darknet's augmentation knows no mosaics; `box_mosaic` must be 0")
        if not sizes or min(sizes) < 1:
            raise DatasetError(f"`sizes` {list(sizes)}: sides in pixels are needed")
        for name, value, least in (("batch_size", batch_size, 1), ("size_every", size_every, 1), ("seed", seed, 0)):
            if value < least:
                raise DatasetError(f"`{name}` {value}: at least {least} is needed")
        if mosaic_side < 2:
            raise DatasetError(f"`mosaic_side` {mosaic_side}: at least 2 is needed")
        if interleave not in ("in_batch", "batch_by_batch"):
            raise DatasetError(f"`interleave` {interleave!r}: in_batch or batch_by_batch is needed")
        if ratio is None:
            ratio = (4 if classification else 0, 1 if detection else 0)
        self.sources = (detection, classification)
        self.batch_size, self.sizes, self.seed = batch_size, tuple(sizes), seed
        self.interleave, self.size_every = interleave, size_every
        self.augments = (detection_augment, classification_augment)
        self.mosaics = (box_mosaic, mosaic)
        """Probability that an image with boxes, and one with a label, is a mosaic."""
        self.mosaic_side = mosaic_side
        self.detection_share = Fraction(ratio[1], ratio[0] + ratio[1])
        """Fraction of the images that come from the detection source."""
        self.unreadable = UnreadableCounter({source.name: len(source) for source in single_sources(self.sources)})
        """What could not be read; a loader's batches are counted by ``make_loader``."""
        self._length = self._epoch_length()
        self._warn_about_repeats()

    def __len__(self) -> int:
        return self._length

    def kind_at(self, position: int) -> tuple[int, int]:
        """Return 0 for detection or 1 for classification, and how many images of that kind came before."""
        n, batch = 1, position
        if self.interleave == "batch_by_batch":
            n, batch = self.batch_size, position // self.batch_size
        share = self.detection_share
        before, after = ((i * share.numerator) // share.denominator for i in (batch, batch + 1))
        if after > before:
            return 0, before * n + position % n
        return 1, (batch - before) * n + position % n

    def size_at(self, position: int) -> int:
        """Return the side in pixels of the images of the batch at ``position``."""
        if len(self.sizes) == 1:
            return self.sizes[0]
        turn = position // self.batch_size // self.size_every
        return self.sizes[int(np.random.default_rng((self.seed, _SIZE, turn)).integers(len(self.sizes)))]

    def index_at(self, position: int) -> tuple[int, int]:
        """Return 0 for detection or 1 for classification, and the image's index in that source."""
        slot, before = self.kind_at(position)
        source = self._source(slot)
        turn, place = divmod(before, len(source))
        return slot, int(_permutation(self.seed, slot, turn, len(source))[place])

    def __getitem__(self, position: int) -> Sample:
        """Return the sample at a position of the run; raises ``TooManyUnreadable``."""
        if position < 0:
            raise IndexError(f"MixedDataset: a position is at least 0, not {position}")
        slot, index = self.index_at(position)
        epoch, place = divmod(position, len(self))
        rng = np.random.default_rng((self.seed, _AUGMENT, epoch, place))
        size, config = self.size_at(position), self.augments[slot]
        source = self._source(slot)
        indices = [index]
        if (slot == 1 or self.mosaics[slot]) and rng.random() < self.mosaics[slot]:
            indices += rng.integers(len(source), size=self.mosaic_side**2 - 1).tolist()
        records: list[Record] = []
        replaced: tuple[Replacement, ...] = ()
        for i in indices:
            record, skipped = read_or_next(source, i)
            records.append(_checked(record, source))
            replaced += skipped
        records = [labelled_by(source, record) for record in records]
        sample = _augmented(records, size, rng, config)
        if replaced and get_worker_info() is None:
            self.unreadable.add(replaced)
        target = with_labelled_nodes(sample.target, _labelled_by_all(records))
        return replace(sample, target=target, replaced=replaced)

    def _source(self, slot: int) -> Source:
        source = self.sources[slot]
        if source is None:
            raise AssertionError("a source without a share has no positions")
        return source

    def _epoch_length(self) -> int:
        """Return how many positions it takes until each image has come, in whole batches."""
        length = 0
        for source, share in zip(self.sources, (self.detection_share, 1 - self.detection_share), strict=True):
            if source is not None:
                n = len(source)
                if self.interleave == "batch_by_batch":
                    batches = -(-n // self.batch_size)
                    length = max(length, -(-batches * share.denominator // share.numerator) * self.batch_size)
                else:
                    length = max(length, -(-n * share.denominator // share.numerator))
        # A share is met up to one image or batch: so much later the last one has come for certain.
        return -(-length // self.batch_size) * self.batch_size

    def _warn_about_repeats(self) -> None:
        for source, share in zip(self.sources, (self.detection_share, 1 - self.detection_share), strict=True):
            if source is None:
                continue
            of_batch = self.batch_size * (1 if self.interleave == "batch_by_batch" else share)
            if len(source) < of_batch:
                log.warning(
                    "%s has %d images, fewer than the %d of a batch: images repeat inside a batch",
                    source.name,
                    len(source),
                    -(-of_batch.numerator // of_batch.denominator),
                )


def _check_sources(detection: Source | None, classification: Source | None, ratio: tuple[int, int] | None) -> None:
    if detection is None and classification is None:
        raise DatasetError("neither a detection nor a classification source is given")
    for kind, source in (("detection", detection), ("classification", classification)):
        if source is None:
            if ratio is not None:
                raise DatasetError(
                    f"`ratio` {ratio} asks for joint training on two sources, and the {kind} source is missing. "
                    "Name one, or leave joint training off"
                )
        elif source.kind != kind:
            raise ValueError(f"MixedDataset: {source.name} is a {source.kind} source, given as the {kind} source")
        elif len(source) == 0:
            raise DatasetError(f"the {kind} source {source.name} has no images")
    names = [source.name for source in single_sources((detection, classification))]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError(f"several sources are called {', '.join(twice)}; give them different names")
    if ratio is not None and (len(ratio) != 2 or min(ratio) < 1):
        raise DatasetError(f"`ratio` {ratio}: two whole numbers above 0 are needed, classification first")


def _augmented(records: Sequence[Record], size: int, rng: np.random.Generator, config: Augment) -> Sample:
    if isinstance(config, DarknetAugment):
        return augment_as_darknet(records[0], size, rng, config)
    if isinstance(config, DarknetCrops):
        return crop_as_darknet(records[0], size, rng, config)
    if len(records) == 1:
        return augment(records[0], size, rng, config)
    return (box_mosaic if records[0].image_label is None else mosaic)(records, size, rng, config)


def _labelled_by_all(records: Sequence[Record]) -> NDArray[np.int64] | None:
    """What each of some images labels exhaustively; None means everything."""
    declared = [record.labelled_nodes for record in records if record.labelled_nodes is not None]
    if not declared:
        return None
    # mostly all are of one source, whose array is kept so that a batch carries it once
    common = declared[0]
    for nodes in declared[1:]:
        common = common if nodes is common else np.intersect1d(common, nodes)
    return common


def _checked(record: Record, source: Source) -> Record:
    """Return the record, without any boxes if it comes from a classification source."""
    if (record.image_label is not None) != (source.kind == "classification"):
        what = "no image_label" if record.image_label is None else "an image_label"
        raise ValueError(f"{source.name}: a {source.kind} source gave {what} for {record.key}")
    if source.kind == "detection":
        return record
    return Record(record.image, record.key, image_label=record.image_label)
