"""Nets of darknet's without a tree: labels are matched to their columns by name, or the names are asked for.

A net made by hand finds a coloured cell of 32 x 32 pixels, of which the colour says the class: it is right everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000 import evaluate, predict, train
from yolo9000.darknet import from_cfg, save_darknet_weights
from yolo9000.inference.darknet_files import load_darknet
from yolo9000.inference.export import save_as_darknet
from yolo9000.models import TreeHead

COLOURS = {"person": 0, "car": 1, "dog": 2}  # the channel that is bright
CFG = """[net]
width=64
height=64
channels=3
[maxpool]
size=32
stride=32
padding=0
[convolutional]
filters={filters}
size=1
stride=1
pad=1
activation=linear
[region]
anchors=1,1
classes={classes}
num=1
softmax={softmax}
"""
GRID_CFG = """[net]
width=64
height=64
channels=3
[maxpool]
size=32
stride=32
padding=0
[connected]
output={numbers}
activation=linear
[detection]
classes={classes}
coords=4
side=2
num=1
softmax={softmax}
sqrt=1
rescore=1
coord_scale=5
noobject_scale=.5
"""
CPU = ["--device", "cpu", "--precision", "float32"]


def write_net(folder: Path, order: Sequence[str], *, softmax: int = 1) -> list[str]:
    """A cfg and weights whose class columns are in this order, and a file of their names; the command's words."""
    (folder / "net.cfg").write_text(CFG.format(filters=5 + len(order), classes=len(order), softmax=softmax))
    net = from_cfg(folder / "net.cfg")
    (head,) = (layer for layer in net.layers if isinstance(layer, TreeHead))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.box_weight[4], head.box_bias[4] = 20.0, -10.0  # a thing is where any colour is
        head.class_bias[:] = -10.0
        for column, name in enumerate(order):
            head.class_weight[column, COLOURS[name]] = 20.0
    save_darknet_weights(net, folder / "net.weights", images_seen=64)
    (folder / "net.names").write_text("".join(f"{name}\n" for name in order))
    return [str(folder / "net.weights"), "--cfg", str(folder / "net.cfg")]


def write_grid_net(folder: Path, order: Sequence[str], *, softmax: int = 0) -> list[str]:
    """A net of YOLOv1's that is right everywhere: the brightness of a cell's channel is P(class) and confidence."""
    classes = len(order)
    text = GRID_CFG.format(numbers=4 * (classes + 5), classes=classes, softmax=softmax)
    (folder / "net.cfg").write_text(text)
    net = from_cfg(folder / "net.cfg")
    linear = net.layers[1][1]  # type: ignore[index]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        for cell in range(4):
            for column, name in enumerate(order):
                linear.weight[cell * classes + column, COLOURS[name] * 4 + cell] = 20.0 if softmax else 1.0
                linear.weight[4 * classes + cell, COLOURS[name] * 4 + cell] = 1.0
        linear.bias[-16:] = torch.tensor([0.5, 0.5, 0.5**0.5, 0.5**0.5]).repeat(4)  # the middle, and roots of a half
    save_darknet_weights(net, folder / "net.weights", images_seen=64)
    (folder / "net.names").write_text("".join(f"{name}\n" for name in order))
    return [str(folder / "net.weights"), "--cfg", str(folder / "net.cfg")]


def write_images(folder: Path, categories: Sequence[str]) -> str:
    """A COCO folder of one coloured cell an image, each class in each of the four cells; its classes in this order."""
    for split in ("train2017", "val2017"):
        images, annotations = [], []
        (folder / split).mkdir(parents=True)
        for number in range(4 * len(categories)):
            name, cell = categories[number // 4], number % 4
            x, y = 32 * (cell % 2), 32 * (cell // 2)
            pixels = np.zeros((64, 64, 3), np.uint8)
            pixels[y : y + 32, x : x + 32, COLOURS[name]] = 255
            Image.fromarray(pixels).save(folder / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            box = {"bbox": [x, y, 32, 32], "area": 1024, "iscrowd": 0}
            category = categories.index(name) + 1
            annotations.append({"id": number + 1, "image_id": number, "category_id": category, **box})
        listed = [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
        (folder / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": listed}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return str(folder)


def refusal(capsys: pytest.CaptureFixture[str], command: Any, *arguments: str) -> str:
    capsys.readouterr()
    assert command.main(list(arguments)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("softmax", [1, 0])
@pytest.mark.parametrize(
    ("order", "categories"),
    [
        (["person", "car"], ["person", "car"]),
        (["car", "person"], ["person", "car"]),
        (["dog", "person", "car"], ["car", "person", "dog"]),
        (["dog", "person", "car"], ["car"]),  # the data need not show all that the net knows
    ],
)
def test_a_net_that_is_right_everywhere(
    order: list[str], categories: list[str], softmax: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, coco = write_net(tmp_path, order, softmax=softmax), write_images(tmp_path / "coco", categories)
    out = tmp_path / "evaluation.json"
    command = [*net, "--coco", coco, "--names", str(tmp_path / "net.names"), "--out", str(out), *CPU]
    assert evaluate.main(command) == 0
    report = json.loads(out.read_text())
    assert report["boxed"] == {"ap50": 1.0, "ap": 1.0, "classes": len(categories)}
    assert {row["name"]: row["node"] for row in report["classes"]} == {name: order.index(name) for name in categories}

    images = sorted(str(path) for path in Path(coco, "val2017").iterdir())
    found = ["--out", str(tmp_path / "found"), *CPU]
    assert predict.main(["--weights", *net, "--names", str(tmp_path / "net.names"), *images, *found]) == 0
    for entry in json.loads((tmp_path / "found" / "predictions.json").read_text()):
        (one,) = entry["detections"]
        assert one["name"] == categories[int(Path(entry["image"]).stem) // 4]
        assert one["probability"] > 0.99


def test_without_names_nobody_knows_which_column_is_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, coco = write_net(tmp_path, ["person", "car"]), write_images(tmp_path / "coco", ["person", "car"])
    said = refusal(capsys, evaluate, *net, "--coco", coco, *CPU)
    assert "--names: the net has 2 classes and neither a tree nor names" in said
    assert "give the 2 names in the order of the net's classes" in said


def test_names_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, coco = write_net(tmp_path, ["person", "car"]), write_images(tmp_path / "coco", ["person", "dog", "car"])
    names = tmp_path / "net.names"
    command = [*net, "--coco", coco, "--names", str(names), *CPU]
    said = refusal(capsys, evaluate, *command)
    assert "the net has no class named dog; data are matched to its 2 classes by name" in said
    assert "these are person, car" in said
    names.write_text("person\n")
    assert "net.cfg: --names: 1 names for 2 classes" in refusal(capsys, evaluate, *command)
    names.write_text("person\nperson\n")
    assert "net.cfg: --names: person stands there more than once" in refusal(capsys, evaluate, *command)
    names.write_text("\n")
    assert "net.names: holds no names" in refusal(capsys, evaluate, *command)


@pytest.mark.parametrize("softmax", [1, 0])
def test_training_goes_on_with_the_names(softmax: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = write_net(tmp_path, ["car", "person"], softmax=softmax)
    coco = write_images(tmp_path / "coco", ["person", "car"])
    names, run = ["--names", str(tmp_path / "net.names")], tmp_path / "run"
    options = ["--size", "64", "--batch", "4", "--steps", "1", "--lr", "1e-9", "--threads", "1", "--val-images", "4"]
    command = ["--init", *net, *names, "--coco", coco, *options, *CPU, "--out", str(run)]
    assert train.main(command) == 0
    assert not (run / "tree.json").exists()
    # nearly nothing was learnt: it is still right everywhere, and knows its names
    assert evaluate.main([str(run), *CPU]) == 0
    report = json.loads((run / "evaluation.json").read_text())
    assert report["boxed"]["ap50"] == 1.0
    assert {row["name"]: row["node"] for row in report["classes"]} == {"car": 0, "person": 1}
    assert train.main(["--resume", str(run), "--steps", "2"]) == 0


@pytest.mark.parametrize("softmax", [0, 1])
def test_a_net_of_yolov1_that_is_right_everywhere(
    softmax: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order, categories = ["dog", "person", "car"], ["car", "person", "dog"]
    net, coco = write_grid_net(tmp_path, order, softmax=softmax), write_images(tmp_path / "coco", categories)
    names, out = ["--names", str(tmp_path / "net.names")], tmp_path / "evaluation.json"
    assert evaluate.main([*net, "--coco", coco, *names, "--out", str(out), *CPU]) == 0
    report = json.loads(out.read_text())
    assert report["boxed"] == {"ap50": 1.0, "ap": 1.0, "classes": 3}
    images = sorted(str(path) for path in Path(coco, "val2017").iterdir())
    for decoding in ("probability", "darknet"):
        found = ["--out", str(tmp_path / decoding), "--decoding", decoding, *CPU]
        assert predict.main(["--weights", *net, *names, *images, *found]) == 0
        for entry in json.loads((tmp_path / decoding / "predictions.json").read_text()):
            (one,) = entry["detections"]
            assert one["name"] == categories[int(Path(entry["image"]).stem) // 4]
            assert one["score"] > 0.99
    assert "64 pixels alone" in refusal(capsys, evaluate, *net, "--coco", coco, *names, "--size", "96", *CPU)


@pytest.mark.parametrize("loss", ["darknet", "paper"])
def test_training_of_a_net_of_yolov1_goes_on(loss: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, coco = write_grid_net(tmp_path, ["car", "person"]), write_images(tmp_path / "coco", ["person", "car"])
    names, run = ["--names", str(tmp_path / "net.names")], tmp_path / "run"
    options = ["--batch", "4", "--steps", "1", "--lr", "1e-9", "--threads", "1", "--val-images", "4"]
    command = ["--init", *net, *names, "--coco", coco, *options, "--loss", loss, *CPU, "--out", str(run)]
    said = refusal(capsys, train, *command, "--size", "96")
    assert "--size 96: this net takes images of 64 pixels alone; take 64" in said
    assert "form no tree; give their --names" in refusal(capsys, train, *[c for c in command if c not in names])
    assert train.main([*command, "--size", "64"]) == 0
    assert json.loads((run / "config.json").read_text())["config"]["net"]["loss"] == loss
    assert evaluate.main([str(run), *CPU]) == 0
    assert json.loads((run / "evaluation.json").read_text())["boxed"]["ap50"] == 1.0
    assert train.main(["--resume", str(run), "--steps", "2"]) == 0
    assert "`loss` paper" not in refusal(capsys, train, *command, "--size", "64", "--loss", "slides", "--flat")


def test_a_run_of_such_a_net_becomes_darknets_files_again(tmp_path: Path) -> None:
    net = write_grid_net(tmp_path, ["car", "person"])
    trained = load_darknet(net[0], net[2], names=["car", "person"])
    assert save_as_darknet(trained, tmp_path / "again.weights") == []
    assert (tmp_path / "again.weights").read_bytes() == (tmp_path / "net.weights").read_bytes()
    assert from_cfg(tmp_path / "again.cfg").detection == from_cfg(tmp_path / "net.cfg").detection
