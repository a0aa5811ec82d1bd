"""Steps whose loss or gradient is not finite: left out on every process, named, saved, computed again."""

from __future__ import annotations

import csv
import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo9000 import replay
from yolo9000.datasets.sample import Target
from yolo9000.experiment.config import RunConfig
from yolo9000.inference.model import describe_model
from yolo9000.models import Detector, DetectorConfig, RegionSpec
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training import gradients, loop
from yolo9000.training.bad_steps import NonFiniteLoss
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.culprits import Culprit, find_culprits
from yolo9000.training.loop import train
from yolo9000.training.objectives import detection_objective
from yolo9000.training.optimiser import ModelAverage, build_optimizer, learning_rate
from yolo9000.training.phases import ImageBatch, Phase

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
CONFIG = TrainConfig(batch_size=4, ema_decay=0.9, log_every=10, save_every=25, bad_steps=3)
SGD = OptimiserConfig(learning_rate=0.05, burn_in=2)
ADAMW = OptimiserConfig(optimizer="adamw", learning_rate=0.01, schedule="cosine", burn_in=2)
NAN = float("nan")


@dataclass(frozen=True)
class Numbered:
    images: Tensor
    targets: Sequence[float]
    keys: Sequence[str]


def numbered(poisoned: Callable[[int], bool]) -> Callable[[int], Any]:
    """Batches that are a function of their number; a poisoned one has a target that is not a number."""

    def batches(first: int) -> Iterator[ImageBatch]:
        for number in count(first):
            images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(number))
            targets = images.mean((1, 2, 3)).tolist()
            if poisoned(number):
                targets[2] = NAN
            yield Numbered(images, targets, [f"{number}/{i}.jpg" for i in range(4)])

    return batches


def regression(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
    error = output.float().squeeze(1) - torch.tensor(targets)
    return {"square": error.square().sum(), "absolute": 0.1 * error.abs().sum()}


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    return nn.Sequential(*layers)


def go(folder: Path, steps: int, config: TrainConfig = CONFIG, **changes: Any) -> nn.Module:
    settings = {"name": "only", "loss": regression, "optimiser": SGD, "model": network(), **changes}
    folder.mkdir(exist_ok=True)
    train([phase := Phase(steps=steps, **settings)], config, RunFolder(folder), device=CPU)
    return phase.model


def by_hand(steps: int, optimiser: OptimiserConfig, poisoned: Callable[[int], bool]) -> dict[str, Any]:
    """The slow twin: a loop that does not even begin a poisoned step."""
    model = network().to(memory_format=torch.channels_last)
    optimizer, average = build_optimizer(model, optimiser), ModelAverage(model, CONFIG.ema_decay)
    for number, batch in zip(range(steps), numbered(lambda number: False)(0), strict=False):
        if not poisoned(number):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(optimiser, number + 1, steps)
            output = model(batch.images.contiguous(memory_format=torch.channels_last))
            total = torch.stack(list(regression(output, batch.targets, 0).values())).sum() / 4
            total.backward()
            optimizer.step()
            optimizer.zero_grad()
        average.update(model)
    return {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()["state"]}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, Tensor) else bool(a == b)


@pytest.mark.parametrize("optimiser", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_100_bad_steps_move_nothing(tmp_path: Path, optimiser: OptimiserConfig) -> None:
    def poisoned(number: int) -> bool:
        return number % 3 != 2 and number < 150

    go(tmp_path / "run", 160, batches=numbered(poisoned), optimiser=optimiser)
    saved, twin = load_checkpoint(tmp_path / "run" / "last.pt"), by_hand(160, optimiser, poisoned)
    assert equal(saved["model"], twin["model"])  # statistics of the batch norm as well
    assert equal(saved["average"], twin["average"])
    assert equal(saved["optimizer"]["state"], twin["optimizer"])
    with (tmp_path / "run" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["left_out"] or 0) for row in rows) == 100
    assert not [row for row in rows if "nan" in row.values()]
    assert len(list((tmp_path / "run").glob("bad-step-*.pt"))) == 5  # each holds the weights, so not all are kept
    for file in (tmp_path / "run").glob("*.pt"):
        model = load_checkpoint(file)["model"]
        assert all(bool(torch.isfinite(value).all()) for value in model.values())


def test_a_bad_first_step_sets_the_momentum_to_nothing(tmp_path: Path) -> None:
    go(tmp_path / "run", 1, batches=numbered(lambda number: True))
    saved = load_checkpoint(tmp_path / "run" / "last.pt")
    assert {float(each["momentum_buffer"].abs().max()) for each in saved["optimizer"]["state"].values()} == {0.0}


def test_too_many_in_a_row_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poisoned = range(26, 40)
    with pytest.raises(NonFiniteLoss) as stopped:
        go(tmp_path / "run", 60, batches=numbered(poisoned.__contains__))
    file = tmp_path / "run" / "bad-step-00000029.pt"
    assert str(stopped.value).startswith(
        "step 29 only: loss term square, absolute is not finite, by 28/2.jpg (square, absolute). "
        f"`python -m yolo9000.replay {file}` computes it again; training stopped after 3 such steps in a row"
    )
    said = capsys.readouterr().err
    assert "step 27 only: loss term square, absolute is not finite, by 26/2.jpg (square, absolute)" in said
    assert "the step is left out" in said
    assert load_checkpoint(tmp_path / "run" / "last.pt")["position"]["step"] == 25


def test_bad_steps_in_a_row_are_counted_over_a_resume(tmp_path: Path) -> None:
    run, config = RunFolder(tmp_path), dataclasses.replace(CONFIG, save_every=1)

    def phase() -> Phase:
        batches = numbered(range(2, 5).__contains__)
        return Phase(name="only", steps=9, model=network(), loss=regression, batches=batches, optimiser=SGD)

    train([phase()], config, run, device=CPU, stop_after=4)
    assert load_checkpoint(run.last)["position"]["bad_in_a_row"] == 2
    with pytest.raises(NonFiniteLoss, match="step 5 .* after 3 such steps in a row"):
        train([phase()], config, run, device=CPU, resume=True)


def test_the_log_counts_left_out_steps_over_a_resume(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, save_every=0, log_every=6)

    def train_to(folder: str, stop: int | None = None) -> RunFolder:
        run = RunFolder(tmp_path / folder)
        run.path.mkdir(exist_ok=True)
        batches = numbered((1, 3, 4, 8).__contains__)
        phase = Phase(name="only", steps=12, model=network(), loss=regression, batches=batches, optimiser=SGD)
        train([phase], config, run, device=CPU, resume=run.last.exists(), stop_after=stop)
        return run

    def left_out(run: RunFolder) -> list[float]:
        return ResultsFile(run.results, keep_to_step=12).column("left_out")[1]

    assert left_out(train_to("whole")) == [3, 1]
    stopped = train_to("parts", stop=4)
    content = load_checkpoint(stopped.last)
    assert content["position"]["left_out"] == 2
    (tmp_path / "older").mkdir()
    del content["position"]["left_out"]
    save_checkpoint(RunFolder(tmp_path / "older").last, content)
    assert left_out(train_to("parts", stop=9)) == [3]
    assert left_out(train_to("parts")) == [3, 1]
    assert left_out(train_to("older")) == [1, 1]  # of a version that saved no number: those since then


def test_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    def steep(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
        return {"root": (output - output.detach()).abs().sqrt().sum()}  # finite; its gradient at 0 is not

    with pytest.raises(NonFiniteLoss, match="step 3 only: the gradient is not finite, by no image alone"):
        go(tmp_path / "run", 20, loss=steep, batches=numbered(lambda number: False))
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_loss_that_a_scaler_would_not_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float16 a loss may be infinite where its gradient is not: the scaler is told by the gradient."""
    monkeypatch.setattr(loop, "draw_curves", lambda results, path: None)
    for module in (gradients, loop):
        monkeypatch.setattr(module, "autocast", lambda device, precision: torch.autocast("cpu", enabled=False))
    seen = [0]

    def sometimes(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
        seen[0] += 1
        terms = regression(output, targets, images_seen)
        return {**terms, "constant": torch.tensor(float("inf") if seen[0] == 3 else 0.0)}

    config = dataclasses.replace(CONFIG, precision="float16", save_every=2)
    go(tmp_path / "run", 2, config, loss=sometimes, batches=numbered(lambda number: False), optimiser=SGD)
    before = load_checkpoint(tmp_path / "run" / "last.pt")
    phase = Phase(
        name="only", steps=3, model=network(), loss=sometimes, batches=numbered(lambda n: False), optimiser=SGD
    )
    train([phase], config, RunFolder(tmp_path / "run"), device=CPU, resume=True)
    after = load_checkpoint(tmp_path / "run" / "last.pt")
    assert equal(after["model"], before["model"])
    assert after["scaler"]["scale"] == before["scaler"]["scale"] / 2


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    steep = OptimiserConfig(learning_rate=1e38, burn_in=0)

    def huge(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
        return {"sum": 1e6 * output.sum()}

    config = dataclasses.replace(CONFIG, save_every=1)
    with pytest.raises(
        NonFiniteLoss, match=r"the weights .* are not finite, and are not saved; Nothing had been saved"
    ):
        go(tmp_path / "run", 9, config, loss=huge, optimiser=steep, batches=numbered(lambda number: False))
    assert not list((tmp_path / "run").glob("*.pt"))


# ------------------------------------------------------------------------------------------- with boxes, and again


@dataclass(frozen=True)
class Boxes:
    images: Tensor
    targets: Sequence[Target]
    keys: Sequence[str]


def boxes(first: int) -> Iterator[ImageBatch]:
    """The second image of the second batch has a second box without a place."""
    for number in count(first):
        generator = torch.Generator().manual_seed(number)
        truth = Target(torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.2, 0.3, 0.2, 0.2]]), torch.tensor([3, 4]))
        targets = [truth, truth, Target.of_image(4)]
        if number == 1:
            targets[1] = dataclasses.replace(truth, boxes_cxcywh=truth.boxes_cxcywh * torch.tensor([[1.0], [NAN]]))
        images = torch.rand(3, 3, 64, 64, generator=generator)
        yield Boxes(images, targets, [f"{number}-{i}.jpg" for i in range(3)])


def test_a_bad_step_is_computed_again(tmp_path: Path, region: RegionSpec, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    detector = Detector(DetectorConfig(width=0.05, stride=32), region)
    config = dataclasses.replace(CONFIG, batch_size=3)
    about = {**describe_model(detector, size=64, boxed=(3, 4)), "config": asdict(RunConfig(train=config))}
    phase = Phase(name="joint", steps=3, model=detector, loss=detection_objective(region), batches=boxes, optimiser=SGD)
    train([phase], config, RunFolder(tmp_path), device=CPU, description=about)
    file = tmp_path / "bad-step-00000002.pt"
    said = capsys.readouterr().err
    assert "by 1-1.jpg (numbers that are not finite), box 1 of label 4 at nan nan nan nan. `python -m" in said
    assert replay.main([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{file}: step 2, where ")
    assert any(line.endswith("(not finite)") for line in lines)
    assert "1-1.jpg (numbers that are not finite), box 1 of label 4 at nan nan nan nan" in lines[-1]
    assert replay.main([str(tmp_path / "last.pt")]) == 2
    assert "a checkpoint, and not what a run keeps of a step" in capsys.readouterr().err


def test_one_box_of_many_is_named() -> None:
    def loss(output: Tensor, targets: Sequence[Target], images_seen: int) -> dict[str, Tensor]:
        return {"size": sum((target.boxes_cxcywh[:, 2].log().sum() for target in targets), output.sum() * 0)}

    good = Target(torch.full((2, 4), 0.5), torch.tensor([1, 2]))
    flat = Target(torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.0, 0.5]]), torch.tensor([1, 2]))
    assert find_culprits(torch.clone, loss, torch.ones(3, 3, 4, 4), [good, flat, good], 3) == [Culprit(1, "size", (1,))]


@pytest.mark.parametrize("bias_match", [False, True])
@pytest.mark.parametrize("entry", range(4))
def test_a_box_with_nan_in_any_number_is_a_loss_that_is_not_finite(
    region: RegionSpec, entry: int, bias_match: bool
) -> None:
    region = dataclasses.replace(region, loss=dataclasses.replace(region.loss, bias_match=bias_match))
    good = Target(torch.full((2, 4), 0.5), torch.tensor([1, 2]))
    boxes = torch.full((2, 4), 0.5)
    boxes[1, entry] = NAN
    targets = [good, Target(boxes, torch.tensor([1, 2])), good]
    loss = detection_objective(region)
    raw = torch.zeros(3, region.channels, 2, 2)
    terms = loss(raw, targets, 0)
    assert not bool(torch.isfinite(terms["box"]))
    culprits = find_culprits(lambda images: raw, loss, torch.ones(3, 3, 64, 64), targets, 0)
    assert culprits == [Culprit(1, "numbers that are not finite", (1,))]


def test_files_of_bad_steps_are_refused_as_checkpoints_to_go_on_from(tmp_path: Path) -> None:
    go(tmp_path / "run", 2, batches=numbered(lambda number: number == 0))
    bad = tmp_path / "run" / "bad-step-00000001.pt"
    bad.replace(tmp_path / "run" / "last.pt")
    phase = Phase(
        name="only", steps=3, model=network(), loss=regression, batches=numbered(lambda n: False), optimiser=SGD
    )
    with pytest.raises(CheckpointError, match="no training can go on from it"):
        train([phase], CONFIG, RunFolder(tmp_path / "run"), device=CPU, resume=True)


@pytest.mark.slow
def test_all_processes_decide_alike(tmp_path: Path) -> None:
    """A bad image on one of two processes: both leave the step out, and that one names the image."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_bad_steps import *\n"
        "from yolo9000.runtime.distributed import start_processes, stop_processes\n"
        "processes = start_processes(CPU)\n"
        f"in_two_processes(Path({str(tmp_path)!r}), processes)\n"
        "stop_processes(processes)\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in ("0", "1"):
        environment = {**os.environ, "RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        ranks.append(
            subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        )
    said = [process.communicate()[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    weights = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert equal(*weights)
    assert all(bool(torch.isfinite(value).all()) for value in weights[0].values())
    names = sorted(file.name for file in (tmp_path / "run").glob("bad-step-*"))
    assert names == ["bad-step-00000003-rank1.pt", "bad-step-00000005-rank1.pt"]


def in_two_processes(folder: Path, processes: Processes) -> None:
    def share(first: int) -> Iterator[ImageBatch]:
        bad = (lambda number: number in (2, 4)) if processes.rank == 1 else (lambda number: False)
        for batch in numbered(bad)(first):
            part = slice(2 * processes.rank, 2 * processes.rank + 2)
            yield Numbered(batch.images[part], batch.targets[part], batch.keys[part])

    (folder / "run").mkdir(exist_ok=True)
    model = network()
    phase = Phase(name="only", steps=7, model=model, loss=regression, batches=share, optimiser=SGD)
    train([phase], CONFIG, RunFolder(folder / "run"), device=CPU, processes=processes)
    torch.save(model.state_dict(), folder / f"{processes.rank}.pt")
