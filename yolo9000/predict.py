"""``yolo9000 predict RUN IMAGES...``: pictures with boxes and back-off labels, and all numbers in many formats."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from yolo9000.detection.config import DecodeConfig
from yolo9000.options import flags_of, parse, parse_some, typed
from yolo9000.results.config import PredictConfig
from yolo9000.runtime.interrupt import EXIT_INTERRUPTED, StopRequest
from yolo9000.runtime.mistakes import Mistake, printable, run

if TYPE_CHECKING:
    from yolo9000.datasets.sample import Unreadable
    from yolo9000.inference.predictor import Predictor
    from yolo9000.inference.sources import Frame, Sources
    from yolo9000.results.results import Results
    from yolo9000.results.writing import PredictionWriter
    from yolo9000.runtime.distributed import Processes

PROGRAM = "yolo9000 predict"
DEFAULT_FOLDER = "runs/predict"
ABOUT = """Detect things in images and say what they are as precisely as the net is sure.

  yolo9000 predict RUN IMAGES... [options]
  yolo9000 predict --weights FILE [--cfg FILE] IMAGES... [options]

RUN is the folder of a run, or a checkpoint. IMAGES are files, folders (with all folders inside), patterns in quotes
('photos/**/*.jpg'), http(s) addresses, video files, or the number of a camera. What cannot be read is named and left
out. Photographs are turned upright as their EXIF orientation says; boxes are pixels of the upright image.

two thresholds, two questions:
  --threshold       Which boxes are shown? Those whose score is above this. The score is the number beside a label:
                    objectness (is there a thing at all?) times the probability of the label. Lower it to see more
                    boxes, also wrong ones; raise it to see only the surest.
  --tree-threshold  How precisely do we say what it is? A label starts at the top of the tree and goes to the best child
                    as long as that child is more probable than this. At 0.5 a dog of which the net cannot tell the
                    breed is shown as "dog". Higher: safer, more general labels. Lower: bolder, more specific ones,
                    whose lower probability also lowers their score.

A label with a star, in a box with a broken line, is a class that never had a box in training.

examples:
  yolo9000 predict runs/joint photo.jpg
  yolo9000 predict runs/joint holiday/ --save-csv --no-pictures
  yolo9000 predict runs/joint clip.mp4 --save-video --classes dog cat
  yolo9000 predict runs/joint --source 0 --stream --no-pictures --no-save-json

Formats and the folder's contents: docs/predict.md."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of a prediction."""

    config: Annotated[PredictConfig, arg(name="")] = PredictConfig()


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """A prediction.

    Parameters
    ----------
    paths : tuple of str
        The folder of a run or an export, or a checkpoint (none with --weights); then images: files, folders, patterns,
        addresses, videos, or the number of a camera.
    """

    paths: Positional[Annotated[tuple[str, ...], arg(metavar="RUN IMAGES")]]


def main(words: Sequence[str] | None = None) -> int:
    """Predict; return the exit status: 0, 1 if an image could not be read, 2 for a mistake, 130 on Ctrl-C."""
    line = typed(words)
    return run(
        lambda: _predict(parse(Command, line, program=PROGRAM, about=ABOUT, options=Options), line),
        flags={**flags_of(Command), "resume": "train --resume", "init": "train --init"},
        interrupted="interrupted; nothing was written",
    )


def _predict(command: Command, line: Sequence[str]) -> int:
    # these here, for --help needs no torch
    from yolo9000.inference.sources import is_video, open_sources
    from yolo9000.runtime.device import pick_device, use_huge_pages
    from yolo9000.runtime.distributed import local_device_name
    from yolo9000.runtime.watch import together

    config = command.config
    net, named = _net_and_images(command)
    use_huge_pages()
    sources = open_sources(named, config.recursive)
    if config.save.save_video and not (sources.cameras or any(map(is_video, sources.files))):
        raise Mistake("`save_video`: there is no video and no camera among the images")
    with together(pick_device(config.open.device or local_device_name())) as processes, _stop(processes) as stop:
        if processes.is_first:
            return _predict_and_write(net, sources, config, processes, stop, line)
        for _ in _found(*_open(net, config, processes, line), sources, config, processes, stop):
            pass  # the first process gets all of it, and writes
        return EXIT_INTERRUPTED if stop.requested else 0


def _stop(processes: Processes) -> contextlib.AbstractContextManager[StopRequest]:
    """Several processes end together, at the end of a round; one alone ends at once."""
    stop = StopRequest(quiet=True)
    return stop if processes.world_size > 1 else contextlib.nullcontext(stop)


def _predict_and_write(
    net: str,
    sources: Sources,
    config: PredictConfig,
    processes: Processes,
    stop: StopRequest,
    line: Sequence[str],
) -> int:
    from yolo9000.results.writing import PredictionWriter
    from yolo9000.runtime.output_folder import choose_folder

    out = choose_folder(config.out, DEFAULT_FOLDER, overwrite=config.overwrite)
    writer = PredictionWriter(out, config.save, inputs=sources.files, rates=sources.rates)
    predictor, decode = _open(net, config, processes, line)
    found = _found(predictor, decode, sources, config, processes, stop)
    try:
        ended = _write_all(found, writer, stream=config.stream) and not stop.requested
        if processes.world_size > 1:  # who reads our lines may have enough of them, and the others must hear of it
            stop.requested = True
            collections.deque(found, maxlen=0)
    finally:
        written = writer.close()
    if sources.unreadable:
        left_out = len(sources.unreadable)
        print(f"{left_out} image{'s' * (left_out != 1)} could not be read", file=sys.stderr)
    print(f"written to {out}: {', '.join(written)}" if written else "nothing was written", file=sys.stderr)
    if not ended:
        print("interrupted; what was found before is there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 1 if sources.unreadable else 0


def _net_and_images(command: Command) -> tuple[str, tuple[str, ...]]:
    config, paths = command.config, command.paths
    net = config.weights
    if net is None and paths:
        net, paths = paths[0], paths[1:]
    images = (*paths, *config.source)
    if net is None or not images:
        given = "neither a run nor an image is named" if net is None else f"{net} is taken for the run"
        hint = "" if config.weights else "; or name `weights`"
        raise Mistake(f"which images? {given}{hint}")
    return net, images


def _open(net: str, config: PredictConfig, processes: Processes, line: Sequence[str]) -> tuple[Predictor, DecodeConfig]:
    """The net, and how its detections are made: as it was exported, if it decodes inside, but for what is typed."""
    from yolo9000.api.opening import default_decoding
    from yolo9000.darknet.decoding import detect_as_darknet
    from yolo9000.detection.decode import detect
    from yolo9000.exporting.opening import open_as
    from yolo9000.exporting.running import ready
    from yolo9000.inference.darknet_files import letterbox_of
    from yolo9000.inference.predictor import Predictor
    from yolo9000.inference.restrict import restrict
    from yolo9000.runtime.device import pick_device
    from yolo9000.runtime.distributed import local_device_name

    opened = config.open
    device = pick_device(opened.device or local_device_name())
    trained = open_as(net, opened, device)
    if config.classes:
        trained = restrict(trained, config.classes)
    decode = parse_some(DecodeConfig, line, program=PROGRAM, default=default_decoding(trained))
    letterbox = letterbox_of(trained, opened.letterbox)
    alone = processes.world_size == 1
    trained, settings = ready(trained, opened, device=device, compile=config.compile, measure=alone)
    predictor = Predictor(
        trained,
        device=device,
        settings=settings,
        letterbox=letterbox,
        decode=detect_as_darknet if config.decoding == "darknet" else detect,
    )
    return predictor, decode


def _found(
    predictor: Predictor,
    decode: DecodeConfig,
    sources: Sources,
    config: PredictConfig,
    processes: Processes,
    stop: StopRequest,
) -> Iterator[Results]:
    from tqdm import tqdm

    from yolo9000.datasets.sample import Record
    from yolo9000.results.finding import find_in_images
    from yolo9000.runtime.distributed import dealt

    def find(frames: Iterable[Frame]) -> Iterator[Results]:
        return find_in_images(
            predictor,
            (Record(image, name) for name, image in frames),
            decode,
            size=config.open.size,
            batch_size=1 if sources.cameras else config.batch_size,
        )

    if processes.world_size == 1:
        with tqdm(sources, total=sources.total, unit="image", disable=True if config.stream else None) as frames:
            yield from find(frames)
        return

    def each(part: Sources) -> tuple[list[Results], list[Unreadable]]:
        return [dataclasses.replace(found, kept=None) for found in find(part)], part.unreadable

    own = sources.dealt(config.batch_size, processes.rank, processes.world_size)
    for found, unreadable in dealt(each, own, processes, only_first=True, stop=lambda: stop.requested):
        sources.unreadable += unreadable
        yield from found


def _write_all(found: Iterator[Results], writer: PredictionWriter, *, stream: bool) -> bool:
    """Write and print what was found, image by image; False if Ctrl-C came, which is how a camera ends."""
    from tqdm import tqdm

    try:
        for results in found:
            entry = writer.add(results)
            tqdm.write(json.dumps(entry) if stream else _line(entry), file=sys.stdout)
            sys.stdout.flush()
    except BrokenPipeError:  # who reads our lines has enough of them, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return False
    return True


def _line(entry: dict[str, Any]) -> str:
    found = ", ".join(f"{each.get('name', each['node'])} {each['score']:.2f}" for each in entry["detections"])
    return f"{printable(entry['image'])}: {found or 'nothing'}"


if __name__ == "__main__":
    sys.exit(main())
