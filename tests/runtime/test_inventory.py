"""``yolo9000 doctor``: it says what is there and what is not, and never fails because something is absent."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from typing import Any

import pytest
import torch

from yolo9000 import doctor
from yolo9000.runtime import inventory


def test_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["versions"]["yolo9000"] == "0.1.0"
    assert found["devices"][0] == "cpu"
    assert found["threads"]["torch uses"] == torch.get_num_threads()
    assert found["wordnet"].startswith("3.0, ")
    assert {"always needed", "demo", "backbones", "benchmark", "dev"} <= set(found["extras"])
    assert found["extras"]["always needed"]["absent"] == []
    for name, distribution in inventory.ENGINES.items():
        assert (found["engines"][name] is not None) == _is_installed(distribution)
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("versions   yolo9000 0.1.0, python 3.")
    assert "extras     always needed is complete" in shown


def _is_installed(distribution: str) -> bool:
    return any(each.metadata["Name"] == distribution for each in metadata.distributions())


def test_with_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever needs a doctor may have a broken environment."""

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = inventory.take_inventory()
    assert found["devices"] == []
    assert found["wordnet"].startswith("its reader, nltk, is absent")
    assert "torch" in found["extras"]["always needed"]["absent"]
    shown = inventory.format_inventory(found)
    assert "\nabsent     torch, torchvision, numpy, " in shown
    assert 'pip install -e ".[demo]"' in shown
    assert "torch is absent" in shown


def test_extras_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PROJECT", inventory.PROJECT.with_name("absent.toml"))
    lines = ["torch>=2.6", 'timm>=1.0.22; extra == "backbones"', "nosuch-thing ; extra=='demo'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    found = inventory.take_inventory()
    assert found["extras"]["demo"] == {"absent": ["nosuch-thing"], "get": 'pip install "yolo9000[demo]"'}
    assert found["extras"]["always needed"]["absent"] == []
