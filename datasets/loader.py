"""Batches of a :class:`MixedDataset`, for one of several ranks, from any position on."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Literal

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.joined import labelled_by, with_labelled_nodes
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Batch, Record, Sample, Source, collate
from yolo9000.datasets.transforms import letterbox
from yolo9000.datasets.unreadable import TooManyUnreadable, UnreadableCounter

StartMethod = Literal["fork", "spawn", "forkserver"]


class PositionSampler(Sampler[list[int]]):
    """The positions of one rank's batches.

    A batch has ``batch_size`` positions in a row, of which each rank takes an equal part in a row. So the ranks'
    images are disjoint, and together the same for any number of ranks.

    Parameters
    ----------
    batch_size
        Images of one batch over all ranks together.
    rank, world_size
        Which of how many processes this is.
    start
        Position of the first image: the number of images that the run has seen, over all ranks.
    stop
        Position to stop before; None never stops. Both are multiples of ``batch_size``.

    Raises
    ------
    DatasetError
        If the ranks cannot share a batch equally.
    ValueError
        If there is no such rank, or a position is not the first of a batch.

    Examples
    --------
    >>> list(PositionSampler(4, start=4, stop=12))
    [[4, 5, 6, 7], [8, 9, 10, 11]]
    >>> list(PositionSampler(4, rank=1, world_size=2, start=4, stop=12))
    [[6, 7], [10, 11]]
    """

    def __init__(
        self, batch_size: int, *, rank: int = 0, world_size: int = 1, start: int = 0, stop: int | None = None
    ) -> None:
        if batch_size < 1 or world_size < 1 or batch_size % world_size:
            raise DatasetError(f"`batch_size` {batch_size}: {world_size} ranks cannot share it equally")
        if not 0 <= rank < world_size:
            raise ValueError(f"PositionSampler: rank {rank} of {world_size}")
        for name, position in (("start", start), ("stop", start if stop is None else stop)):
            if position < 0 or position % batch_size:
                raise ValueError(
                    f"PositionSampler: {name}={position} is not the first position of a batch of {batch_size}; "
                    "a run is resumed with the batch size it was started with"
                )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[list[int]]:
        part = self.batch_size // self.world_size
        for batch in count(self.start // self.batch_size):
            if self.stop is not None and batch * self.batch_size >= self.stop:
                return
            first = batch * self.batch_size + self.rank * part
            yield list(range(first, first + part))

    def __len__(self) -> int:
        if self.stop is None:
            raise TypeError("this PositionSampler never stops")
        return max(0, self.stop - self.start) // self.batch_size


class BatchLoader:
    """Iterates over batches and counts the unreadable images among them; made by :func:`make_loader`."""

    def __init__(self, loader: DataLoader[Sample], unreadable: UnreadableCounter) -> None:
        self._loader, self._unreadable = loader, unreadable

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except TooManyUnreadable as error:
                # A worker's arrives with that process's traceback in front, which is of no use to the user.
                raise TooManyUnreadable(str(error).rpartition("TooManyUnreadable: ")[2].strip()) from None
            self._unreadable.add(batch.replaced)
            yield batch

    def __len__(self) -> int:
        return len(self._loader)


def make_loader(
    dataset: MixedDataset,
    *,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
    stop: int | None = None,
    workers: int = 0,
    prefetch: int = 4,
    start_method: StartMethod | None = None,
    pin_memory: bool | None = None,
) -> BatchLoader:
    """Return the batches of one rank, in the order of their positions.

    Parameters
    ----------
    dataset
        What to load. Its ``batch_size`` is shared by all ranks.
    rank, world_size, start, stop
        See :class:`PositionSampler`.
    workers
        Processes that read and augment; 0 does it in this one.
    prefetch
        Batches that each worker prepares ahead.
    start_method
        How workers are started; None is Python's default.
    pin_memory
        Put images into page-locked memory, for copies that do not wait; by default if there is a GPU.

    Raises
    ------
    TooManyUnreadable
        While iterating, if too many images of a source cannot be read.
    DatasetError
        See :class:`PositionSampler`; or `workers` is negative.

    Examples
    --------
    >>> for batch in make_loader(dataset, workers=4, start=images_seen):  # doctest: +SKIP
    ...     batch = batch.to("cuda", non_blocking=True)
    """
    sampler = PositionSampler(dataset.batch_size, rank=rank, world_size=world_size, start=start, stop=stop)
    return BatchLoader(_data_loader(dataset, sampler, workers, prefetch, start_method, pin_memory), dataset.unreadable)


class LetterboxedDataset(Dataset[Sample]):
    """The images of one source in their order, letterboxed and not augmented: for evaluation.

    Parameters
    ----------
    source
        What to read.
    size
        Side of the network's input in pixels.
    letterbox
        Record, size -> sample; `darknet_images.letterbox_as_darknet` for a net that darknet trained.
    """

    def __init__(self, source: Source, size: int, letterbox: Callable[[Record, int], Sample] = letterbox) -> None:
        self.source, self.size, self.letterbox = source, size, letterbox

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return sample ``index``; raises ``Unreadable``: an evaluation leaves nothing out in silence."""
        if not 0 <= index < len(self):  # or iterating over the data set would never end
            raise IndexError(f"image {index} of {len(self)}")
        record = labelled_by(self.source, self.source.read(index))
        sample = self.letterbox(record, self.size)
        return replace(sample, target=with_labelled_nodes(sample.target, record.labelled_nodes))


def make_evaluation_loader(
    source: Source,
    size: int,
    *,
    batch_size: int,
    workers: int = 0,
    start_method: StartMethod | None = None,
    pin_memory: bool | None = None,
    letterbox: Callable[[Record, int], Sample] = letterbox,
) -> DataLoader[Sample]:
    """Return batches of a source's images in their order, letterboxed; the last batch may be smaller.

    Iterating gives :class:`Batch` objects; parameters are those of :func:`make_loader` and
    :class:`LetterboxedDataset`.
    """
    dataset = LetterboxedDataset(source, size, letterbox)
    batches = [list(range(i, min(i + batch_size, len(dataset)))) for i in range(0, len(dataset), batch_size)]
    return _data_loader(dataset, batches, workers, 2, start_method, pin_memory)


def _data_loader(
    dataset: Dataset[Sample],
    batches: Sampler[list[int]] | list[list[int]],
    workers: int,
    prefetch: int,
    start_method: StartMethod | None,
    pin_memory: bool | None,
) -> DataLoader[Sample]:
    if workers < 0:
        raise DatasetError(f"`workers` {workers}: 0 or more is needed")
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        worker_init_fn=_start_worker,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=workers > 0,
        multiprocessing_context=multiprocessing.get_context(start_method) if workers and start_method else None,
        # Otherwise the loader draws a seed from torch's global state, which would then depend on how often one is made.
        generator=torch.Generator(),
    )


def _start_worker(worker: int) -> None:
    """Set up a worker process."""
    cv2.setNumThreads(0)  # the workers are the parallelism; and OpenCV's threads do not survive a fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends the workers
