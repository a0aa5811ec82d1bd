"""Folders as the Hugging Face Hub keeps models: saved, opened, and uploaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.folder import CARD, CONFIG, ExportedFolder, describes_export, read_folder
from yolo9000.exporting.model_card import Counts, model_card
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def save_pretrained(
    trained: TrainedModel,
    out: str | Path,
    *,
    size: int | None = None,
    license: str | None = None,
    counts: Counts | None = None,
) -> ExportedFolder:
    """Write ``model.safetensors config.json tree.json README.md``.

    Parameters
    ----------
    trained : TrainedModel
    out : str or Path
        The folder, which must not be there.
    size : int, optional
        The side of the input that is taken unless another is wanted.
    license, counts : str and mapping, optional
        See `yolo9000.exporting.model_card.model_card`.

    Returns
    -------
    ExportedFolder

    Raises
    ------
    EngineAbsent, ExportError
        See `yolo9000.exporting.writing.export_model`.
    """
    card = model_card(trained, license=license, counts=counts)
    folder = export_model(trained, out, "safetensors", size=size)
    (folder.path / CARD).write_text(card, encoding="utf-8")
    return folder


def fetch_export(name_or_folder: str | Path, *, revision: str | None = None, hub: Any = None) -> Path:
    """An exported folder as it is, or that of a repository of the Hub, which is downloaded.

    Parameters
    ----------
    name_or_folder : str or Path
        An exported folder, or OWNER/NAME.
    revision : str, optional
        A branch, tag or commit of the repository.
    hub : huggingface_hub.HfApi, optional
        Another one than that of the environment, with its token.

    Returns
    -------
    Path

    Raises
    ------
    EngineAbsent
        huggingface_hub is not installed.
    ExportError
        It is neither a folder nor a name, the repository cannot be read, or there is no export in it.
    """
    if Path(name_or_folder).exists():
        if revision is not None:
            raise ExportError(f"`revision` {revision}: {name_or_folder} is a folder, which has one; leave it out")
        return _checked(Path(name_or_folder))
    name = _repository(str(name_or_folder))
    hub = hub or optional_module("huggingface_hub").HfApi()
    try:
        folder = hub.snapshot_download(repo_id=name, revision=revision)
    except Exception as error:
        raise ExportError(f"{name}: cannot be downloaded ({error})") from error
    return _checked(Path(folder))


def _checked(folder: Path) -> Path:
    if not describes_export(folder):
        raise ExportError(f"{folder / CONFIG}: is absent, or not of an export of this program")
    return folder


def push_to_hub(folder: str | Path, name: str, *, private: bool = True, hub: Any = None) -> str:
    """Upload an exported folder to a repository of the Hub, which is made if it is not there.

    Parameters
    ----------
    folder : str or Path
    name : str
        OWNER/NAME.
    private : bool
        Whether a repository that is made can be seen by its owner alone.
    hub : huggingface_hub.HfApi, optional
        Another one than that of the environment, with its token.

    Returns
    -------
    str
        The address of the repository.

    Raises
    ------
    EngineAbsent
        huggingface_hub is not installed.
    ExportError
        The folder is no export or is torn, the name is none, or the Hub refuses.
    """
    exported, name = read_folder(folder), _repository(name)
    hub = hub or optional_module("huggingface_hub").HfApi()
    try:
        address = hub.create_repo(repo_id=name, repo_type="model", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            repo_type="model",
            folder_path=str(exported.path),
            commit_message=f"A detector of {exported.spec.classes}, exported as {exported.format}",
        )
    except Exception as error:
        raise ExportError(f"{name}: the Hub does not take it ({error})") from error
    return str(address)


def _repository(name: str) -> str:
    if not _REPOSITORY.fullmatch(name):
        raise ExportError(f"{name}: neither a folder nor a repository OWNER/NAME of the Hub")
    return name
