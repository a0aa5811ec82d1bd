"""Whether a run that goes on is still the same: its configuration, tree, data and machine, beside those it had."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch

from wordtree import TreeError, WordTree, load_tree
from yolo9000.datasets.box_index import BoxIndex
from yolo9000.datasets.joined import single_sources
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.datasets.sample import Source
from yolo9000.experiment.beginning import MAY_CHANGE
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import differences, from_plain
from yolo9000.experiment.data import Data
from yolo9000.experiment.left_out import Selection
from yolo9000.runtime.inventory import processor_name
from yolo9000.runtime.mistakes import Mistake

_STEPS = ("plan.steps", "plan.classification_steps", "plan.fine_tuning_steps")
"""How long phases are; the loop compares them with what is done."""


def other_configuration(content: Mapping[str, Any], config: RunConfig) -> list[str]:
    """How the configuration in a checkpoint differs from the one that a run goes on with, a line for each field.

    Parameters
    ----------
    content : mapping
        The checkpoint; older ones hold no configuration.
    config : RunConfig

    Returns
    -------
    list of str

    Examples
    --------
    >>> import dataclasses
    >>> other_configuration({"config": dataclasses.asdict(RunConfig(seed=3))}, RunConfig())
    ['`seed` 0 (the checkpoint has 3)']
    """
    if content.get("config") is None:
        return []
    try:
        before = from_plain(RunConfig, content["config"], "the checkpoint")
    except Mistake as error:  # of another version, whose fields were others
        return [str(error)]
    return [
        f"`{way.split('.')[-1]}` {now} (the checkpoint has {was})"
        for way, (was, now) in differences(before, config).items()
        if way not in MAY_CHANGE and way not in _STEPS
    ]


def fingerprints(data: Data) -> dict[str, dict[str, Any]]:
    """What a run is trained on: of each source the number of its images, and a hash of names, boxes and labels.

    Pixels are not read. Scenes are drawn from their configuration, and have a number alone.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, part in _parts(data).items():
        found[name] = {"images": len(part), "sha256": _hash(part)}
    return found


def _parts(data: Data) -> dict[str, Source]:
    return {
        f"{part.name} ({kind})": part
        for kind, source in (("boxes", data.detection), ("image labels", data.classification))
        for part in single_sources([source])
    }


def _hash(source: Source, tables: Sequence[str] = ("labels", "names")) -> str:
    digest = hashlib.sha256()
    values: list[Any] = [getattr(source, name, None) for name in tables]
    index = getattr(source, "index", None)
    if isinstance(index, BoxIndex):
        values += [index.names, index.sizes, index.offsets, index.boxes_xyxy, index.labels, index.ignore]
    for value in values:
        if isinstance(value, NameTable):
            for array in (value.blob, value.offsets):
                digest.update(array.tobytes())
        elif isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape};".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _older_hash(source: Source) -> str | None:
    """What earlier versions wrote of those sources that they did not hash all of; their runs go on with it."""
    if isinstance(source, Selection):
        return _hash(source, ())
    return _hash(source, ("labels",)) if isinstance(source, PackedImageNet) else None


def other_data(content: Mapping[str, Any], data: Data) -> list[str]:
    """How the data differ from those that a checkpoint was trained on, a line for each source; see `fingerprints`."""
    before, now = content.get("fingerprints"), fingerprints(data)
    if before is None:
        return []
    found = [f"{name}: not there any more" for name in before if name not in now]
    parts = _parts(data)
    for name, each in now.items():
        was = before.get(name)
        if was is None:
            found.append(f"{name}: it was not there")
        elif was["images"] != each["images"]:
            found.append(f"{name}: {each['images']:,} images (the checkpoint has {was['images']:,})")
        elif was["sha256"] not in (each["sha256"], _older_hash(parts[name])):
            found.append(f"{name}: {each['images']:,} images as before, but other names, boxes or labels")
    return found


def other_tree(tree: WordTree | None, named: str | None) -> list[str]:
    """How the tree that the configuration names differs from a checkpoint's; nothing if it cannot be read any more.

    Examples
    --------
    >>> other_tree(WordTree(("a", "b"), ("cat", "dog"), (-1, -1)), None)
    []
    """
    if tree is None or named is None:
        return []
    try:
        now = load_tree(named)
    except (TreeError, OSError):
        return []  # the checkpoint has its own
    if now.wnids == tree.wnids and now.parents == tree.parents:
        return []
    if len(now.wnids) != len(tree.wnids):
        return [f"`tree` {named}: {len(now.wnids):,} nodes (the checkpoint has {len(tree.wnids):,})"]
    first = next(
        i for i in range(len(tree.wnids)) if (now.wnids[i], now.parents[i]) != (tree.wnids[i], tree.parents[i])
    )
    return [f"`tree` {named}: node {first} is {now.names[first]} (the checkpoint has {tree.names[first]})"]


def machine_facts(device: torch.device, *, processes: int = 1, deterministic: bool = False) -> dict[str, Any]:
    """What the bits of a training depend on besides its configuration."""
    facts: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "deterministic": deterministic,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for name in ("yolo9000", "numpy", "opencv-python-headless", "pillow"):
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def other_machine(content: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """How the machine differs from the one that wrote a checkpoint.

    Examples
    --------
    >>> other_machine({"machine": {"threads": 4, "torch": "2.9"}}, {"threads": 2, "torch": "2.9"})
    ['threads 2 (the checkpoint has 4)']
    """
    before = content.get("machine") or {}
    return [
        f"{name} {facts.get(name)} (the checkpoint has {was})" for name, was in before.items() if was != facts.get(name)
    ]
