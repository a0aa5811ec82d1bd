"""What an export is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo9000.exporting.folder import name_of


def test_a_net_is_called_by_its_run_or_its_export_or_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, export = tmp_path / "joint", tmp_path / "pets"
    for folder in (run, export):
        folder.mkdir()
    for file in (run / "step-00000010.pt", export / "model.onnx"):
        file.touch()
    (run / "config.json").write_text('{"config": {}}')
    (export / "config.json").write_text('{"format": "yolo9000-export"}')
    monkeypatch.chdir(run)
    for path, name in [
        (run / "last.pt", "joint"),
        ("best.pt", "joint"),
        ("step-00000010.pt", "joint"),
        (run / "mine.pt", "mine"),  # as `save` writes one
        ("../mine.pt", "mine"),
        (export / "model.onnx", "pets"),
        (tmp_path / "model.onnx", "model"),
        ("yolo9000.weights", "yolo9000"),
    ]:
        assert name_of(path) == name
