"""The command line of training: which flag reaches which field, what it begins with, what it refuses and how."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yolo9000 import train
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import differences, override
from yolo9000.experiment.presets import PRESETS, preset_for
from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS
from yolo9000.options import flags_of
from yolo9000.runtime.mistakes import Mistake
from yolo9000.train import Command, configure

FLAGS: list[tuple[list[str], str, Any]] = [
    (["--joint"], "plan.joint.enabled", True),
    (["--coco", "C"], "data.sets", (("coco", "C"),)),
    (["--coco", "C", "--voc", "V", "--coco", "D"], "data.sets", (("coco", "C"), ("coco", "D"), ("voc", "V"))),
    (["--coco", "C", "--imagenet", "I"], "data.sets", (("coco", "C"), ("imagenet", "I"))),
    (["--coco", "C", "--imagenet-pack", "H5"], "data.sets", (("coco", "C"), ("imagenet_pack", "H5"))),
    (["--yolo", "Y", "--csv", "F"], "data.sets", (("yolo", "Y"), ("csv", "F"))),
    (["--tiles", "T"], "data.sets", (("tiles", "T"),)),
    (["--tiles", "T", "--cluttered"], "data.cluttered", True),
    (["--boxed", "all"], "data.boxed", "all"),
    (["--tree", "T"], "data.tree", "T"),
    (["--splits", "a:b"], "data.splits", ("a", "b")),
    (["--coco", "C", "--val", "V"], "data.val", "V"),
    (["--val-images", "7"], "data.val_images", 7),
    (["--scenes", "7"], "data.scenes", 7),
    (["--exhaustive"], "data.exhaustive", True),
    (["--classification-steps", "7"], "plan.classification_steps", 7),
    (["--joint", "--detection-steps", "7"], "plan.joint.boxes_first", 7),
    (["--steps", "7"], "plan.steps", 7),
    (["--recipe", "darknet"], "plan.joint.image_labels.objectness", "background"),
    (["--ratio", "3:2"], "plan.joint.ratio", (3, 2)),
    (["--mosaic", "0.25"], "plan.joint.mosaic", 0.25),
    (["--label-weight", "2"], "plan.joint.image_labels.weight", 2.0),
    (["--label-objectness", "floor"], "plan.joint.image_labels.objectness", "floor"),
    (["--unboxed-weight", "0.5"], "plan.joint.image_labels.unboxed_weight", 0.5),
    (["--batch-by-batch"], "plan.joint.batch_by_batch", True),
    (["--size", "64"], "plan.size", 64),
    (["--multi-scale"], "plan.multi_scale", True),
    (["--classification-size", "64"], "plan.classification_size", 64),
    (["--width", "0.5"], "net.detector.width", 0.5),
    (["--stride", "32"], "net.detector.stride", 32),
    (["--extra-convs", "2"], "net.detector.extra_convs", 2),
    (["--passthrough"], "net.detector.passthrough", True),
    (["--share-class-rows"], "net.detector.share_class_rows", True),
    (["--batch-norm-momentum", "0.5"], "net.detector.batch_norm_momentum", 0.5),
    (["--priors", "5"], "net.priors", 5),
    (["--priors", "yolo9000"], "net.priors", YOLO9000_PRIORS),
    (["--priors", "yolov2"], "net.priors", YOLOV2_PRIORS),
    (["--priors", "1.5x2,3x3"], "net.priors", ((1.5, 2.0), (3.0, 3.0))),
    (["--init", "R"], "net.init", "R"),
    (["--cfg", "yolov2-tiny"], "net.cfg", "yolov2-tiny"),
    (["--batch", "8"], "train.batch_size", 8),
    (["--accumulate", "2"], "train.accumulate", 2),
    (["--optimizer", "sgd"], "optimiser.optimizer", "sgd"),
    (["--lr", "0.5"], "optimiser.learning_rate", 0.5),
    (["--classification-lr", "0.5"], "plan.classification_learning_rate", 0.5),
    (["--schedule", "poly"], "optimiser.schedule", "poly"),
    (["--burn-in", "7"], "optimiser.burn_in", 7),
    (["--weight-decay", "0.5"], "optimiser.weight_decay", 0.5),
    (["--clip", "0.5"], "optimiser.gradient_clip", 0.5),
    (["--ema", "0.5"], "train.ema_decay", 0.5),
    (["--seed", "7"], "seed", 7),
    (["--device", "cpu"], "machine.device", "cpu"),
    (["--precision", "bfloat16"], "train.precision", "bfloat16"),
    (["--workers", "7"], "machine.workers", 7),
    (["--compile"], "train.compile", True),
    (["--threads", "7"], "machine.threads", 7),
    (["--log-every", "7"], "train.log_every", 7),
    (["--evaluate-every", "7"], "train.evaluate_every", 7),
    (["--evaluate-at", "7", "9"], "train.evaluate_at", (7, 9)),
    (["--save-every", "7"], "train.save_every", 7),
]


def value_of(config: Any, way: str) -> Any:
    for name in way.split("."):
        config = getattr(config, name)
    return config


@pytest.fixture(scope="module")
def nothing_typed() -> RunConfig:
    return configure([]).config


@pytest.mark.parametrize(("words", "way", "value"), FLAGS, ids=[" ".join(words) for words, _, _ in FLAGS])
def test_a_flag_reaches_its_field(words: list[str], way: str, value: Any, nothing_typed: RunConfig) -> None:
    assert value_of(nothing_typed, way) != value
    assert value_of(configure(words).config, way) == value


def test_flags_of_where_the_run_begins_and_goes(tmp_path: Path) -> None:
    assert (configure([]).folder, configure(["--joint"]).folder) == (Path("runs/boxes"), Path("runs/joint"))
    assert configure(["--out", "R"]).folder == Path("R")
    assert not configure([]).resume


def test_nothing_typed_is_the_preset() -> None:
    assert configure([]).config == PRESETS["scenes"]
    assert configure(["--preset", "small-photographs"]).config == override(
        PRESETS["small-photographs"], {"plan.classification_steps": 2000}
    )


@pytest.mark.parametrize(
    ("given", "filled"),  # mosaic, ratio, steps of the classifier, on boxes, of the last phase
    [
        ([], (0.7, (1, 1), 300, 0, 800)),
        (["--joint", "--steps", "50"], (0.7, (1, 1), 300, 0, 50)),
        (["--joint", "--detection-steps", "9", "--mosaic", "0"], (0, (1, 1), 300, 9, 800)),
        (["--joint", "--init", "RUN"], (0.7, (1, 1), 0, 0, 800)),
        (["--joint", "--init", "RUN", "--classification-steps", "5"], (0.7, (1, 1), 5, 0, 800)),
        (["--joint", "--cfg", "yolov2-tiny"], (0.7, (1, 1), 0, 0, 800)),
        (["--joint", "--coco", "C", "--imagenet", "I"], (0.7, (1, 1), 100_000, 0, 100_000)),
        (["--coco", "C"], (0.7, (1, 1), 0, 0, 100_000)),
        (["--joint", "--recipe", "paper"], (0, (4, 1), 300, 0, 800)),
        (["--joint", "--recipe", "paper", "--mosaic", "0.5"], (0.5, (4, 1), 300, 0, 800)),
        (["--joint", "--recipe", "darknet", "--coco", "C", "--imagenet", "I"], (0, (4, 1), 100_000, 0, 100_000)),
    ],
)
def test_what_is_not_given_follows_from_recipe_and_data(given: list[str], filled: tuple[object, ...]) -> None:
    plan = configure(given).config.plan
    found = (plan.joint.mosaic, plan.joint.ratio, plan.classification_steps, plan.joint.boxes_first, plan.steps)
    assert found == filled


@pytest.fixture
def run(tmp_path: Path) -> Callable[[RunConfig], str]:
    """Writes the folder of a run with a configuration."""

    def write(config: RunConfig) -> str:
        content = {"config": dataclasses.asdict(config), "versions": {"torch": "2"}}
        (tmp_path / "config.json").write_text(json.dumps(content))
        (tmp_path / "last.pt").touch()
        return str(tmp_path)

    return write


JOINT = override(
    preset_for((("coco", "C"), ("imagenet", "I")), recipe="paper"),
    {
        "plan.joint.enabled": True,
        "train.settings": "fixed:layout=contiguous",
        "net.priors": YOLOV2_PRIORS,
        "data.splits": ("a", "b"),
    },
)


def test_another_run_gives_the_configuration(run: Callable[[RunConfig], str]) -> None:
    folder = run(JOINT)
    for words in (["--config", folder], ["--config", f"{folder}/config.json"], ["--config", folder, "--joint"]):
        asked = configure(words)
        assert (asked.config, asked.folder, asked.resume) == (JOINT, Path("runs/joint"), False)
    changed = configure(["--config", folder, "--no-joint", "--coco", "D", "--lr", "0.5", "--recipe", "mil"]).config
    assert {way: now for way, (_, now) in differences(JOINT, changed).items()} == {
        "data.sets": (("coco", "D"),),
        "plan.joint.enabled": False,
        "plan.joint.ratio": (1, 1),
        "plan.joint.mosaic": 0.7,
        "plan.joint.image_labels.spread": "everywhere",
        "plan.joint.image_labels.weighting": "posterior",
        "plan.joint.image_labels.objectness": "none",
        "plan.joint.image_labels.unboxed_weight": 0.0,
        "optimiser.learning_rate": 0.5,
    }


def test_a_recipe_changes_nothing_that_it_does_not_say(run: Callable[[RunConfig], str]) -> None:
    folder = run(override(JOINT, {"plan.joint.boxes_first": 5, "plan.joint.batch_by_batch": True}))
    joint = configure(["--config", folder, "--recipe", "mil"]).config.plan.joint
    assert (joint.mosaic, joint.boxes_first, joint.batch_by_batch) == (0.7, 5, True)


def test_a_run_is_gone_on_with_as_it_was_begun(run: Callable[[RunConfig], str]) -> None:
    folder = run(JOINT)
    for words in ([], ["--joint"], ["--coco", "C", "--imagenet", "I"], ["--recipe", "paper"], ["--splits", "a:b"]):
        asked = configure(["--resume", folder, *words])
        assert (asked.config, asked.folder, asked.resume) == (JOINT, Path(folder), True)


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (["--steps", "7"], "plan.steps"),
        (["--val-images", "7"], "data.val_images"),
        (["--log-every", "7"], "train.log_every"),
        (["--evaluate-every", "7"], "train.evaluate_every"),
        (["--evaluate-at", "7"], "train.evaluate_at"),
        (["--save-every", "7"], "train.save_every"),
        (["--device", "cpu"], "machine.device"),
        (["--threads", "7"], "machine.threads"),
        (["--workers", "7"], "machine.workers"),
    ],
)
def test_what_may_change_when_a_run_is_resumed(run: Callable[[RunConfig], str], words: list[str], way: str) -> None:
    assert list(differences(JOINT, configure(["--resume", run(JOINT), *words]).config)) == [way]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.5"], "leave out --lr 0.5 (the run has 0.001)"),
        (["--batch", "8", "--steps", "9"], "leave out --batch 8 (the run has 64)"),
        (["--no-joint"], "leave out --joint False (the run has True)"),
        (["--label-weight", "2"], "leave out --label-weight 2.0 (the run has 1.0)"),
        (["--mosaic", "0.5", "--seed", "1"], "--seed 1 (the run has 0)"),
        (["--tree", "T"], "leave out --tree T (the run has None)"),
        (["--coco", "D"], "leave out --coco D"),
        (["--coco", "C"], "leave out --coco C"),  # the run has image labels, too
        (["--recipe", "mil"], "leave out --recipe mil"),
        (["--out", "R"], "--out and --resume: a run goes on in its own folder"),
        (["--preset", "paper"], "--preset and --resume: one of them"),
        (["--config", "R"], "--config and --resume: one of them"),
    ],
)
def test_what_may_not_change_when_a_run_is_resumed(
    run: Callable[[RunConfig], str], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert train.main(["--resume", run(JOINT), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said


def test_a_configuration_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: small\ndata: {sets: [[yolo, data.yaml]]}\nplan: {steps: 7, size: 64}\n")
    config = configure(["--config", str(file), "--steps", "9"]).config
    expected = override(preset_for((("yolo", "data.yaml"),), name="small"), {"plan.steps": 9, "plan.size": 64})
    assert config == expected
    assert configure(["--config", str(file), "--csv", "F"]).config.data.sets == (("csv", "F"),)
    assert train.main(["--config", str(file), "--print-config"]) == 0
    file.write_text(capsys.readouterr().out)  # what is printed makes the same run
    assert configure(["--config", str(file), "--steps", "9"]).config == expected


def test_an_unknown_key_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"config": {"plan": {"stepz": 5}}}')
    assert train.main(["--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {file}: unknown key plan.stepz; did you mean plan.steps?")
    file.write_text('{"config": {"train": {"ema_decay": 2}}}')
    assert train.main(["--config", str(file)]) == 2
    assert capsys.readouterr().err == f"error: {file}: train: ema_decay 2.0: at least 0 and below 1 is needed\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ema", "2.0"], "--ema 2.0: at least 0 and below 1 is needed"),
        (["--size", "100"], "--size 100: a multiple of 32 is needed"),
        (["--classification-lr", "0"], "--classification-lr 0.0: a positive number is needed"),
        (["--ratio", "0:1"], "--ratio 0:1: both numbers are at least 1"),
        (["--label-weight", "-1"], "--label-weight -1.0: the weight of image labels is at least 0"),
        (["--batch", "4", "--accumulate", "3"], "--batch 4 cannot be cut into 3 equal parts"),
        (["--priors", "0"], "--priors 0: at least 1 is needed"),
        (["--coco", "C", "--coco", "C"], "C: named twice; each data set is named once"),
        (["--coco", "C", "--tiles", "T"], "--coco and --tiles: one source of boxes is needed, not 2"),
        (["--coco", "C", "--boxed", "all"], "--boxed chooses among the classes of scenes and tiles"),
        (["--val", "V"], "--val holds out photographs with boxes, and no set of them is named"),
        (["--tiles", "T", "--val", "V"], "--val holds out photographs with boxes, and no set of them is named"),
        (["--cfg", "yolov2-tiny", "--flat"], "--flat is of a net of ours; a --cfg says itself"),
        (["--cfg", "yolov2-tiny", "--location", "unconstrained"], "--location is of a net of ours; a --cfg says"),
        (
            ["--cfg", "yolov2", "--width", "0.25", "--priors", "9"],  # the width is that of the preset
            "--width, --priors: of a net of ours; a --cfg says itself what its layers and priors are",
        ),
        (["--cfg", "yolov2", "--no-batch-norm"], "--batch-norm: of a net of ours"),
        (["--priors=-1x2"], "--priors -1.0x2.0: a positive width and height in grid cells are needed"),
        (["--priors", "1x2,nanx2"], "--priors nanx2.0: a positive width and height"),
        (["--priors", "0x0"], "--priors 0.0x0.0: a positive width and height"),
        (["--priors", "2xinf"], "--priors 2.0xinf: a positive width and height"),
    ],
)
def test_a_refused_value_names_its_flag(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(words) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lrr", "1"], "--lrr: did you mean --lr?"),
        (["--detection-step", "1"], "--detection-step: did you mean --detection-steps?"),
        (["--mosaik", "0.5"], "--mosaik: did you mean --mosaic?"),
        (["--ratio", "4"], "--ratio: 4: two whole numbers with a colon between are needed, such as 4:1"),
        (["--priors", "many"], "--priors: many: a number, yolo9000, yolov2, hand-picked, or sizes such as 1.5x2,3x3"),
        (["--splits", "train"], "--splits: train: two names with a colon between"),
        (["--steps", "many"], "--steps many: a whole number is needed"),
        (["--recipe", "yolo"], "--recipe yolo: one of constant, darknet, max-size, mil, objectness, overlap, paper, "),
    ],
)
def test_a_mistyped_flag_or_value_ends_with_2_and_says_what_is_meant_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words) == 2
    out, text = capsys.readouterr()
    assert out == ""
    assert text.startswith(f"error: {said}")
    assert text.count("\n") == 1


def test_a_switch_is_turned_off_and_on() -> None:
    assert not configure(["--no-compile"]).config.train.compile
    assert configure(["--compile"]).config.train.compile
    assert not configure(["--joint", "--no-joint"]).config.plan.joint.enabled


def test_the_table_of_flags() -> None:
    flags = flags_of(Command)
    told = {"batch_size": "--batch", "learning_rate": "--lr", "enabled": "--joint", "weight": "--label-weight"}
    told |= {"imagenet_pack": "--imagenet-pack", "boxes_first": "--detection-steps", "gradient_clip": "--clip"}
    assert {name: flags[name] for name in told} == told


def test_boxes_first_needs_joint_training() -> None:
    with pytest.raises(Mistake, match="`boxes_first`: these steps go before joint training"):
        configure(["--detection-steps", "5"])


def test_the_help_has_every_flag_and_the_values_of_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    def help_of(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            train.main([*words, "--help"])
        assert end.value.code == 0
        return " ".join(capsys.readouterr().out.replace("│", " ").split())

    text = help_of()
    assert [words for words, _, _ in FLAGS if f"{words[0]} " not in text and f"{words[0]}," not in text] == []
    assert "--lr RATE Peak rate, for the whole batch's mean loss (darknet: .001). (default: 0.002)" in text
    assert "(default: 0.001)" in help_of("--preset", "paper")
