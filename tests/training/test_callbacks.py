"""Callbacks are told what happens, in order; TensorBoard's and the sheet of pictures are such."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder, create_run_folder, remove_failed_start
from yolo9000.training import tensorboard
from yolo9000.training.callbacks import Callback, Moment
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.loop import train
from yolo9000.training.phases import Phase

CONFIG = TrainConfig(batch_size=2, log_every=2, evaluate_every=2, save_every=0, best_score="score", precision="float32")
CONSTANT = OptimiserConfig(learning_rate=0.1, schedule="constant", burn_in=0)


@dataclass
class Batch:
    images: Tensor
    targets: Sequence[float]


def batches(first: int) -> Iterator[Batch]:
    while True:
        yield Batch(torch.ones(2, 3, 1, 1), [1.0, 2.0])


def loss(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
    return {"square": (output.flatten() - torch.tensor(targets)).square().sum()}


def phase(name: str, evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None) -> Phase:
    net = nn.Conv2d(3, 1, 1)
    return Phase(name=name, steps=3, model=net, loss=loss, batches=batches, optimiser=CONSTANT, evaluate=evaluate)


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, at: Moment, what: str) -> None:
        self.told.append(f"{at.step}/{at.steps} {at.phase}: {what}")

    def on_start(self, at: Moment) -> None:
        self.tell(at, "start")

    def on_step(self, at: Moment, values: Mapping[str, Any]) -> None:
        assert values["loss"] == values["loss/square"]
        self.tell(at, f"row {values['step']}")

    def on_evaluation(self, at: Moment, scores: Mapping[str, float], model: nn.Module) -> None:
        assert not model.training
        self.tell(at, f"score {scores['score']}")

    def on_checkpoint(self, at: Moment, path: Path) -> None:
        assert path.exists()
        self.tell(at, path.name)

    def on_end(self, at: Moment, *, interrupted: bool) -> None:
        self.tell(at, f"end, interrupted {interrupted}")


class Silent(Callback):
    """Wants to know nothing."""


def test_what_a_callback_is_told(tmp_path: Path) -> None:
    diary = Diary()
    phases = [phase("first"), phase("second", lambda model: {"score": 0.5})]
    train(phases, CONFIG, RunFolder(tmp_path), device=torch.device("cpu"), callbacks=[Silent(), diary])
    assert diary.told == [
        "0/6 first: start",
        "2/6 first: row 2",
        "3/6 first: row 3",
        "3/6 first: last.pt",
        "5/6 second: row 5",
        "5/6 second: score 0.5",
        "5/6 second: best.pt",
        "6/6 second: row 6",
        "6/6 second: score 0.5",
        "6/6 second: last.pt",
        "6/6 second: end, interrupted False",
    ]


def test_a_best_score_that_no_evaluation_gives_is_said_once_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an earlier phase it is no word: the best detector is not picked among classifiers."""
    said = []
    for number, scores in enumerate(({"score": 0.5}, {"ap50": 0.5, "ap": 0.2}, None)):
        phases = [phase("first", lambda model: {"top1": 0.5}), phase("last", scores and (lambda model, s=scores: s))]
        (tmp_path / str(number)).mkdir()
        train(phases, CONFIG, RunFolder(tmp_path / str(number)), device=torch.device("cpu"))
        said.append([line for line in "".join(capsys.readouterr()).splitlines() if "warning" in line])
    begin = "warning: no evaluation gives the best_score score, so there is no best.pt; there are "
    assert said == [[], [begin + "ap, ap50, top1"], [begin + "top1"]]


def test_a_resumed_run_starts_where_it_was(tmp_path: Path) -> None:
    first, second = Diary(), Diary()
    cpu = torch.device("cpu")
    train([phase("only")], CONFIG, RunFolder(tmp_path), device=cpu, callbacks=[first], stop_after=1)
    assert first.told[-1] == "1/3 only: end, interrupted True"
    train([phase("only")], CONFIG, RunFolder(tmp_path), device=cpu, callbacks=[second], resume=True)
    assert second.told[0] == "1/3 only: start"


def test_the_first_process_alone_tells(tmp_path: Path) -> None:
    diary = Diary()
    training_of = Processes(rank=1, world_size=1)
    train(
        [phase("only")],
        CONFIG,
        RunFolder(tmp_path),
        device=torch.device("cpu"),
        processes=training_of,
        callbacks=[diary],
    )
    assert diary.told == []


def test_what_a_callback_raises_ends_the_training(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_step(self, at: Moment, values: Mapping[str, Any]) -> None:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        train([phase("only")], CONFIG, RunFolder(tmp_path), device=torch.device("cpu"), callbacks=[Broken()])


def test_tensorboard_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Mistake, match=r"not installed; pip install 'yolo9000\[tensorboard\]'"):
        tensorboard.TensorBoard()


def test_tensorboard_is_written_what_the_table_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            assert (folder, purge_step) == (str(tmp_path), None)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None: ...
        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(tensorboard, "has_tensorboard", lambda: True)
    board = tensorboard.TensorBoard()
    at = Moment(RunFolder(tmp_path), 0, 9, "joint")
    board.on_start(at)
    at = Moment(RunFolder(tmp_path), 7, 9, "joint")
    board.on_step(at, {"step": 7, "phase": "joint", "loss": 2.5})
    board.on_evaluation(at, {"ap50": 0.25, "held_out/detection": 3.0}, nn.Identity())
    board.on_end(at, interrupted=False)
    assert written == [
        ("loss", 2.5, 7),
        ("held_out/ap50", 0.25, 7),
        ("held_out/detection", 3.0, 7),
        ("closed", 0.0, 0),
    ]


def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "runs" / "a")
    run.write_config({})
    run.results.write_text("step,loss\n")
    (run.path / "events.out.tfevents.1.host").touch()
    remove_failed_start(run)
    assert not run.path.exists()


@pytest.mark.parametrize("kept", ["last.pt", "best.pt", "mine.txt", "results.csv"])
def test_what_was_trained_or_is_of_others_stays(tmp_path: Path, kept: str) -> None:
    run = create_run_folder(tmp_path)
    (tmp_path / kept).write_text("step,loss\n1,2.5\n")
    remove_failed_start(run)
    assert (tmp_path / kept).exists()
