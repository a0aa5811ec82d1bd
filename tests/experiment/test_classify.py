"""Training a classifier: which flag reaches which field, what it leaves behind, resuming, and classes left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000 import classify, evaluate, predict, train
from yolo9000.classify import configure
from yolo9000.datasets.darknet_augment import DarknetCrops
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.config import DataConfig, RunConfig
from yolo9000.experiment.config_file import differences
from yolo9000.experiment.data import load_data
from yolo9000.experiment.presets import CLASSIFIERS
from yolo9000.inference.model import load_model
from yolo9000.models import Classifier
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.mistakes import Mistake

ROOT = Path(__file__).resolve().parents[2]
TABBY, PERSIAN, EGYPTIAN, SPORTS_CAR, CONVERTIBLE = "n02123045", "n02123394", "n02124075", "n04285008", "n03100240"
DOMESTIC_CAT = "n02121808"
SMALL = ["--size", "32", "--width", "0.05", "--stride", "32", "--batch", "4", "--optimizer", "adamw", "--burn-in", "1"]
SMALL += ["--schedule", "cosine", "--device", "cpu", "--threads", "1", "--precision", "float32", "--log-every", "1"]
SMALL += ["--val-images", "10", "--fine-tuning-steps", "0"]

FLAGS: list[tuple[list[str], str, Any]] = [
    (["--steps", "7"], "plan.classification_steps", 7),
    (["--size", "64"], "plan.classification_size", 64),
    (["--size", "64"], "plan.size", 64),
    (["--lr", "0.5"], "plan.classification_learning_rate", 0.5),
    (["--fine-tuning-steps", "7"], "plan.fine_tuning_steps", 7),
    (["--fine-tuning-steps", "7", "--fine-tuning-size", "160"], "plan.size", 160),
    (["--fine-tuning-lr", "0.5"], "plan.fine_tuning_learning_rate", 0.5),
    (["--imagenet", "I"], "data.sets", (("imagenet", "I"),)),
    (["--imagenet-pack", "H5"], "data.sets", (("imagenet_pack", "H5"),)),
    (["--tiles", "T"], "data.sets", (("tiles", "T"),)),
    (["--tree", "T"], "data.tree", "T"),
    (["--splits", "a:b"], "data.splits", ("a", "b")),
    (["--imagenet", "I", "--left-out", "n1", "n2"], "data.left_out", ("n1", "n2")),
    (["--darknet-crops"], "data.darknet_crops", True),
    (["--flat"], "net.flat", True),
    (["--init", "R"], "net.init", "R"),
    (["--backbone", "extraction"], "net.detector.backbone", "extraction"),
    (["--width", "0.5"], "net.detector.width", 0.5),
    (["--no-batch-norm"], "net.detector.batch_norm", False),
    (["--schedule", "poly"], "optimiser.schedule", "poly"),
    (["--power", "2"], "optimiser.power", 2.0),
    (["--batch", "8"], "train.batch_size", 8),
    (["--workers", "7"], "machine.workers", 7),
    (["--seed", "7"], "seed", 7),
]


@pytest.mark.parametrize(("words", "way", "value"), FLAGS, ids=[" ".join(words) for words, _, _ in FLAGS])
def test_a_flag_reaches_its_field(words: list[str], way: str, value: Any) -> None:
    def value_of(config: Any) -> Any:
        for name in way.split("."):
            config = getattr(config, name)
        return config

    assert value_of(configure([]).config) != value
    asked = configure(words)
    assert value_of(asked.config) == value
    assert asked.config.is_classifier
    assert (asked.folder, asked.resume) == (Path("runs/classifier"), False)


def test_nothing_typed_is_the_preset() -> None:
    for name, sets in (("small", ()), ("paper", (("imagenet", "I"),)), ("scenes", ())):
        words = [part for layout, path in sets for part in (f"--{layout}", path)]
        changed = differences(CLASSIFIERS[name], configure(["--preset", name, *words]).config)
        assert set(changed) <= {"plan.size", "data.sets"}


def test_the_papers_schedule() -> None:
    config = configure(["--imagenet", "I"]).config
    images = 1_281_167
    assert round(config.plan.classification_steps * config.train.batch_size / images) == 160
    assert round(config.plan.fine_tuning_steps * config.train.batch_size / images) == 10
    first, second = config.classification_optimiser, config.fine_tuning_optimiser
    assert (first.learning_rate, first.schedule, first.power, first.momentum) == (0.1, "poly", 4, 0.9)
    assert (second.learning_rate, second.schedule, first.weight_decay) == (0.001, "poly", 0.0005)
    assert (config.plan.classification_size, config.plan.fine_tuning_size, config.plan.size) == (224, 448, 448)


def test_what_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, said in (
        (["--steps", "0"], "nothing to train: --steps is 0"),
        (["--steps", "-1"], "--steps -1: 0 or more is needed"),
        (["--size", "50"], "--size 50: a multiple of 32"),
        (["--lr", "0"], "--lr 0.0: a positive number"),
        (["--left-out", TABBY], "name --imagenet, --imagenet-pack, --label-tars or --tiles"),
        (["--preset", "small", "--resume", "R"], "--preset and --resume"),
    ):
        assert classify.main(words) == 2
        assert said in capsys.readouterr().err
    RunConfig(data=DataConfig(sets=(("tiles", "T"),)))
    with pytest.raises(Mistake, match="`left_out` is for a classifier alone"):
        RunConfig(data=DataConfig(sets=(("tiles", "T"),), left_out=(TABBY,)))


def test_the_help_is_there_at_once() -> None:
    code = (
        "import sys; from yolo9000.classify import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for flag in ("--steps N", "--fine-tuning-size PIXELS", "--left-out", "--flat"):
        assert flag in done.stdout
    assert "--joint" not in done.stdout
    assert done.stderr.split() == ["0", "False"]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three kinds of domestic cat and two of car, 4 + 2 images each."""
    root = tmp_path_factory.mktemp("imagenet")
    for split, count in (("train", 4), ("val", 2)):
        for number, wnid in enumerate((TABBY, PERSIAN, EGYPTIAN, SPORTS_CAR, CONVERTIBLE)):
            for i in range(count):
                path = root / split / wnid / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(10 * number + i).integers(0, 255, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    return root


def test_a_run_from_end_to_end(imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["--imagenet", str(imagenet), *SMALL, "--steps", "2", "--fine-tuning-size", "64"]
    assert classify.main([*words, "--fine-tuning-steps", "1", "--darknet-crops", "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "classification 2 steps, fine-tuning 1 steps" in said
    assert "5 labels" in said
    assert {path.name for path in out.iterdir()} >= {"config.json", "tree.json", "results.csv", "last.pt", "best.pt"}
    results = ResultsFile(out / "results.csv")
    assert [row["phase"] for row in results.rows if row.get("loss")] == ["classification"] * 2 + ["fine-tuning"]
    trained = load_model(out)
    assert isinstance(trained.model, Classifier)
    assert trained.size == 64

    # on the same phases, with more steps of the last one, and on nothing else
    assert classify.main(["--resume", str(out), "--fine-tuning-steps", "3"]) == 0
    assert load_model(out).step == 5
    capsys.readouterr()
    for option in (["--steps", "9"], ["--flat"], ["--fine-tuning-steps", "0"], ["--imagenet", "elsewhere"]):
        assert classify.main(["--resume", str(out), *option]) == 2
        assert "a run is resumed as it was begun" in capsys.readouterr().err
    assert train.main(["--resume", str(out), "--steps", "5"]) == 2
    capsys.readouterr()

    assert evaluate.main([str(out), "--device", "cpu"]) == 0
    assert "cut off at depth" in capsys.readouterr().out
    report = json.loads((out / "evaluation.json").read_text())
    assert report["classifier"]["images"] == 10
    assert report["classifier"]["at_depth"][0]["images"] == 10
    assert report["classifier"]["top5"] == 1
    assert report["step"] == 5
    assert (out / "specificity.png").read_bytes().startswith(b"\x89PNG")
    assert evaluate.main([str(out), "--size", "48", "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "error: --size 48: a multiple of 32 is needed\n"
    assert evaluate.main([str(out), "--map", "coco9k.map"]) == 2
    assert "is a classifier" in capsys.readouterr().err
    assert predict.main([str(out), str(imagenet)]) == 2

    # the next one goes on with its weights: at so low a rate they stay
    after = tmp_path / "after"
    still = ["--imagenet", str(imagenet), *SMALL, "--steps", "1", "--lr", "1e-12"]
    capsys.readouterr()
    assert classify.main([*still, "--init", str(out), "--out", str(after)]) == 0
    assert f"all layers of the classifier {out / 'last.pt'}, after 5 steps" in capsys.readouterr().err
    first, second = (load_model(folder).model.state_dict() for folder in (out, after))
    torch.testing.assert_close(second["last.weight"], first["last.weight"])
    assert classify.main([*still, "--width", "0.1", "--init", str(out), "--out", str(tmp_path / "wide")]) == 2
    assert "give --backbone, --width and --stride" in capsys.readouterr().err
    # over other classes it is their backbone, and the rows of the nodes that both trees have
    assert classify.main([*still, "--flat", "--init", str(out), "--out", str(tmp_path / "flat")]) == 0
    assert "5 of its" in capsys.readouterr().err


def test_an_interrupted_run_is_the_run_that_was_not(imagenet: Path, tmp_path: Path) -> None:
    words = ["--imagenet", str(imagenet), *SMALL, "--steps", "3"]
    assert classify.main([*words, "--save-every", "1", "--out", str(tmp_path / "whole")]) == 0
    (tmp_path / "part").mkdir()
    from yolo9000.experiment.assemble import assemble, write_run
    from yolo9000.runtime.run_folder import RunFolder
    from yolo9000.training.loop import train as train_phases

    config = configure([*words, "--save-every", "1"]).config
    run, assembly = RunFolder(tmp_path / "part"), assemble(config)
    write_run(run, config, assembly)
    cpu = torch.device("cpu")
    train_phases(assembly.phases, config.train, run, device=cpu, description=assembly.description, stop_after=2)
    assert load_model(run.path).step == 2
    assert classify.main(["--resume", str(run.path)]) == 0
    whole, part = (load_checkpoint(tmp_path / name / "last.pt")["model"] for name in ("whole", "part"))
    for name, value in whole.items():
        assert torch.equal(value, part[name]), name


# ------------------------------------------------------------------------------------------------- classes left out


def test_the_data_of_classes_left_out(imagenet: Path) -> None:
    config = DataConfig(sets=(("imagenet", str(imagenet)),), left_out=(PERSIAN,), darknet_crops=True)
    data = load_data(config)
    tree = data.classes.tree
    assert tree is not None
    assert data.classification is not None
    assert data.val_classification is not None
    assert data.val_left_out is not None
    assert PERSIAN not in tree.wnids
    assert (len(data.classification), len(data.val_classification), len(data.val_left_out)) == (16, 8, 2)
    # the right answer for a Persian cat is some domestic cat, which is no choice of a top-1
    wanted = tree.node(DOMESTIC_CAT)
    assert {data.val_left_out.read(number).image_label for number in range(2)} == {wanted}
    assert wanted not in data.image_labels
    assert {tree.wnids[node] for node in data.image_labels} == {TABBY, EGYPTIAN, SPORTS_CAR, CONVERTIBLE}
    shown = {data.classification.read(number).key.partition("/")[0] for number in range(16)}
    assert PERSIAN not in shown
    assert isinstance(data.classification_augment, DarknetCrops)


def test_classes_that_cannot_be_left_out(imagenet: Path) -> None:
    sets = (("imagenet", str(imagenet)),)
    with pytest.raises(DatasetError, match="the tree has no node n99999999"):
        load_data(DataConfig(sets=sets, left_out=("n99999999",)))
    with pytest.raises(DatasetError, match="no class is left"):
        load_data(DataConfig(sets=sets, left_out=(TABBY, PERSIAN, EGYPTIAN, SPORTS_CAR, CONVERTIBLE)))


def test_unknown_kinds_with_a_tree_and_with_one_softmax(
    imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--imagenet", str(imagenet), *SMALL, "--steps", "1", "--left-out", PERSIAN]
    reports = {}
    for form in ("tree", "flat"):
        out = tmp_path / form
        assert classify.main([*words, "--flat" if form == "flat" else "--no-flat", "--out", str(out)]) == 0
        assert "4 labels, 1 classes left out" in capsys.readouterr().err
        assert evaluate.main([str(out), "--device", "cpu"]) == 0
        reports[form] = json.loads((out / "evaluation.json").read_text())
    assert reports["tree"]["left_out"]["images"] == 2
    assert "top1" not in reports["tree"]["left_out"]
    assert {row["images"] for row in reports["tree"]["left_out"]["at_depth"]} == {0, 2}  # none below "domestic cat"
    # one softmax has no answer but a class of training, which is wrong
    assert "left_out" not in reports["flat"]
    assert set(reports["flat"]["classifier"]) == {"images", "top1", "top5"}

    tree = str(tmp_path / "tree" / "tree.json")
    assert evaluate.main([str(tmp_path / "flat"), "--device", "cpu", "--tree", tree]) == 0
    report = json.loads((tmp_path / "flat" / "evaluation2.json").read_text())  # the first stays
    leaf = report["left_out"]["back_off"][0]
    assert (leaf["threshold"], leaf["right"], leaf["information"]) == (0, 0, 1)
    assert report["classifier"]["top1"] == reports["flat"]["classifier"]["top1"]


@pytest.mark.slow
def test_from_classifier_to_yolo9000_as_one_script(imagenet: Path, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    for split, count in (("train2017", 6), ("val2017", 2)):
        (coco / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(coco / split / f"{i}.png")
            images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
            box = [4 + i, 5, 20 + 3 * i, 12 + 2 * i]
            annotations.append({"id": i + 1, "image_id": i, "category_id": 1 + i % 2, "bbox": box, "iscrowd": 0})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "car"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (coco / "annotations").mkdir(exist_ok=True)
        (coco / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    small = "--device cpu --threads 1 --batch 4 --precision float32 --val-images 4 --burn-in 1"
    options = {
        "PYTHON": sys.executable,
        "NET_OPTIONS": "--width 0.05",
        "CLASSIFY_OPTIONS": f"--steps 1 --size 32 --fine-tuning-steps 1 --fine-tuning-size 64 {small}",
        "DETECTOR_OPTIONS": f"--steps 1 --size 64 --no-multi-scale --priors 2 {small}",
        "JOINT_OPTIONS": f"--steps 1 --size 64 --no-multi-scale --priors 2 {small}",
    }
    words = [
        "sh",
        str(ROOT / "scripts" / "classifier_to_yolo9000.sh"),
        str(coco),
        str(imagenet),
        str(tmp_path / "runs"),
    ]
    done = subprocess.run(words, env={**os.environ, **options}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    assert "classification 1 steps, fine-tuning 1 steps" in done.stderr
    assert f"backbone of the classifier {runs}/classifier/last.pt, after 2 steps; what starts anew: " in done.stderr
    assert "extra convolutions, passthrough, merging convolution, head" in done.stderr
    assert "2 priors from the boxes" in done.stderr
    assert f"2 priors of {runs}/detector/last.pt" in done.stderr
    assert f"weights of the detector {runs}/detector/last.pt, after 1 steps" in done.stderr
    assert load_model(runs / "yolo9000").model.objective == "detection"
    again = subprocess.run(words, env={**os.environ, **options}, capture_output=True, text=True, check=True)
    assert "classifier: done before" in again.stderr
