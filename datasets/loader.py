"""Batches of a `MixedDataset` for one rank of several, beginning at any position."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, pairwise
from typing import Literal

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.excerpt import Excerpt
from yolo9000.datasets.joined import labelled_by, with_labelled_nodes
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Batch, Record, Replacement, Sample, Source, collate
from yolo9000.datasets.transforms import letterbox
from yolo9000.datasets.unreadable import TooManyUnreadable, UnreadableCounter

StartMethod = Literal["fork", "spawn", "forkserver"]


def shares(number: int, parts: int) -> list[range]:
    """Cut a row of things into consecutive parts whose sizes differ by one at most.

    Examples
    --------
    >>> shares(8, 3)
    [range(0, 2), range(2, 5), range(5, 8)]
    """
    ends = [part * number // parts for part in range(parts + 1)]
    return [range(first, end) for first, end in pairwise(ends)]


class PositionSampler(Sampler[list[int]]):
    """The positions of one rank's batches.

    A batch has `batch_size` consecutive positions, and each rank takes a consecutive part of them, of which the sizes
    differ by one at most. So no two ranks read the same image, and together they read the same images for any number of
    ranks.

    Parameters
    ----------
    batch_size : int
        The images of one batch, over all ranks together.
    rank, world_size : int
        The number of this process, from 0, and the number of processes.
    start : int
        The position of the first image, a multiple of `batch_size`: the number of images that the run has seen, over
        all ranks.
    stop : int, optional
        The position to stop before, a multiple of `batch_size`; None never stops.
    shards : int, optional
        Cut each batch into so many parts first, of which each rank takes some: the parts are the same for any number of
        ranks. None is a part for each rank.

    Raises
    ------
    DatasetError
        If a rank would have no image of a batch.
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
        self,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        stop: int | None = None,
        shards: int | None = None,
    ) -> None:
        shards = world_size if shards is None else shards
        if batch_size < 1 or world_size < 1 or not world_size <= shards <= batch_size:
            raise DatasetError(f"`batch_size` {batch_size}: {max(shards, world_size)} ranks cannot share it")
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
        images, own = shares(batch_size, shards), shares(shards, world_size)[rank]
        self.own = range(images[own[0]].start, images[own[-1]].stop)
        """The places in a batch that are this rank's."""

    def __iter__(self) -> Iterator[list[int]]:
        for batch in count(self.start // self.batch_size):
            if self.stop is not None and batch * self.batch_size >= self.stop:
                return
            yield [batch * self.batch_size + place for place in self.own]

    def __len__(self) -> int:
        if self.stop is None:
            raise TypeError("this PositionSampler never stops")
        return max(0, self.stop - self.start) // self.batch_size


class BatchLoader:
    """An iterable of batches that counts unreadable images; `make_loader` and `make_evaluation_loader` make it.

    Parameters
    ----------
    loader : DataLoader
        The batches.
    unreadable : UnreadableCounter
        It counts the images that were replaced in each batch.
    """

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
                # A worker's error begins with the traceback of its process, which is of no use to the user.
                raise TooManyUnreadable(str(error).rpartition("TooManyUnreadable: ")[2].strip()) from None
            self._unreadable.add(batch.replaced)
            if len(batch):  # in an evaluation all of a batch may come again
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
    parts: int = 1,
    shards: int | None = None,
    workers: int = 0,
    prefetch: int = 4,
    start_method: StartMethod | None = None,
    pin_memory: bool | None = None,
) -> BatchLoader:
    """Return the batches of one rank, in the order of their positions.

    Parameters
    ----------
    dataset : MixedDataset
        The images. Its `batch_size` counts the images of all ranks together.
    rank, world_size, start : int
        As in `PositionSampler`.
    stop, shards : int, optional
        As in `PositionSampler`.
    parts : int
        Give each batch in so many equal parts, one after the other, which ranks share as they would share a batch.
        Sizes and kinds of images are those of whole batches.
    workers : int
        The number of processes that read and augment; 0 does it in this process.
    prefetch : int
        The number of batches that each worker prepares ahead.
    start_method : {"fork", "spawn", "forkserver"}, optional
        How workers are started; None is Python's default.
    pin_memory : bool, optional
        Put images into page-locked memory, so that copies to a GPU do not wait. The default is whether there is a GPU.

    Returns
    -------
    BatchLoader

    Raises
    ------
    TooManyUnreadable
        While iterating, if too many images of a source cannot be read.
    DatasetError
        If the ranks cannot share a batch, it has no so many equal parts, or `workers` is negative.

    Examples
    --------
    >>> for batch in make_loader(dataset, workers=4, start=images_seen):  # doctest: +SKIP
    ...     batch = batch.to("cuda", non_blocking=True)
    """
    if parts < 1 or dataset.batch_size % parts:
        raise DatasetError(f"`batch_size` {dataset.batch_size}: it cannot be cut into {parts} equal parts")
    sampler = PositionSampler(
        dataset.batch_size // parts, rank=rank, world_size=world_size, start=start, stop=stop, shards=shards
    )
    loader = _data_loader(dataset, sampler, collate, workers, prefetch, start_method, pin_memory)
    return BatchLoader(loader, dataset.unreadable)


class LetterboxedDataset(Dataset[Sample]):
    """The images of one source in their order, letterboxed and not augmented: for evaluation.

    Parameters
    ----------
    source : Source
        The images.
    size : int
        The side of the network's input in pixels.
    letterbox : callable
        It takes a record and `size` and returns a sample. A net that darknet trained needs
        `darknet_images.letterbox_as_darknet`.
    """

    def __init__(self, source: Source, size: int, letterbox: Callable[[Record, int], Sample] = letterbox) -> None:
        self.source, self.size, self.letterbox = source, size, letterbox

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`.

        Raises `Unreadable`, since an evaluation must not leave out an image silently; an `Excerpt` replaces such images
        instead, and the sample says so.
        """
        if not 0 <= index < len(self):  # without an IndexError, iterating over the data set would never end
            raise IndexError(f"image {index} of {len(self)}")
        source = self.source
        replaced: tuple[Replacement, ...]
        if isinstance(source, Excerpt):
            record, replaced, comes_again = source.read_or_next(index)
        else:
            record, replaced, comes_again = source.read(index), (), False
        record = labelled_by(source, record)
        sample = self.letterbox(record, self.size)
        target = with_labelled_nodes(sample.target, record.labelled_nodes)
        return replace(sample, target=target, replaced=replaced, comes_again=comes_again)


def make_evaluation_loader(
    source: Source,
    size: int,
    *,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    start_method: StartMethod | None = None,
    pin_memory: bool | None = None,
    letterbox: Callable[[Record, int], Sample] = letterbox,
) -> BatchLoader:
    """Return batches of a source's images in their order, letterboxed; the last batch may be smaller.

    Several ranks are dealt whole batches like cards, so that the net sees each batch as one process would. Images of an
    `Excerpt` that cannot be read are counted, and one that stands for them is left out where it has a place of its own:
    each image comes once, and a batch beside an unreadable one is smaller.

    Parameters
    ----------
    source : Source
        The images.
    size : int
        The side of the network's input in pixels.
    batch_size : int
        The images of one batch.
    rank, world_size : int
        The batches with the number rank, rank + world_size, and so on are read.
    workers : int
        As in `make_loader`.
    start_method : {"fork", "spawn", "forkserver"}, optional
        As in `make_loader`.
    pin_memory : bool, optional
        As in `make_loader`.
    letterbox : callable
        As in `LetterboxedDataset`.

    Returns
    -------
    BatchLoader

    Raises
    ------
    TooManyUnreadable
        While iterating, if too many images of an `Excerpt` cannot be read.
    DatasetError
        If `workers` is negative.
    """
    dataset = LetterboxedDataset(source, size, letterbox)
    batches = [list(range(i, min(i + batch_size, len(dataset)))) for i in range(0, len(dataset), batch_size)]
    loader = _data_loader(dataset, batches[rank::world_size], _collate_once, workers, 2, start_method, pin_memory)
    unreadable = source.unreadable if isinstance(source, Excerpt) else UnreadableCounter({source.name: len(source)})
    return BatchLoader(loader, unreadable)


def _collate_once(samples: Sequence[Sample]) -> Batch:
    """`collate` without the images that come again; the batch knows what those replaced, and may be empty."""
    once = [sample for sample in samples if not sample.comes_again]
    batch, rows = collate(once or samples), len(once)
    return Batch(
        images=batch.images[:rows],
        targets=batch.targets[:rows],
        keys=batch.keys[:rows],
        placements=batch.placements[:rows],
        replaced=tuple(each for sample in samples for each in sample.replaced),
    )


def _data_loader(
    dataset: Dataset[Sample],
    batches: Sampler[list[int]] | list[list[int]],
    collated: Callable[[Sequence[Sample]], Batch],
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
        collate_fn=collated,
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        worker_init_fn=_start_worker,
        prefetch_factor=prefetch if workers else None,
        persistent_workers=workers > 0,
        multiprocessing_context=multiprocessing.get_context(start_method) if workers and start_method else None,
        # Otherwise each new loader would draw a seed from torch's global generator and so change its state.
        generator=torch.Generator(),
    )


def _start_worker(worker: int) -> None:
    """Turn off OpenCV's threads in a worker process, and leave signals to its parent."""
    cv2.setNumThreads(0)  # the workers run in parallel already, and OpenCV's threads do not survive a fork
    _end_with_parent()


def _end_with_parent() -> None:
    """Leave Ctrl-C, and SIGTERM from anybody but the parent, to the parent.

    A terminal sends Ctrl-C, and torchrun, Slurm and systemd send SIGTERM, to all processes of a job. The parent then
    finishes its step, for which it wants what the worker is working on, and ends the worker when it has saved. Where a
    system does not say who sent a signal (macOS), SIGTERM ends the worker as usual.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = os.getppid()

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
