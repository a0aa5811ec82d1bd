"""The ladder: what each rung changes, which runs are shared, how it goes on, and the table."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yolo9000 import ladder
from yolo9000.comparison.ladder import (
    Rung,
    configurations,
    ladder_base,
    ladder_for,
    start_of,
    ticks,
)
from yolo9000.comparison.ladder_runs import LadderPlan, plan_ladder, read_columns, tasks_of, write_ladder
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import differences, from_plain
from yolo9000.runtime.mistakes import Mistake

BOTH = (("coco", "COCO"), ("imagenet", "IMAGENET"))
NAMES = [
    "YOLO",
    "batch norm",
    "high-resolution classifier",
    "convolutional with anchor boxes",
    "new network",
    "dimension priors",
    "location prediction",
    "passthrough",
    "multi-scale",
    "high-resolution detector",
    "joint",
    "modern backbone",
]


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rung is left out because of what is installed here."""
    monkeypatch.setattr("yolo9000.comparison.ladder.find_spec", lambda name: object())


def at(size: int, stride: int, sets: tuple[tuple[str, str], ...] = BOTH) -> RunConfig:
    base = ladder_base(sets, "small")
    form = replace(base.net.detector, stride=stride)
    return replace(base, plan=replace(base.plan, size=size), net=replace(base.net, detector=form))


def test_the_papers_ten_in_its_order_then_joint_then_the_modern_backbone() -> None:
    rungs = ladder_for(ladder_base(BOTH, "paper"))
    assert [rung.name for rung in rungs] == NAMES
    # table 2; 74.4 is one column of the paper's for two rungs of ours
    assert [rung.paper for rung in rungs] == [63.4, 65.8, 69.5, 69.2, 69.6, None, 74.4, 75.4, 76.8, 78.6, None, None]


@pytest.mark.parametrize("base", [ladder_base(BOTH, "paper"), at(160, 32), at(128, 16), at(192, 32), at(192, 16)])
def test_each_rung_differs_from_the_one_before_by_what_it_says(base: RunConfig) -> None:
    rungs = ladder_for(base)
    before = base
    for rung, config in zip(rungs, configurations(base, rungs), strict=True):
        changed = differences(before, config)
        assert set(changed) <= set(rung.overrides), rung.name
        assert {way: now for way, (_, now) in changed.items()}.items() <= rung.overrides.items()
        assert changed or rung.name == "YOLO"
        before = config


@pytest.mark.parametrize("base", [ladder_base(BOTH, "paper"), at(128, 16), at(192, 32, (("voc", "VOC"),))])
def test_every_configuration_is_one_that_a_file_may_hold(base: RunConfig) -> None:
    for config in configurations(base, ladder_for(base)):
        assert from_plain(RunConfig, json.loads(json.dumps(dataclasses.asdict(config))), "a file") == config


def test_the_sizes_are_the_papers_at_the_papers_size() -> None:
    base = ladder_base(BOTH, "paper")
    found = configurations(base, ladder_for(base))
    forms = [(config.plan.size, config.net.detector.stride) for config in found]
    assert forms == [(448, 64)] * 3 + [(416, 32)] * 9  # 7 x 7 cells, then 13 x 13
    assert [config.plan.fine_tuning_steps > 0 for config in found] == [False] * 2 + [True] * 10
    assert {config.plan.fine_tuning_size for config in found} == {448}
    assert found[9].plan.evaluation_size == 544
    assert found[8].plan.sizes == (320, 352, 384, 416, 448, 480, 512, 544, 576, 608)


@pytest.mark.parametrize(
    ("size", "stride", "yolo", "larger"),
    [(128, 16, (128, 32), 160), (160, 32, (192, 64), 224), (192, 32, (192, 64), 256), (160, 16, (160, 32), 224)],
)
def test_small_sizes_keep_the_proportions(size: int, stride: int, yolo: tuple[int, int], larger: int) -> None:
    base = at(size, stride)
    found = configurations(base, ladder_for(base))
    assert (found[0].plan.size, found[0].net.detector.stride) == yolo
    assert (found[3].plan.size, found[3].net.detector.stride) == (size, stride)
    assert found[9].plan.evaluation_size == larger


def test_what_single_rungs_are() -> None:
    base = at(160, 32)
    found = dict(zip(NAMES, configurations(base, ladder_for(base)), strict=True))
    yolo, anchors = found["YOLO"].net, found["convolutional with anchor boxes"].net
    assert (yolo.detector.head, yolo.detector.backbone, yolo.detector.extra_convs) == ("connected", "extraction", 4)
    assert (yolo.detector.batch_norm, yolo.flat, yolo.loss) == (False, True, "darknet")
    assert found["YOLO"].data.sets == (("coco", "COCO"),)
    assert (anchors.detector.head, anchors.location, anchors.detector.extra_convs) == ("anchors", "unconstrained", 4)
    assert isinstance(anchors.priors, tuple)
    assert len(anchors.priors) == 9
    assert anchors.priors[0] == (0.8, 0.8)  # .16 of five cells
    assert found["new network"].net.detector.backbone == "darknet19"
    assert found["dimension priors"].net.priors == 5
    assert found["location prediction"].net.location == "direct"
    rates = [config.optimiser.learning_rate / base.optimiser.learning_rate for config in found.values()]
    assert rates == [0.25] * 3 + [1] * 9  # fully connected layers bear less
    rates = [config.plan.classification_learning_rate for config in found.values()]
    assert [rate / base.plan.classification_learning_rate for rate in rates] == [0.25] + [1] * 11
    joint = found["joint"]
    assert (joint.plan.joint.enabled, joint.net.flat, joint.data.sets) == (True, False, BOTH)
    assert joint.train.batch_size == 2 * base.train.batch_size  # as many images with boxes in a step
    assert found["modern backbone"].net.detector.backbone.startswith("timm:")


def test_the_ticks_of_the_papers_table() -> None:
    """Table 2, read off by hand, with a column more; a 1 is a tick."""
    base = ladder_base(BOTH, "paper")
    columns = ticks(base, ladder_for(base))
    expected = {
        "batch norm": "011111111111",
        "high-resolution classifier": "001111111111",
        "convolutional": "000111111111",
        "anchor boxes": "000110000000",
        "new network": "000011111110",
        "dimension priors": "000001111111",
        "location prediction": "000000111111",
        "passthrough": "000000011100",
        "multi-scale": "000000001111",
        "high-resolution detector": "000000000111",
        "joint": "000000000011",
        "modern backbone": "000000000001",
    }
    found = {row: "".join(str(int(column[row])) for column in columns) for row in columns[0]}
    assert found == expected


def test_without_image_labels_the_rungs_that_need_them_are_skipped() -> None:
    base = ladder_base((("voc", "VOC"),), "small")
    rungs = ladder_for(base)
    assert {rung.name: rung.skipped for rung in rungs if rung.skipped} == {
        "high-resolution classifier": "the data have no image labels",
        "joint": "the data have no image labels",
    }
    found = configurations(base, rungs)
    assert all(start_of(base, config) is None for config in found)
    assert not any(column["high-resolution classifier"] or column["joint"] for column in ticks(base, rungs))
    assert found[11].plan.joint.enabled is False
    assert found[11].net.detector.passthrough is True  # what `joint` would have taken away


def test_without_timm_the_modern_backbone_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolo9000.comparison.ladder.find_spec", lambda name: None)
    assert [rung.name for rung in ladder_for(at(160, 32)) if rung.skipped] == ["modern backbone"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"cfg": "yolov2-tiny"}, "`cfg`: a ladder's nets"), ({"init": "runs/other"}, "`init`: a ladder's nets")],
)
def test_a_ladder_has_its_own_nets(changed: dict[str, str], said: str) -> None:
    base = at(160, 32)
    with pytest.raises(Mistake, match=said):
        ladder_for(replace(base, net=replace(base.net, **changed)))  # type: ignore[arg-type]


def test_yolos_cells_are_twice_as_large() -> None:
    base = ladder_base(BOTH, "small")
    form = replace(base.net.detector, stride=64, extra_convs=2)
    with pytest.raises(Mistake, match="`stride` 64"):
        ladder_for(replace(base, net=replace(base.net, detector=form)))


# ---------------------------------------------------------------------------------------------------------- its runs


def planned(tmp_path: Path, base: RunConfig, seeds: int = 1) -> tuple[LadderPlan, tuple[Rung, ...]]:
    rungs = ladder_for(base)
    return plan_ladder(base, rungs, tmp_path, range(seeds)), rungs


def relative(plan: LadderPlan, out: Path, what: str) -> list[str]:
    return [getattr(run, what).relative_to(out).as_posix() for run in plan.runs]


def test_a_classifier_is_trained_once_for_all_that_start_from_it(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, ladder_base(BOTH, "small"))
    assert relative(plan, tmp_path, "start") == [
        "starts/yolo/seed0",
        "starts/batch-norm/seed0",
        *["starts/high-resolution-classifier/seed0"] * 2,
        *["starts/new-network/seed0"] * 7,  # also of the joint net: it has the tree of all labels
        "starts/modern-backbone/seed0",
    ]
    start = plan.configs[tmp_path / "starts/new-network/seed0"]
    assert (start.plan.steps, start.net.flat, start.data.sets) == (0, False, BOTH)
    detector = plan.configs[tmp_path / "passthrough/seed0"]
    assert (detector.plan.classification_steps, detector.plan.fine_tuning_steps) == (0, 0)
    assert detector.net.init == str(tmp_path / "starts/new-network/seed0")


def test_a_grid_of_another_stride_has_a_classifier_of_its_own(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, at(128, 16))
    starts = relative(plan, tmp_path, "start")
    assert starts[2:4] == ["starts/high-resolution-classifier/seed0", "starts/convolutional-with-anchor-boxes/seed0"]


def test_a_larger_size_of_evaluation_needs_no_other_training(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, at(160, 32))
    assert relative(plan, tmp_path, "folder")[8:10] == ["multi-scale/seed0"] * 2
    assert [run.size for run in plan.runs[8:10]] == [160, 224]
    tasks = {task.name: task for task in tasks_of(plan)}
    assert "high-resolution-detector/seed0" not in tasks
    evaluation = tasks["evaluation of high-resolution-detector/seed0"]
    assert evaluation.needs == ("multi-scale/seed0",)
    words = list(evaluation.command())
    assert words[words.index("--size") + 1] == "224"
    assert words[3] == str(tmp_path / "multi-scale/seed0")


def test_seeds_have_runs_of_their_own(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, at(160, 32), seeds=2)
    assert len(plan.runs) == 24
    assert {config.seed for folder, config in plan.configs.items() if folder.name == "seed1"} == {1}
    names = [task.name for task in tasks_of(plan)]
    assert len(names) == len(set(names)) == 2 * (5 + 11 + 12)
    assert names.index("joint/seed0") < names.index("yolo/seed1")


def test_chosen_rungs_bring_what_they_need(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, at(160, 32))
    assert [task.name for task in tasks_of(plan, ["high-resolution detector"])] == [
        "starts/new-network/seed0",
        "multi-scale/seed0",
        "evaluation of high-resolution-detector/seed0",
    ]
    assert tasks_of(plan, ["batch-norm"])[1].name == "batch-norm/seed0"
    with pytest.raises(Mistake, match="`rungs` resnet: there is no such rung to train; there are yolo, batch-norm"):
        tasks_of(plan, ["resnet"])


def test_a_ladder_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    base = at(160, 32)
    plan, rungs = planned(tmp_path, base)
    write_ladder(plan, base, rungs, tmp_path)
    write_ladder(plan, base, rungs, tmp_path)
    other = replace(base, machine=replace(base.machine, workers=3))
    write_ladder(planned(tmp_path, other)[0], other, rungs, tmp_path)
    other = replace(base, plan=replace(base.plan, steps=7))
    with pytest.raises(Mistake, match=r"begun with another `steps` \(\d+, not 7\); give the same options, or another"):
        write_ladder(planned(tmp_path, other)[0], other, rungs, tmp_path)


def test_more_seeds_may_follow(tmp_path: Path) -> None:
    base = at(160, 32)
    for seeds in (range(2), range(1)):
        rungs = ladder_for(base)
        write_ladder(plan_ladder(base, rungs, tmp_path, seeds), base, rungs, tmp_path)
    columns = json.loads((tmp_path / "ladder.json").read_text())["columns"]
    assert list(columns[0]["runs"]) == ["0", "1"]


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """A stand-in for `python -m yolo9000.train` and its like: it is given the command's words."""
    file = tmp_path / "stand_in.py"
    file.write_text(script)
    monkeypatch.setattr("yolo9000.comparison.ladder_runs.PYTHON", (sys.executable, str(file)))


STAND_IN = """
import json, sys
from pathlib import Path
command, words = sys.argv[2], sys.argv[3:]
value = dict(zip(words, words[1:]))
if command == "yolo9000.train":
    folder = Path(value.get("--resume") or value["--out"])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.parents[1] / "calls.txt", "a") as calls:
        calls.write(("resume " if "--resume" in value else "begin ") + folder.parent.name + "\\n")
    (folder / "last.pt").touch()
    if folder.parent.name in Path(sys.argv[0]).with_suffix(".fails").read_text().split():
        sys.exit("it failed as it was told to")
else:
    score = {"ap50": 0.25, "classes": 3}
    assert "--overwrite" in words or not Path(value["--out"]).exists()
    images = int(value["--images"])
    report = {"boxed": score, "never_boxed": {"ap50": None, "classes": 0}, "images": images, "images_at_most": images}
    Path(value["--out"]).write_text(json.dumps(report))
"""


def climb(out: Path, *options: str) -> int:
    return ladder.main(["--out", str(out), "--steps", "3", "--rungs", "batch-norm", "new-network", *options])


def test_data_that_are_not_there_are_found_out_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ladder.main(["--tiles", str(tmp_path / "nowhere"), "--out", str(tmp_path / "ladder")]) == 2
    assert capsys.readouterr().err == f"error: --tiles {tmp_path / 'nowhere'}: there is no such folder or file\n"
    assert not (tmp_path / "ladder").exists()


def test_tars_may_lie_at_any_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rungs", "x", "--out", str(tmp_path / "ladder")]  # there is no such rung, which is found out after
    pattern = str(tmp_path / "{train-{0..1},val-0}.tar")
    assert ladder.main(["--box-tars", pattern, *words]) == 2
    first = tmp_path / "train-0.tar"
    assert f"--box-tars {pattern}: {first} cannot be opened: " in capsys.readouterr().err
    first.write_bytes(bytes(1024))
    for place in (pattern, f"file://{tmp_path}/train-{{0..1}}.tar"):
        assert ladder.main(["--box-tars", place, *words]) == 2
        assert "--rungs x: " in capsys.readouterr().err


def test_what_was_evaluated_on_other_images_is_evaluated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, tmp_path, STAND_IN)
    monkeypatch.setattr("yolo9000.comparison.ladder_runs._cost", lambda folder, size: (1000, 2.0))
    (tmp_path / "stand_in.fails").write_text("")
    out = tmp_path / "ladder"

    def numbers() -> list[int]:
        files = [out / rung / "seed0" / "evaluation.json" for rung in ("batch-norm", "new-network")]
        return [json.loads(file.read_text())["images"] for file in files]

    assert climb(out, "--images", "100") == 0
    assert numbers() == [100, 100]
    (out / "batch-norm" / "seed0.log").write_text("")
    assert climb(out, "--images", "100") == 0
    assert (out / "batch-norm" / "seed0.log").read_text() == ""  # nothing was left to do
    assert climb(out, "--images", "50", "--rungs", "batch-norm") == 0
    assert numbers() == [50, 100]
    said = "Evaluated on different numbers of images, which are not to be compared: 50: batch norm; 100: new network."
    assert said in capsys.readouterr().out
    assert climb(out, "--images", "50") == 0
    assert numbers() == [50, 50]
    assert "different numbers" not in capsys.readouterr().out
    assert len((out / "calls.txt").read_text().splitlines()) == 2  # nothing was trained again


def test_a_failed_run_is_reported_and_tried_again_and_others_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, tmp_path, STAND_IN)
    monkeypatch.setattr("yolo9000.comparison.ladder_runs._cost", lambda folder, size: (1000, 2.0))
    fails, out = tmp_path / "stand_in.fails", tmp_path / "ladder"
    fails.write_text("batch-norm")
    assert climb(out) == 1
    said = capsys.readouterr()
    assert "failed: starts/batch-norm/seed0 (exit status 1)" in said.err
    assert "it failed as it was told to" in said.err
    assert "not begun, for they need what failed: batch-norm/seed0, evaluation of batch-norm/seed0\n" in said.err
    assert "|  | new network |" in said.out
    fails.write_text("")
    assert climb(out) == 0
    assert "|  | batch norm | new network |" in capsys.readouterr().out
    assert (out / "starts" / "calls.txt").read_text().splitlines() == [
        "begin batch-norm",
        "begin new-network",
        "resume batch-norm",  # it had a checkpoint
    ]
    assert (out / "calls.txt").read_text().splitlines() == ["begin new-network", "begin batch-norm"]
    assert climb(out) == 0
    assert len((out / "calls.txt").read_text().splitlines()) == 2  # nothing is left to train


def test_the_table_can_be_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = at(160, 32)
    plan, rungs = planned(tmp_path, base, seeds=2)
    write_ladder(plan, base, rungs, tmp_path)
    for run in plan.runs[:4]:
        run.evaluation.parent.mkdir(parents=True)
        scores: dict[str, Any] = {"boxed": {"ap50": 0.5, "classes": 3}, "never_boxed": {"ap50": 0.1, "classes": 2}}
        run.evaluation.write_text(json.dumps(scores))
    assert ladder.main(["--out", str(tmp_path), "--table-only"]) == 0
    table = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == table
    assert "| **mAP** | **50.0** | **50.0** | **50.0** | **50.0** |" in table
    assert "| mAP of classes never boxed | 10.0 | 10.0 | 10.0 | 10.0 |" in table
    assert "Without figures so far: new network, " in table
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "ladder.csv").read_text().splitlines()
    assert lines[1] == "YOLO,0,0.5,0.1,,,192,63.4,"
    assert len(lines) == 13
    assert [column.name for column in read_columns(tmp_path)] == NAMES
    assert ladder.main(["--out", str(tmp_path / "nothing"), "--table-only"]) == 2
    assert "is the folder of a ladder" not in capsys.readouterr().out


def test_the_help_is_there_at_once() -> None:
    code = (
        "import sys; from yolo9000.ladder import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--table-only" in done.stdout
    assert done.stderr.split() == ["0", "False"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "--seeds 0: at least 1 is needed"),
        (["--stride", "64"], "--stride 64: "),
        (["--rungs", "x"], "--rungs x: "),
    ],
)
def test_mistakes_name_the_option(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ladder.main(["--out", str(tmp_path / "ladder"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "ladder").exists()


@pytest.mark.slow
def test_a_short_ladder_from_end_to_end(tmp_path: Path) -> None:
    """Two rungs of three steps on scenes of pictograms, with a net of one stride after one of another."""
    out = tmp_path / "ladder"
    words = ["--out", str(out), "--steps", "3", "--classification-steps", "3", "--fine-tuning-steps", "2"]
    words += ["--width", "0.05", "--size", "64", "--batch", "4", "--images", "6", "--val-images", "4", "--jobs", "2"]
    assert ladder.main([*words, "--rungs", "yolo", "high-resolution-detector"]) == 0
    columns = {column.name: column for column in read_columns(out)}
    assert [name for name, column in columns.items() if column.ap50] == ["YOLO", "high-resolution detector"]
    for column in columns.values():
        if column.ap50:
            assert 0 <= column.ap50[0] <= 1
            assert column.parameters
            assert column.gflops
    assert columns["YOLO"].size == 64
    assert columns["high-resolution detector"].size == 96
    last = (out / "yolo" / "seed0" / "last.pt").stat().st_mtime_ns
    assert ladder.main([*words, "--rungs", "yolo"]) == 0
    assert (out / "yolo" / "seed0" / "last.pt").stat().st_mtime_ns == last


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_trained_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "ladder"
    words = [sys.executable, "-m", "yolo9000.ladder", "--out", str(out), "--rungs", "batch-norm", "--steps", "2"]
    words += ["--classification-steps", "60", "--fine-tuning-steps", "1", "--width", "0.05", "--size", "64"]
    words += ["--classification-size", "32", "--batch", "4", "--images", "6", "--val-images", "4", "--log-every", "1"]
    start = out / "starts" / "batch-norm"
    begun = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while begun.poll() is None and not (start / "seed0" / "results.csv").exists():
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate()
    assert begun.returncode == 130
    assert "stopped; the same command goes on" in said
    assert (start / "seed0" / "last.pt").exists()
    assert not (start / "seed0.trained").exists()
    before = len((start / "seed0" / "results.csv").read_text().splitlines())
    assert before < 61
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = (start / "seed0.log").read_text()
    assert log.count("$ ") == 2
    assert f"--resume {start / 'seed0'}" in log
    assert "| **mAP** |" in done.stdout
