"""An exported folder opened as a trained detector, for prediction and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wordtree import WordTree, load_tree
from yolo9000.darknet.cfg_files import read_names
from yolo9000.exporting.engine_detector import engine_detector, head_of_rows
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.folder import ExportedFolder, is_exported, read_folder
from yolo9000.inference.config import Engine, OpenConfig
from yolo9000.inference.darknet_files import load_darknet, name_detector, open_detector
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.nets import build_model
from yolo9000.inference.same_classes import check_same_classes
from yolo9000.models.model import DetectionModel
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.checkpoint import CheckpointError, load_weights


def open_exported(
    path: str | Path,
    *,
    engine: Engine | None = None,
    device: torch.device | None = None,
    threads: int | None = None,
) -> TrainedModel:
    """Open an exported folder as a detector that predicts as the net does that it was made of.

    Parameters
    ----------
    path : str or Path
        The folder, or the file of the net in it.
    engine : {"onnxruntime", "openvino", "torch", "auto"}, optional
        What runs the file. By default the engine that it was made for; an ONNX file is run by OpenVINO as well.
    device : torch.device, optional
        Where weights of torch are, the CPU by default. Engines run on the CPU, and hand their answers over.
    threads : int, optional
        Threads of the engine; as many as torch has by default.

    Returns
    -------
    TrainedModel
        Its detector is a net of ours for weights (safetensors, darknet), and otherwise an
        `yolo9000.exporting.engine_detector.EngineDetector`, which cannot be trained.

    Raises
    ------
    EngineAbsent
        The engine is not installed; the message names the extra.
    ExportError
        The folder is no export, or a file is absent, torn or another.
    wordtree.TreeError
        ``tree.json`` is another tree, or none.

    Examples
    --------
    >>> open_exported("runs")
    Traceback (most recent call last):
    yolo9000.exporting.errors.ExportError: runs/config.json: is absent, ...
    """
    folder = read_folder(path)
    device = device or torch.device("cpu")
    if folder.form == "weights":  # a net as any other, see `yolo9000.exporting.running`
        return _open_weights(folder, device)
    detector = _open_net(folder, None if engine == "auto" else engine, threads).to(device).eval().requires_grad_(False)
    return _trained(folder, detector)


def _open_net(folder: ExportedFolder, engine: Engine | None, threads: int | None) -> DetectionModel:
    spec, head = folder.spec, None
    if folder.form == "features":
        if not isinstance(spec, RegionSpec):
            raise ExportError(f"{folder.path}: a head beside the file is for nets with priors alone")
        head = head_of_rows(read_safetensors(folder.head), spec, str(folder.head))
    return engine_detector(
        spec,
        open_engine(folder.model, engine, threads=threads),
        folder.form,
        folder.net,
        stride=folder.about["stride"],
        only_size=folder.about.get("only_size"),
        decode=folder.decode,
        head=head,
    )


def _open_weights(folder: ExportedFolder, device: torch.device) -> TrainedModel:
    if folder.format == "darknet":
        detector = load_darknet(folder.model, folder.model.with_suffix(".cfg"), device=device).detector
        classes = folder.spec.classes  # a cfg has no names, and a guess at them
        if detector.classes.number != classes.number:
            raise ExportError(
                f"{folder.path}: its config.json has {classes.number} classes, the cfg {detector.classes.number}"
            )
        detector.set_classes(classes)
        return _trained(folder, detector)
    state = read_safetensors(folder.model)
    _check_weights(folder, state)
    try:
        model = build_model(folder.net, str(folder.path))
    except (TypeError, KeyError, ValueError) as error:
        raise ExportError(f"{folder.path}: its config.json describes no net ({error})") from error
    load_weights(model, state, folder.model)
    return _trained(folder, model.to(device).eval())


def _check_weights(folder: ExportedFolder, state: Mapping[str, Tensor]) -> None:
    """Compare weights with the net that is described before any memory is taken for it."""
    try:
        with torch.device("meta"):
            expected = build_model(folder.net, str(folder.path)).state_dict()
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ExportError(f"{folder.path}: its config.json describes no net ({error})") from error
    wrong = sorted(set(expected) ^ set(state))
    wrong += [name for name in set(expected) & set(state) if expected[name].shape != state[name].shape]
    if wrong:
        raise ExportError(f"{folder.model}: its weights are of another net than config.json describes: {wrong[0]}")


def _trained(folder: ExportedFolder, model: torch.nn.Module) -> TrainedModel:
    if not isinstance(model, DetectionModel):
        raise ExportError(f"{folder.path}: describes no detector")
    content = folder.content
    if not model.has_engine:  # darknet's files make another net than the one that they were made of
        own = {"detector": model.description, "net": model.description}
        content |= {**own, "average": None, "model": model.state_dict()}
    return TrainedModel(
        model=model,
        size=folder.about["size"],
        boxed=tuple(folder.about["boxed"]),
        never_boxed=tuple(folder.about["never_boxed"]),
        step=int(folder.about["position"].get("step", 0)),
        content=content,
        path=folder.model,
    )


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises
    ------
    EngineAbsent
        safetensors is not installed.
    ExportError
        It is no such file.
    """
    safetensors = optional_module("safetensors.torch")
    try:
        found: dict[str, Tensor] = safetensors.load_file(str(file))
    except Exception as error:  # its error is none of Python's, and has no stable home
        raise ExportError(f"{file}: is torn, or no safetensors file ({error})") from error
    return found


def open_any(
    run: str | Path,
    cfg: str | Path | None = None,
    *,
    tree: WordTree | None = None,
    names: Sequence[str] | None = None,
    best: bool = False,
    averaged: bool = True,
    engine: Engine | None = None,
    device: torch.device | None = None,
) -> TrainedModel:
    """Open whatever predicts: an exported folder (`open_exported`), or what `open_detector` takes; with their errors.

    Parameters
    ----------
    run : str or Path
        An exported folder or its file, a run, a checkpoint, or darknet's weights.
    cfg, tree, names, best, averaged, device : Any
        See `yolo9000.inference.darknet_files.open_model`.
    engine : str, optional
        What runs an exported file; any other net gets its engine from `yolo9000.exporting.running.ready`.
    """
    if not is_exported(run):
        return open_detector(run, cfg, tree=tree, names=names, best=best, averaged=averaged, device=device)
    if cfg is not None:
        raise CheckpointError(f"`cfg` {cfg}: {run} is an export, which knows its net")
    if best:
        raise CheckpointError(f"`best`: {run} is an export, which has the weights of one step; leave it out")
    trained = open_exported(run, engine=engine, device=device)
    if tree is not None:
        check_same_classes(TreeClasses(tree), trained.classes, str(trained.path))
    if names is not None:
        name_detector(trained.detector, names, str(trained.path))
    return trained


def open_as(
    run: str | Path, opened: OpenConfig, device: torch.device | None = None, *, averaged: bool = True
) -> TrainedModel:
    """`open_any` of what an `OpenConfig` says, whose tree and names are files.

    Parameters
    ----------
    run : str or Path
    opened : OpenConfig
        Its cfg, tree, names, best and engine; the rest is for `yolo9000.exporting.running.ready`.
    device : torch.device, optional
    averaged : bool
    """
    return open_any(
        run,
        opened.cfg,
        tree=load_tree(opened.tree) if opened.tree else None,
        names=read_names(opened.names) if opened.names else None,
        best=opened.best,
        averaged=averaged,
        engine=opened.engine,
        device=device,
    )
