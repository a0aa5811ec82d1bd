"""``python -m yolo9000.export RUN --format onnx``: a trained detector as files that other programs run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from yolo9000.exporting.config import ExportConfig
from yolo9000.inference.config import OpenConfig
from yolo9000.options import flags_of, parse, some_options, typed
from yolo9000.runtime.mistakes import Mistake, run

if TYPE_CHECKING:
    from yolo9000.inference.model import TrainedModel
    from yolo9000.inference.sources import Sources

PROGRAM = "python -m yolo9000.export"
ABOUT = """Write a trained detector as a folder of files: for onnxruntime, OpenVINO, torch without this program, the
Hugging Face Hub, or darknet. The folder is opened again in place of a RUN by predict and evaluate, with the same
detections.

examples:
  python -m yolo9000.export runs/joint --format onnx --check photos/
  python -m yolo9000.export runs/joint --format onnx --decoded --threshold 0.3
  python -m yolo9000.export runs/joint --format openvino --int8 --calibrate photos/
  python -m yolo9000.export runs/joint --format safetensors --license cc-by-sa-4.0
  python -m yolo9000.export yolo9000.weights --cfg yolo9000.cfg --format onnx"""

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
    from wordtree import load_tree  # these here, for --help needs no torch
    from yolo9000.darknet.cfg_files import read_names
    from yolo9000.experiment.label_counts import counts_if_there
    from yolo9000.exporting.checking import describe_files
    from yolo9000.exporting.hub import push_to_hub, save_pretrained
    from yolo9000.exporting.opening import open_any
    from yolo9000.exporting.writing import export_model
    from yolo9000.inference.sources import open_sources

    config, opened = command.config, command.open
    images = open_sources(config.check) if config.check else None  # before anything is made
    OpenConfig(size=opened.size)  # refuses a size that is no multiple of 32
    trained = open_any(
        command.run,
        opened.cfg,
        tree=load_tree(opened.tree) if opened.tree else None,
        names=read_names(opened.names) if opened.names else None,
        best=opened.best,
    )
    out = Path(config.out or f"{_name_of(command.run)}-{config.format}")
    if config.format == "safetensors":
        counts = counts_if_there(trained)
        folder = save_pretrained(trained, out, size=opened.size, license=config.license, counts=counts)
    else:
        calibrate = [Path(config.calibrate)] if config.calibrate else None
        folder = export_model(
            trained,
            out,
            config.format,
            form=config.form,
            size=opened.size,
            decode=config.decode,
            calibrate=calibrate,
            calibration_images=config.calibration_images,
            opset=config.opset,
        )
    print(f"written to {out}: {describe_files(out)}")
    status = _check(trained, out, images, config) if images else 0
    if config.push_to_hub:
        print(f"uploaded to {push_to_hub(folder.path, config.push_to_hub)}")
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


def _name_of(run: str) -> str:
    """The name of a run's folder, or of a file without its suffix."""
    path = Path(run).resolve()
    return path.name if path.is_dir() else path.parent.name if path.suffix == ".pt" else path.stem


if __name__ == "__main__":
    sys.exit(main())
