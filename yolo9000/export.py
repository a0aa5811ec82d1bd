"""``yolo9000 export RUN --format onnx``: a trained detector as files that other programs run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from yolo9000.exporting.config import ExportConfig
from yolo9000.inference.config import OpenConfig
from yolo9000.options import flags_of, parse, some_options, typed, values_of
from yolo9000.runtime.mistakes import Mistake, run

if TYPE_CHECKING:
    from pathlib import Path

    from yolo9000.inference.model import TrainedModel
    from yolo9000.inference.sources import Sources

PROGRAM = "yolo9000 export"
ABOUT = """Write a trained detector as a folder of files: for onnxruntime, OpenVINO, torch without this program, the
Hugging Face Hub, or darknet. The folder is opened again in place of a RUN by predict and evaluate, with the same
detections.

examples:
  yolo9000 export runs/joint --format onnx --check photos/
  yolo9000 export runs/joint --format onnx --decoded --threshold 0.3
  yolo9000 export runs/joint --format openvino --int8 --calibrate photos/
  yolo9000 export runs/joint --format safetensors --license cc-by-sa-4.0
  yolo9000 export yolo9000.weights --cfg yolo9000.cfg --format onnx"""

if TYPE_CHECKING:
    Opened = OpenConfig
else:
    Opened = some_options(OpenConfig, dict.fromkeys(("cfg", "tree", "names", "best", "size")))


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of an export."""

    config: Annotated[ExportConfig, arg(name="")] = ExportConfig()
    open: Annotated[Opened, arg(name="")] = Opened()


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """An export.

    Parameters
    ----------
    run : str
        The folder of a run, a checkpoint, a safetensors folder, or weights of darknet's.
    """

    run: Positional[Annotated[str, arg(metavar="RUN")]]


def main(words: Sequence[str] | None = None) -> int:
    """Export; return the exit status: 0, 1 if files in float32 find other things, 2 for a mistake, 130 on Ctrl-C."""
    return run(
        lambda: _export(parse(Command, typed(words), program=PROGRAM, about=ABOUT, options=Options)),
        flags={**flags_of(Command), "resume": "train --resume", "init": "train --init"},
        interrupted="interrupted; nothing was written",
    )


def _export(command: Command) -> int:
    from yolo9000.experiment.export import export_as  # these here, for --help needs no torch
    from yolo9000.exporting.checking import describe_files
    from yolo9000.exporting.hub import push_to_hub
    from yolo9000.exporting.opening import open_as
    from yolo9000.inference.sources import open_sources

    config, opened = command.config, OpenConfig(**values_of(command.open))
    images = open_sources(config.check) if config.check else None  # before anything is made
    trained = open_as(command.run, opened)
    out = export_as(trained, config, size=opened.size)
    print(f"written to {out}: {describe_files(out)}")
    try:
        status = _check(trained, out, images, config) if images else 0
        if config.push_to_hub:
            print(f"uploaded to {push_to_hub(out, config.push_to_hub)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {out} is written") from None
    return status


def _check(trained: TrainedModel, out: Path, images: Sources, config: ExportConfig) -> int:
    from tqdm import tqdm

    from yolo9000.datasets.sample import Record
    from yolo9000.exporting.checking import compare
    from yolo9000.exporting.opening import open_exported

    frames = tqdm(images, desc="checking", total=images.total, unit="image", disable=None)
    records = (Record(image, name) for name, image in frames)
    found = compare(trained, open_exported(out), records, config.decode)
    if not found.images:
        raise Mistake("`check`: none of the images can be read")
    for line in found.differing[:20]:
        print(f"  {line}")
    print(found)
    return int(bool(found.differing) and not config.int8)


if __name__ == "__main__":
    sys.exit(main())
