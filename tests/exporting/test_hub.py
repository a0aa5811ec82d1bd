"""A folder in the conventions of the Hugging Face Hub: saved, opened, uploaded to a Hub that is not there."""

from __future__ import annotations

import csv
import dataclasses
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from yolo9000.exporting.errors import EngineAbsent, ExportError
from yolo9000.exporting.hub import fetch_export, push_to_hub, save_pretrained
from yolo9000.exporting.model_card import model_card
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel

pytest.importorskip("safetensors", reason="needs the extra export")


def from_pretrained(name: str | Path, **options: Any) -> TrainedModel:
    return open_exported(fetch_export(name, **options))


class Hub:
    """A stand-in for huggingface_hub.HfApi."""

    def __init__(self, folder: Path | None = None, refuse: bool = False) -> None:
        self.folder, self.refuse = folder, refuse
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, **asked: Any) -> str:
        self.asked.append(("create_repo", asked))
        if self.refuse:
            raise RuntimeError("401 Client Error")
        return f"https://hub.invalid/{asked['repo_id']}"

    def upload_folder(self, **asked: Any) -> None:
        self.asked.append(("upload_folder", asked))

    def snapshot_download(self, **asked: Any) -> str:
        self.asked.append(("snapshot_download", asked))
        if self.folder is None:
            raise FileNotFoundError("404 Client Error")
        return str(self.folder)


def test_a_saved_folder_is_the_same_net_and_nothing_is_unpickled(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_pretrained(trained, tmp_path / "pets")
    assert sorted(file.name for file in folder.path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tree.json",
    ]

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, refuse)
    opened = from_pretrained(tmp_path / "pets")
    assert opened.classes == trained.classes
    for name, value in trained.model.state_dict().items():
        assert torch.equal(opened.model.state_dict()[name], value)


def test_a_saved_folder_is_exported_further(trained: TrainedModel, tmp_path: Path) -> None:
    saved = from_pretrained(save_pretrained(trained, tmp_path / "pets").path)
    again = from_pretrained(export_model(saved, tmp_path / "script", "torchscript").path)
    assert again.content["position"]["step"] == 40
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again.detector(images).raw, trained.detector(images).raw, rtol=1e-3, atol=1e-3)


def test_weights_of_another_form_are_refused_before_memory_is_taken(trained: TrainedModel, tmp_path: Path) -> None:
    folder = save_pretrained(trained, tmp_path / "pets").path
    about = json.loads((folder / "config.json").read_text())
    about["net"]["config"]["width"] = 1e5  # 1e15 weights
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(ExportError, match=r"model.safetensors: its weights are of another net than config.json"):
        from_pretrained(folder)
    about["net"]["config"] = {"width": -1}
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(ExportError, match="describes no net"):
        from_pretrained(folder)


def test_a_folder_is_uploaded_and_downloaded(trained: TrainedModel, tmp_path: Path) -> None:
    folder = save_pretrained(trained, tmp_path / "pets").path
    hub = Hub(folder)
    assert push_to_hub(folder, "somebody/pets", hub=hub) == "https://hub.invalid/somebody/pets"
    created, uploaded = hub.asked
    assert created == (
        "create_repo",
        {"repo_id": "somebody/pets", "repo_type": "model", "private": True, "exist_ok": True},
    )
    assert (uploaded[1]["folder_path"], uploaded[1]["repo_id"]) == (str(folder), "somebody/pets")
    assert uploaded[1]["commit_message"] == "A detector of tree of 7 nodes, exported as safetensors"
    assert from_pretrained("somebody/pets", revision="v1", hub=hub).step == 40
    assert hub.asked[-1] == ("snapshot_download", {"repo_id": "somebody/pets", "revision": "v1"})


def test_what_the_hub_says_no_to(trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_pretrained(trained, tmp_path / "pets").path
    with pytest.raises(ExportError, match="somebody/pets: the Hub does not take it .401"):
        push_to_hub(folder, "somebody/pets", hub=Hub(refuse=True))
    with pytest.raises(ExportError, match="somebody/none: cannot be downloaded .404"):
        from_pretrained("somebody/none", hub=Hub())
    for name in ("pets", "a/b/c", "../pets", "a b/c", "https://hub.invalid/a/b", ""):
        with pytest.raises(ExportError, match="neither a folder nor a repository OWNER/NAME|is absent"):
            push_to_hub(folder, name, hub=Hub())
    torn = (folder / "model.safetensors").read_bytes()[:100]
    (folder / "model.safetensors").write_bytes(torn)
    hub = Hub()
    with pytest.raises(ExportError, match="is torn"):
        push_to_hub(folder, "somebody/pets", hub=hub)
    assert hub.asked == []
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(EngineAbsent, match=r"huggingface_hub is not installed.*yolo9000\[hub\]"):
        from_pretrained("somebody/pets")


def test_the_card_is_filled_from_the_run(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    report = {"boxed": {"classes": 2, "ap50": 0.5, "ap": 0.25}, "never_boxed": {"classes": 0}}
    (tmp_path / "pets" / "evaluation.json").write_text(json.dumps(report))
    run = dataclasses.replace(trained, path=tmp_path / "pets" / "last.pt")
    card = model_card(run, license="mit", counts={3: (12, 0), 5: (0, 40), 6: (0, 0)})
    header = card.split("---")[1]
    assert 'license: "mit"' in header
    assert "library_name: yolo9000" in header
    assert "datasets" not in header  # a set in COCO's layout need not be COCO
    assert "# pets" in card
    assert "7 nodes of a tree" in card
    assert "| coco | coco | annotations CC BY 4.0;" in card
    assert "40 steps (joint 40 steps). A batch had 8 images." in card
    assert "| with boxes in training | 2 | 0.500 | 0.250 |" in card
    assert "that never had a box |" not in card
    assert card.index("| poodle | n6 | 0 | 40 |") < card.index("| cat | n4 | 12 | 0 |")
    assert "The other 5 of 7 classes had no label." in card
    assert "2 classes never had a box" in card
    assert "somebody" not in card


def test_the_card_says_what_is_not_known(trained: TrainedModel, tmp_path: Path) -> None:
    unknown = dataclasses.replace(trained, content={}, path=tmp_path / "last.pt")
    card = model_card(unknown)
    assert "license: unknown" in card
    assert "does not say which data it was trained on: fill this in" in card
    assert "No licence was chosen for this model yet." in card
    assert "It was not evaluated" in card
    assert "The labels were not counted." in card
    with (tmp_path / "results.csv").open("w", newline="") as file:
        rows = [["step", "ap50", "ap50_boxed"], ["10", "0.1", ""], ["20", "0.3", "0.4"], ["30", "", ""]]
        csv.writer(file).writerows(rows)
    card = model_card(unknown)
    assert "| ap50 | 0.3 |" in card
    assert "| ap50_boxed | 0.4 |" in card


@pytest.mark.parametrize(
    ("path", "title"), [("yolo9000.weights", "yolo9000"), ("nets/mine.pt", "mine"), ("runs/pets/best.pt", "pets")]
)
def test_the_card_has_the_name_of_the_net(path: str, title: str, trained: TrainedModel) -> None:
    assert f"\n# {title}\n" in model_card(dataclasses.replace(trained, path=Path(path)))


def test_many_classes_are_summed_up(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolo9000.exporting.model_card.MOST_ROWS", 2)
    card = model_card(trained, counts={node: (node, 10 * node) for node in range(7)})
    assert "| pug | n7 | 6 | 60 |\n| poodle | n6 | 5 | 50 |\n| 4 more | | 10 | 100 |" in card
