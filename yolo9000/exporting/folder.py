"""The folder of an export: the file that an engine runs or that holds weights, and beside it what its numbers mean.

==================  ==================================================================================================
file                holds
==================  ==================================================================================================
config.json         which net it is, what its numbers mean (priors, names of flat classes), its size, thresholds,
                    which classes had boxes, and the SHA-256 of the other files
tree.json           the tree, if the classes have one
model.*             the net, or all of it but the head
head.safetensors    weights of the head, where the file answers with features
README.md           the model card of a safetensors folder
==================  ==================================================================================================

Nothing in them is executed when they are read, but for what an engine does with its own file.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from wordtree import TreeMismatch, load_tree, save_tree
from wordtree.formats import to_json
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.config import Form, Format
from yolo9000.exporting.errors import ExportError
from yolo9000.exporting.forms import size_step
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.nets import spec_of
from yolo9000.models.grid import GridSpec
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.run_folder import RunFolder

FORMAT, VERSION = "yolo9000-export", 1
CONFIG, TREE, HEAD, CARD = "config.json", "tree.json", "head.safetensors", "README.md"
MODEL: dict[Format, str] = {
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "torchscript": "model.torchscript",
    "safetensors": "model.safetensors",
    "darknet": "model.weights",
}
"""Format -> the name of its file."""

_FREE = (CONFIG, CARD, TREE)  # a card is for its owner to edit; a tree is compared by its content
_OF_TRAINING = ("batch_size", "darknet", "image_labels", "phases")


@dataclass(frozen=True)
class ExportedFolder:
    """An export that was read, whose files are whole.

    Parameters
    ----------
    path : Path
        The folder.
    about : mapping
        The content of its ``config.json``.
    net : mapping
        The description of the net, with its tree; see `yolo9000.models.model.Model.description`.
    """

    path: Path
    about: Mapping[str, Any]
    net: Mapping[str, Any]

    @property
    def format(self) -> Format:
        """The kind of its file."""
        format: Format = self.about["kind"]
        return format

    @property
    def form(self) -> Form:
        """What its file answers."""
        form: Form = self.about["form"]
        return form

    @property
    def model(self) -> Path:
        """The file itself."""
        return self.path / MODEL[self.format]

    @property
    def head(self) -> Path:
        """The weights of the head."""
        return self.path / HEAD

    @property
    def decode(self) -> DecodeConfig:
        """How its detections are made."""
        return DecodeConfig(**self.about["decode"])

    @property
    def spec(self) -> RegionSpec | GridSpec:
        """What the numbers of the net mean."""
        return spec_of(self.net)

    @property
    def content(self) -> dict[str, Any]:
        """What a checkpoint says besides weights; see `yolo9000.inference.model.TrainedModel`."""
        training = {key: self.about[key] for key in (*_OF_TRAINING, "data", "position", "size") if key in self.about}
        labels = {key: self.about[key] for key in ("boxed", "never_boxed")}
        return {**training, **labels, "detector": self.net, "net": self.net}


def describe_export(
    trained: TrainedModel, *, kind: Format, form: Form, size: int, decode: DecodeConfig, int8: bool = False
) -> dict[str, Any]:
    """The content of ``config.json``, without the sums of files.

    Parameters
    ----------
    trained : TrainedModel
    kind : str
        The format.
    form : str
    size : int
        The side of the input that is taken unless another is wanted.
    decode : DecodeConfig
    int8 : bool
        Whether the convolutions are in eight bits.

    Returns
    -------
    dict
        Plain values. No path of the machine that it was trained on is among them.
    """
    net = copy.deepcopy(dict(trained.detector.description))
    classes = _classes_in(net)
    if classes["over"] == "tree":
        classes["tree"] = None  # it lies beside, as people and tools read it
    tree, detector = trained.classes.tree, trained.detector
    about: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "form": form,
        "int8": int8,
        "size": size,
        "stride": detector.stride,
        "only_size": detector.only_size if form == "weights" or size_step(detector) else size,
        "input": "images: (batch, 3, height, width), float32, RGB in 0..1, letterboxed to a square",
        "decode": asdict(decode),
        "tree_digest": None if tree is None else tree.digest,
        "boxed": list(trained.boxed),
        "never_boxed": list(trained.never_boxed),
        "position": {"step": trained.step},
        **{key: trained.content[key] for key in _OF_TRAINING if trained.content.get(key) is not None},
        "net": net,
    }
    if "data" in trained.content:
        about["data"] = _without_paths(trained.content["data"])
    return about


def _classes_in(net: Mapping[str, Any]) -> dict[str, Any]:
    classes: dict[str, Any] = net["region" if "region" in net else "detection"]["classes"]
    return classes


def _without_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of data with the last names of folders and files alone: an export goes to other machines."""
    plain = dict(data)
    plain["sets"] = [[layout, last_name(path)] for layout, path in data.get("sets") or ()]
    for key in ("tree", "val", "boxed", "keep_scenes"):
        if isinstance(plain.get(key), str):
            plain[key] = last_name(plain[key])
    return plain


def last_name(place: str) -> str:
    """The last name of a path or URL, without what a URL lets people in by: a signature, or a name and password.

    Examples
    --------
    >>> last_name("/home/ann/coco"), last_name("https://ann:secret@host/zoo/{train,val}.tar?signature=abc")
    ('coco', '{train,val}.tar')
    """
    if "://" in place:
        place = re.split(r"[?#]", re.sub(r"://[^/]*@", "://", place))[0]
    return Path(place).name


# ------------------------------------------------------------------------------------------------------------- write


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes its name when it is whole.

    Yields
    ------
    Path
        A temporary folder beside it, which is removed if anything is raised.

    Raises
    ------
    ExportError
        Something of that name is there already.
    OSError
        It cannot be made.
    """
    if out.exists() or out.is_symlink():
        raise ExportError(f"{out}: is there already; name another folder with `out`")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise OSError(f"{out}: cannot write there ({error.strerror}); name another folder with `out`") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_about(folder: Path, about: Mapping[str, Any], trained: TrainedModel) -> None:
    """Write the tree, and ``config.json`` with the sums of all files that are there."""
    if trained.classes.tree is not None:
        save_tree(trained.classes.tree, folder / TREE)
    sums = {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.name not in _FREE}
    text = json.dumps({**about, "files": sums}, indent=1, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# -------------------------------------------------------------------------------------------------------------- read


def is_exported(path: str | Path) -> bool:
    """Whether a path is an export: its folder, or a file in it. Nothing but ``config.json`` is looked at.

    Examples
    --------
    >>> is_exported("runs/joint")
    False
    """
    found = _says_so(Path(path))
    return (
        Path(path).suffix in {Path(name).suffix for name in MODEL.values()} - {".weights"} if found is None else found
    )


def describes_export(path: str | Path) -> bool:
    """Whether ``config.json`` says that a path is an export; a file that lies alone is none, whatever its name.

    Examples
    --------
    >>> describes_export("resnet18.safetensors"), is_exported("resnet18.safetensors")
    (False, True)
    """
    return bool(_says_so(Path(path)))


def name_of(file: str | Path) -> str:
    """What a net is called: by the folder of its run or export, whose files have the same names in all, or by its file.

    Parameters
    ----------
    file : str or Path
        The checkpoint, the weights, or the file of an export.

    Examples
    --------
    >>> name_of("runs/joint/last.pt"), name_of("nets/mine.pt"), name_of("yolo9000.weights")
    ('joint', 'mine', 'yolo9000')
    """
    file = Path(file)
    run = RunFolder(file.parent)
    named_alike = file in (run.last, run.best, *run.earlier) or describes_export(file)
    return file.parent.resolve().name if named_alike else file.stem


def _says_so(path: Path) -> bool | None:
    """Whether ``config.json`` is that of an export; None if it cannot be read."""
    try:
        text = (_folder_of(path) / CONFIG).read_text(encoding="utf-8")
        return FORMAT in text and json.loads(text).get("format") == FORMAT
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _folder_of(path: Path) -> Path:
    return path.parent if path.is_file() else path


def read_folder(path: str | Path) -> ExportedFolder:
    """Read what an export says of itself, and compare its files with their sums.

    Parameters
    ----------
    path : str or Path
        The folder, or a file in it.

    Raises
    ------
    ExportError
        There is no export, or one of another version; a file is absent, torn or another; the description makes no
        net. The message names the file.
    wordtree.TreeError
        ``tree.json`` cannot be read, or is another tree.
    """
    folder = _folder_of(Path(path))
    about = _read_config(folder / CONFIG)
    for name, expected in about["files"].items():
        file = folder / name
        if not file.is_file():
            raise ExportError(f"{file}: is absent; the folder of an export is copied as a whole")
        if _sha256(file) != expected:
            raise ExportError(f"{file}: is torn, or another file than {CONFIG} describes; export it again")
    net = about["net"]
    try:
        classes = _classes_in(net)
        if classes["over"] == "tree":
            classes["tree"] = _tree_text(folder / TREE, about["tree_digest"])
        found = ExportedFolder(folder, about, net)
        found.spec, found.decode  # noqa: B018 - raise what is wrong with them now
    except (KeyError, TypeError, AttributeError, AssertionError, ValueError, OverflowError) as error:
        if isinstance(error, TreeMismatch):
            raise
        raise ExportError(f"{folder / CONFIG}: describes no net ({type(error).__name__}: {error})") from error
    return found


def _read_config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        there = f"; {file.parent} holds no export" if file.parent.is_dir() else ""
        raise ExportError(f"{file}: is absent, which says what the numbers of the net mean{there}")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{file}: is no JSON ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ExportError(f"{file}: is not of an export of this program; a file of another is not run")
    if about.get("version") != VERSION:
        raise ExportError(f"{file}: version {about.get('version')!r}, and this program reads {VERSION}; export again")
    kinds = {"kind": get_args(Format), "form": get_args(Form)}
    for key, known in kinds.items():
        if about.get(key) not in known:
            raise ExportError(f"{file}: {key} {about.get(key)!r} is none of {', '.join(known)}")
    plain: dict[str, type] = {
        "net": dict,
        "decode": dict,
        "files": dict,
        "position": dict,
        "boxed": list,
        "never_boxed": list,
    }
    plain |= {"size": int, "stride": int}
    for key, kind in plain.items():
        if not isinstance(about.get(key), kind):
            raise ExportError(f"{file}: {key} is absent, or no {kind.__name__}")
    if outside := [name for name in about["files"] if Path(name).name != name or name in ("", ".", "..")]:
        raise ExportError(f"{file}: names files outside of its folder: {outside[0]!r}")
    needed = {MODEL[about["kind"]], *([HEAD] if about["form"] == "features" else [])}
    if missing := needed - set(about["files"]):
        raise ExportError(f"{file}: lists no {', '.join(sorted(missing))}")
    if not about["size"] > 0 or not about["stride"] > 0:
        raise ExportError(f"{file}: size {about['size']} and stride {about['stride']} are numbers of pixels above 0")
    return about


def _tree_text(file: Path, digest: str) -> str:
    if not file.is_file():
        raise ExportError(f"{file}: is absent, which has the classes of the net")
    tree = load_tree(file)
    if tree.digest != digest:
        raise TreeMismatch(f"{file}: is another tree than the net was trained with; take the one that was exported")
    return to_json(tree)
