"""What stands in the way of an exported folder: absent, torn, exchanged and foreign files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wordtree import TreeMismatch, WordTree, save_tree
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.errors import ExportError
from yolo9000.exporting.folder import describe_export, is_exported, read_folder
from yolo9000.exporting.model_card import model_card
from yolo9000.exporting.opening import open_any, open_exported
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.restrict import restrict
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder


@pytest.fixture
def folder(exports: Callable[..., Any], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exports("torchscript").path, tmp_path / "export"))


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_no_path_of_the_machine_is_told(exports: Callable[..., Any]) -> None:
    folder = exports("torchscript")
    assert "somebody" not in (folder.path / "config.json").read_text()
    assert folder.about["data"]["sets"] == [["coco", "coco"]]
    assert folder.about["data"]["tree"] == "tree.json"
    assert folder.about["data"]["keep_scenes"] == "kept"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("https://host/zoo/{train,val}.tar?X-Amz-Signature=abc/def", "{train,val}.tar"),
        ("https://ann:secret@host/zoo.tar#abc", "zoo.tar"),
        ("https://ann:secret@host", "host"),
        ("https://ann:se?ret@host/", "host"),
        ("s3://zoo/a@b.tar", "a@b.tar"),
        ("data/what?", "what?"),  # no URL
    ],
)
def test_no_key_to_the_data_is_told(place: str, name: str, trained: TrainedModel) -> None:
    signed = dataclasses.replace(trained, content={**trained.content, "data": {"sets": [["box_tars", place]]}})
    about = describe_export(signed, kind="safetensors", form="weights", size=96, decode=DecodeConfig())
    assert about["data"]["sets"] == [["box_tars", name]]
    assert f"| box_tars | {name} | your own" in model_card(signed)


def test_what_is_an_export(folder: Path, run: RunFolder, tmp_path: Path) -> None:
    assert is_exported(folder)
    assert is_exported(folder / "model.torchscript")
    assert is_exported("absent.onnx")  # so that the error is about an export
    for other in (run.path, run.last, tmp_path, tmp_path / "absent", "yolo9000.weights"):
        assert not is_exported(other)


def test_a_folder_that_is_there_is_left_alone(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ExportError, match="out: is there already; name another folder with `out`"):
        export_model(trained, tmp_path / "out", "torchscript")
    assert [file.name for file in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_an_export_that_fails_leaves_nothing(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch.jit, "save", full)
    with pytest.raises(OSError, match="no space left"):
        export_model(trained, tmp_path / "deep" / "out", "torchscript")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_file_that_answers_otherwise_is_not_kept(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the exporter had taken the size for a constant."""
    real = torch.jit.trace

    def wrong(function: Any, example: Any, **options: Any) -> Any:
        return real(torch.nn.Sequential(torch.nn.Upsample(size=(96, 96)), function).eval(), example, **options)

    monkeypatch.setattr(torch.jit, "trace", wrong)
    with pytest.raises(ExportError, match=r"the file answers \(3, \d+, 3, 3\) for .*, the net \(3, \d+, 2, 1\)"):
        export_model(trained, tmp_path / "out", "torchscript")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.torchscript", "head.safetensors"])
def test_a_torn_file(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExportError, match=f"{name}: is torn, or another file than config.json describes"):
        open_exported(folder)
    (folder / name).unlink()
    with pytest.raises(ExportError, match=f"{name}: is absent; the folder of an export is copied as a whole"):
        open_exported(folder)


@pytest.mark.parametrize("name", ["model.torchscript", "head.safetensors"])
def test_a_foreign_file_whose_sum_was_entered(folder: Path, name: str) -> None:
    import hashlib

    (folder / name).write_bytes(b"PK\x03\x04 no such thing")
    files = json.loads((folder / "config.json").read_text())["files"]
    edit(folder, files=files | {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()})
    with pytest.raises(ExportError, match=rf"{name}: .*(torn|cannot read it)"):
        open_exported(folder)


def test_a_head_of_another_net(folder: Path) -> None:
    import hashlib

    from safetensors.torch import load_file, save_file

    file = folder / "head.safetensors"
    rows = load_file(file)
    rows["class_bias"] = rows["class_bias"][:-1].clone()
    save_file(rows, file)
    files = json.loads((folder / "config.json").read_text())["files"]
    edit(folder, files=files | {file.name: hashlib.sha256(file.read_bytes()).hexdigest()})
    with pytest.raises(ExportError, match=r"class_bias is \(13,\), and 2 priors with 7 classes need \(14,\)"):
        open_exported(folder)


def test_an_exchanged_tree(folder: Path) -> None:
    tree = WordTree(("x", "y"), ("thing", "part"), (-1, 0))
    (folder / "tree.json").unlink()
    with pytest.raises(ExportError, match=r"tree.json: is absent, which has the classes of the net"):
        open_exported(folder)
    save_tree(tree, folder / "tree.json")
    with pytest.raises(TreeMismatch, match=r"tree.json: is another tree than the net was trained with"):
        open_exported(folder)
    with pytest.raises(TreeMismatch):
        open_any(folder, tree=tree)


def test_a_tree_that_is_written_otherwise_is_the_same(folder: Path) -> None:
    file = folder / "tree.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=4))
    assert open_exported(folder).classes.name(2) == "dog"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "another"}, "is not of an export of this program"),
        ({"version": 2}, "version 2, and this program reads 1"),
        ({"kind": "pickle"}, "kind 'pickle' is none of onnx, openvino"),
        ({"form": "logits"}, "form 'logits' is none of features, raw"),
        ({"kind": "onnx"}, "lists no model.onnx"),
        ({"files": {"../../etc/passwd": "0"}}, "names files outside of its folder"),
        ({"files": {"/etc/passwd": "0"}}, "names files outside of its folder"),
        ({"files": {}}, "lists no head.safetensors, model.torchscript"),
        ({"files": None}, "files is absent, or no dict"),
        ({"size": "96"}, "size is absent, or no int"),
        ({"size": -32}, "are numbers of pixels above 0"),
        ({"net": {}}, "describes no net"),
        ({"net": {"region": {"classes": {"over": "tree"}}}}, "describes no net"),
        ({"net": {"region": {"classes": {"over": "softmax", "number": -1}}}}, "describes no net"),
        ({"decode": {"threshold": 7}}, "describes no net"),
        ({"decode": {"unknown": 7}}, "describes no net"),
    ],
)
def test_a_configuration_that_is_wrong(folder: Path, change: dict[str, Any], message: str) -> None:
    edit(folder, **change)
    with pytest.raises(ExportError, match=message):
        read_folder(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"format": ', "[" * 100_000, "\x00"])
def test_a_configuration_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ExportError, match=r"config.json: is (no JSON|not of an export)"):
        open_exported(folder)


def test_a_lone_file(folder: Path, tmp_path: Path) -> None:
    lone = tmp_path / "alone" / "model.torchscript"
    lone.parent.mkdir()
    shutil.copy(folder / "model.torchscript", lone)
    with pytest.raises(ExportError, match=r"config.json: is absent, which says what the numbers of the net mean"):
        open_any(lone)
    assert open_exported(folder / "model.torchscript").size == 96  # in its folder


def test_what_is_no_export_is_opened_as_before(run: RunFolder, folder: Path) -> None:
    assert open_any(run.path).step == 5
    assert not open_any(run.path, engine="onnxruntime").detector.has_engine  # which `ready` gives it
    with pytest.raises(Mistake, match="`cfg` x.cfg: .* is an export, which knows its net"):
        open_any(folder, "x.cfg")


def test_a_net_that_decodes_inside_is_not_restricted(exports: Callable[..., Any]) -> None:
    opened = open_exported(exports("torchscript", "decoded").path)
    with pytest.raises(Mistake, match="`restrict`: .*model.torchscript makes detections of all classes inside"):
        restrict(opened, "dog")


def test_a_cfg_of_another_number_of_classes(exports: Callable[..., Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exports("darknet").path, tmp_path / "darknet"))
    net = json.loads((folder / "config.json").read_text())["net"]
    net["region"]["classes"] = {"over": "softmax", "number": 9, "names": None, "map": None}
    edit(folder, net=net)
    with pytest.raises(ExportError, match="its config.json has 9 classes, the cfg 7"):
        open_exported(folder)
