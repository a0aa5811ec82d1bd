"""One way for all commands to say what their user got wrong."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from wordtree import TreeMismatch, load_tree
from wordtree.hierarchy import NewConcept
from yolo9000 import demo
from yolo9000.darknet.cfg import CfgError
from yolo9000.darknet.weights import WeightsError
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.pictograms import PictogramError
from yolo9000.datasets.sample import Unreadable
from yolo9000.detection.config import DecodeConfig, ImageLabels
from yolo9000.experiment.config import DataConfig, Joint, PlanConfig, RunConfig
from yolo9000.experiment.plan import PlanError
from yolo9000.inference.sources import NoImages
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint
from yolo9000.runtime.device import DeviceError
from yolo9000.runtime.mistakes import Mistake, flags_of, in_flags, run
from yolo9000.runtime.run_folder import RunFolderError
from yolo9000.training.bad_steps import NonFiniteLoss
from yolo9000.training.config import OptimiserConfig, TrainConfig

FLAGS = {"batch_size": "--batch", "burn_in": "--burn-in"}
ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "models", "detection", "darknet", "runtime", "training", "evaluation", "inference", "experiment", "comparison",
)  # fmt: skip
LIBRARY = ("wordtree", "datasets", *(f"yolo9000/{part}" for part in PARTS))
COMMANDS = {  # flags of whole commands that the library runs or tells its user to run
    "datasets/pictograms.py": {"--upgrade"},
    "yolo9000/comparison/ladder_runs.py": {
        "--config",
        "--out",
        "--resume",
        "--size",
        "--images",
        "--overwrite",
        "--device",
    },
    "yolo9000/comparison/runs.py": {"---"},
    "yolo9000/evaluation/ladder_table.py": {"---"},  # a line of a table in Markdown
    "yolo9000/evaluation/node_table.py": {"---", "---:"},  # the same
    "yolo9000/experiment/beginning.py": {"--resume"},
    "yolo9000/experiment/layouts.py": {"--categories", "--data", "--voc", "--imagenet"}
    | {"--box-tars", "--label-tars", "--imagenet1k", "--wnids", "--out"},
    "yolo9000/runtime/inventory.py": {"--short", "--porcelain", "--untracked-files"},  # of git
    "yolo9000/runtime/mistakes.py": {"--"},  # it makes flags of fields
    "yolo9000/runtime/mistyped.py": {"--", "--help", "--version"},  # it reads command lines
    "yolo9000/runtime/run_folder.py": {"--porcelain", "--untracked-files"},
}


def raising(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_command_without_a_mistake_ends_with_its_own_status(capsys: pytest.CaptureFixture[str], status: int) -> None:
    assert run(lambda: status) == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind",
    [
        Mistake, CfgError, CheckpointError, DeviceError, NoImages, NonFiniteLoss, PlanError, RunFolderError,
        WeightsError, TreeMismatch, DatasetError, PictogramError, OSError,
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], kind: type[Exception]
) -> None:
    assert run(lambda: raising(kind("x.pt: is empty"))) == 2
    assert capsys.readouterr() == ("", "error: x.pt: is empty\n")


def test_mistakes_that_the_libraries_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.json").write_text("{")
    (tmp_path / "last.pt").touch()
    for command, message in (
        (lambda: load_tree(tmp_path / "t.json"), "t.json:1: not JSON"),
        (lambda: load_tree(tmp_path / "absent.json"), "absent.json: no such file"),
        (lambda: load_checkpoint(tmp_path / "last.pt"), "last.pt: the file is empty"),
        (lambda: NewConcept.parse("a < b < c"), "has two '<'"),
        (lambda: raising(Unreadable("a.jpg", "no image")), "a.jpg"),
        (lambda: (tmp_path / "absent").read_text(), "No such file or directory"),
    ):
        assert run(lambda command=command: int(bool(command()))) == 2  # type: ignore[misc]
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, AssertionError])
def test_an_error_of_ours_stays_a_traceback(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="shape"):
        run(lambda: raising(kind("shape (3,)")))


def test_an_interrupted_command_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: raising(KeyboardInterrupt()), interrupted="interrupted; nothing was written") == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"


def test_fields_become_flags_and_other_words_stay() -> None:
    message = "`batch_size` 0, or `burn_in`; `momentum` and `--x` are none, batch_size is in no backquotes"
    said = "--batch 0, or --burn-in; `momentum` and `--x` are none, batch_size is in no backquotes"
    assert in_flags(message, FLAGS) == said
    assert in_flags(message, {}) == message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("a has no node. Add it to the tree, or leave it out with `skip_missing`", "a has no node. Add it to the tree"),
        ("too high: pass x/train, or name train with `split`.", "too high: pass x/train."),
        ("name a synset, or take the first (`first_sense`)", "name a synset, or take the first (--first-sense)"),
        (
            "x exists; name another, or overwrite it with `force`",
            "x exists; name another, or overwrite it with --force",
        ),
        ("`a` or `b`: name a data set", "`a` or `b`: name a data set"),
    ],
)
def test_a_command_gives_no_advice_that_only_python_can_follow(message: str, said: str) -> None:
    assert in_flags(message, {"force": "--force", "first_sense": "--first-sense"}) == said


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    """As in ``yolo9000 tree show | head -1``."""
    code = (
        "from yolo9000.runtime.mistakes import run\n"
        "def command():\n"
        "    for _ in range(100_000):\n"
        "        print('a line of a long answer')\n"
        "    return 0\n"
        "raise SystemExit(run(command))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_error_names_flags_at_the_command_line_and_fields_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Mistake, match=r"^`batch_size` 0: at least 1 is needed$"):
        TrainConfig(batch_size=0)
    assert run(lambda: int(bool(TrainConfig(batch_size=0))), flags=FLAGS) == 2
    assert capsys.readouterr().err == "error: --batch 0: at least 1 is needed\n"


def test_a_table_of_flags() -> None:
    assert flags_of(["burn_in", "batch"], batch_size="--batch") == {
        "burn_in": "--burn-in",
        "batch": "--batch",
        "batch_size": "--batch",
    }


def test_warnings_name_flags_as_well() -> None:
    code = (
        "import logging; from yolo9000.runtime.mistakes import run\n"
        "def command():\n"
        "    logging.getLogger('x').warning('nothing held out: name some with `%s`', 'val')\n"
        "    logging.getLogger('x').info('not shown')\n"
        "    return 0\n"
        "raise SystemExit(run(command, flags={'val': '--val'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "nothing held out: name some with --val\n")


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        (OptimiserConfig, {"learning_rate": 0.0}, "learning_rate"),
        (OptimiserConfig, {"learning_rate": float("nan")}, "learning_rate"),
        (OptimiserConfig, {"burn_in": -1}, "burn_in"),
        (OptimiserConfig, {"weight_decay": -0.1}, "weight_decay"),
        (OptimiserConfig, {"gradient_clip": -0.1}, "gradient_clip"),
        (OptimiserConfig, {"milestones": (0.1, 0.2, 0.3)}, "milestones"),
        (OptimiserConfig, {"milestones": (400_000, 450_000)}, "milestones"),
        (TrainConfig, {"accumulate": 0}, "accumulate"),
        (TrainConfig, {"ema_decay": 1.0}, "ema_decay"),
        (TrainConfig, {"save_every": -1}, "save_every"),
        (Joint, {"boxes_first": -1}, "boxes_first"),
        (Joint, {"boxes_first": 5, "enabled": False}, "boxes_first"),
        (Joint, {"ratio": (0, 1)}, "ratio"),
        (Joint, {"mosaic": 1.5}, "mosaic"),
        (PlanConfig, {"steps": 0}, "steps"),
        (PlanConfig, {"size": 100}, "size"),
        (PlanConfig, {"classification_size": 0}, "classification_size"),
        (PlanConfig, {"classification_learning_rate": 0.0}, "classification_learning_rate"),
        (DataConfig, {"sets": (("mnist", "x"),)}, "sets"),
        (DataConfig, {"scenes": 0}, "scenes"),
        (RunConfig, {"seed": -1}, "seed"),
        (DecodeConfig, {"tree_threshold": 1.5}, "tree_threshold"),
        (DecodeConfig, {"max_detections": 0}, "max_detections"),
        (ImageLabels, {"weight": -1.0}, "weight"),
        (BoxCoding, {"priors": ()}, "priors"),
        (FlatClasses, {"number": 0}, "number"),
    ],
)
def test_a_configuration_names_the_field_that_is_wrong(
    kind: type[object], wrong: dict[str, object], field: str
) -> None:
    with pytest.raises(Mistake, match=f"`{field}`"):
        kind(**wrong)


def strings(file: Path) -> set[str]:
    """All strings of a module but its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documentation)
    return {node.value for node in found if isinstance(node.value, str)}


@pytest.mark.parametrize("folder", LIBRARY)
def test_the_library_knows_no_flags(folder: str) -> None:
    files = list((ROOT / folder).glob("*.py"))
    assert files
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        flags = {flag for text in strings(file) for flag in re.findall(r"(?<!\S)[(\"']?(--[\w-]*)", text)}
        assert flags <= COMMANDS.get(name, set()), name


def test_the_demo_empties_no_folder_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert demo.main(["--out", str(tmp_path)]) == 2
    said = f"error: --out {tmp_path}: the folder holds something that is no demo; name another\n"
    assert capsys.readouterr().err == said
    assert (tmp_path / "mine.txt").exists()
    assert demo.main(["--seeds", "0"]) == 2
    assert capsys.readouterr().err == "error: --seeds 0: at least 1 is needed\n"
