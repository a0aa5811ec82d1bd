"""The loop: exact resuming, interrupts, accumulation, what stops a run and what it leaves behind."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint
from yolo9000.runtime.kept import Found, read_last
from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training import gradients, loop
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.loop import TrainResult, train
from yolo9000.training.objectives import detection_objective
from yolo9000.training.optimiser import build_optimizer
from yolo9000.training.phases import ImageBatch, Phase

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
CONFIG = TrainConfig(batch_size=4, ema_decay=0.9, log_every=1, save_every=0)
ADAMW = OptimiserConfig(optimizer="adamw", learning_rate=0.01, schedule="cosine", burn_in=2, burn_in_power=1)


@dataclass(frozen=True)
class Numbered:
    """A batch that is a function of its number alone."""

    images: Tensor
    targets: Sequence[float]


def numbered(size: int = 4, *, read: list[int] | None = None) -> Callable[[int], Any]:
    def batches(first: int) -> Iterator[ImageBatch]:
        for number in count(first):
            if read is not None:
                read.append(number)
            generator = torch.Generator().manual_seed(number)
            images = torch.rand(size, 3, 8, 8, generator=generator)
            yield Numbered(images, images.mean((1, 2, 3)).tolist())

    return batches


def regression(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
    error = output.float().squeeze(1) - torch.tensor(targets)
    return {"square": error.square().sum(), "absolute": 0.1 * error.abs().sum()}


def network(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)]
    if dropout:
        layers.insert(5, nn.Dropout(dropout))
    return nn.Sequential(*layers)


def phase(model: nn.Module, steps: int = 6, **changes: Any) -> Phase:
    settings = {"name": "only", "loss": regression, "batches": numbered(), "optimiser": ADAMW, **changes}
    return Phase(model=model, steps=steps, **settings)


def two_phases(dropout: float = 0.0) -> tuple[list[Phase], nn.Module]:
    """A first model, whose convolution the second one takes over: the pattern of the classification start."""
    first, second = network(1, dropout), network(2, dropout)

    def take_over() -> None:
        second[0].load_state_dict(first[0].state_dict())

    return [phase(first, 3, name="first"), phase(second, 3, name="second", begin=take_over)], second


def same(a: Any, b: Any) -> bool:
    """To the bit: for runs on one machine, of as many threads. Elsewhere sums come in another order."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def go(phases: list[Phase], folder: Path, config: TrainConfig = CONFIG, **settings: Any) -> TrainResult:
    folder.mkdir(exist_ok=True)
    return train(phases, config, RunFolder(folder), device=CPU, **settings)


@pytest.mark.parametrize(
    ("stop_after", "dropout"), [(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.0), (2, 0.5), (4, 0.5)]
)
def test_resuming_is_exact_to_the_bit(tmp_path: Path, stop_after: int, dropout: float) -> None:
    phases, whole = two_phases(dropout)
    assert go(phases, tmp_path / "whole") == TrainResult(6, interrupted=False)
    phases, _ = two_phases(dropout)
    assert go(phases, tmp_path / "parts", stop_after=stop_after) == TrainResult(stop_after, interrupted=True)
    phases, resumed = two_phases(dropout)
    assert go(phases, tmp_path / "parts", resume=True) == TrainResult(6, interrupted=False)
    assert same(dict(whole.state_dict()), dict(resumed.state_dict()))
    checkpoints = [load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts")]
    assert same(*checkpoints)
    tables = [(tmp_path / name / "results.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert len(tables[0]) == len(tables[1]) == 7
    steps = [[line.split(",")[0] for line in table] for table in tables]
    assert steps[0] == steps[1] == ["step", "1", "2", "3", "4", "5", "6"]


def test_random_layers_draw_by_seed_step_part_and_shard(tmp_path: Path) -> None:
    class Drawing(nn.Module):
        """What it draws is its answer."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.drawn: list[float] = []

        def forward(self, images: Tensor) -> Tensor:
            self.drawn.append(torch.rand(()).item())
            return self.weight + images.mean((1, 2, 3))[:, None]

    def drawn(folder: str, *, seed: int = 0, **changes: Any) -> list[float]:
        net, config = Drawing(), dataclasses.replace(CONFIG, **changes)
        go([phase(net, 3, batches=numbered(4 // config.accumulate))], tmp_path / folder, config, seed=seed)
        return net.drawn

    plain, parts, shards = drawn("plain"), drawn("parts", accumulate=2), drawn("shards", exact=4)
    assert (len(set(plain)), len(set(parts)), len(set(shards))) == (3, 6, 12)
    assert drawn("again", accumulate=2) == parts
    assert not set(drawn("other", seed=1)) & set(plain)


def spoilt(part: str) -> Callable[[RunFolder], Found]:
    """The reader of checkpoints, which gives one part of them back wrongly."""

    def read(run: RunFolder) -> Found:
        found = read_last(run)
        content = found.content
        match part:
            case "weights":
                next(iter(content["model"].values())).mul_(1.01)
            case "average":
                next(iter(content["average"]["model"].values())).mul_(1.01)
            case "updates of the average":
                content["average"]["updates"] += 1
            case "momentum":
                next(iter(content["optimizer"]["state"].values()))["exp_avg"].mul_(0.5)
            case "scaler":
                content["scaler"]["scale"] *= 2
            case "position":
                content["position"]["phase_step"] -= 1
            case "best score":
                content["best"] = 0.9
            case "sums of the log":
                content["tally"]["terms"]["sums"] *= 2
        return found

    return read


PARTS = (
    "weights",
    "average",
    "updates of the average",
    "momentum",
    "scaler",
    "position",
    "best score",
    "sums of the log",
)


@pytest.mark.parametrize("part", ["nothing", *PARTS])
def test_each_part_of_a_checkpoint_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A run that is stopped and resumed is the same; with any part of the checkpoint spoilt it is another."""
    for module in (gradients, loop):
        monkeypatch.setattr(module, "autocast", lambda device, precision: torch.autocast("cpu", enabled=False))
    monkeypatch.setattr(loop, "draw_curves", lambda results, path: None)
    config = dataclasses.replace(CONFIG, precision="float16", log_every=3, evaluate_every=2)  # for the sake of a scaler

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"ap50": 0.5 + 0.1 * float(next(iter(model.parameters())).mean())}

    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    go([phase(network(), evaluate=evaluate)], whole, config)
    go([phase(network(), evaluate=evaluate)], parts, config, stop_after=4)  # where nothing is logged
    monkeypatch.setattr(loop, "read_last", spoilt(part))
    go([phase(network(), evaluate=evaluate)], parts, config, resume=True)
    checkpoints = [same(*(load_checkpoint(run / name) for run in (whole, parts))) for name in ("last.pt", "best.pt")]
    tables = [without_times(run / "results.csv") for run in (whole, parts)]
    assert (all(checkpoints) and tables[0] == tables[1]) == (part == "nothing")


def without_times(table: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in ResultsFile(table).rows]


def test_sgd_resumes_exactly_too(tmp_path: Path) -> None:
    sgd = OptimiserConfig(learning_rate=0.05, burn_in=3, milestones=(5 / 6,), scales=(0.1,), gradient_clip=0.1)
    whole, parts, rest = network(), network(), network()
    go([phase(whole, optimiser=sgd)], tmp_path / "whole")
    go([phase(parts, optimiser=sgd)], tmp_path / "parts", stop_after=4)
    go([phase(rest, optimiser=sgd)], tmp_path / "parts", resume=True)
    assert same(dict(whole.state_dict()), dict(rest.state_dict()))


def test_the_position_is_where_the_data_start(tmp_path: Path) -> None:
    read: list[int] = []
    go([phase(network(), batches=numbered(read=read))], tmp_path / "a", stop_after=4)
    assert read == [0, 1, 2, 3]
    read.clear()
    go([phase(network(), batches=numbered(read=read))], tmp_path / "a", resume=True)
    assert read == [4, 5]
    read.clear()
    assert go([phase(network(), batches=numbered(read=read))], tmp_path / "a", resume=True).step == 6
    assert read == []


def test_a_longer_last_phase_goes_on(tmp_path: Path) -> None:
    go([phase(network(), 3)], tmp_path / "a")
    assert go([phase(network(), 5)], tmp_path / "a", resume=True).step == 5


def test_accumulated_parts_are_the_whole_batch(tmp_path: Path) -> None:
    # without batch norm, two halves give the gradient of the whole
    def halves(first: int) -> Iterator[ImageBatch]:
        for number in count(first):
            (whole,) = (next(iter(numbered()(number // 2))),)
            part = slice(0, 2) if number % 2 == 0 else slice(2, 4)
            yield Numbered(whole.images[part], whole.targets[part])

    def plain() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 1, 8), nn.Flatten())

    one, two = plain(), plain()
    go([phase(one, 4)], tmp_path / "one")
    go([phase(two, 4, batches=halves)], tmp_path / "two", dataclasses.replace(CONFIG, accumulate=2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    tables = [ResultsFile(tmp_path / name / "results.csv").column("loss") for name in ("one", "two")]
    assert tables[0][1] == pytest.approx(tables[1][1], rel=1e-4)


def test_the_log_is_the_mean_loss_of_an_image(tmp_path: Path) -> None:
    model = network()
    batch = next(iter(numbered()(0)))
    with torch.no_grad():
        expected = regression(network().train()(batch.images), batch.targets, 4)
    go([phase(model, 1)], tmp_path)
    results = ResultsFile(tmp_path / "results.csv")
    assert results.column("loss/square")[1][0] == pytest.approx(expected["square"].item() / 4, rel=1e-4)
    assert results.column("images_seen") == ([1], [4.0])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_interrupt_finishes_the_step_and_saves(tmp_path: Path) -> None:
    def interrupting(first: int) -> Iterator[ImageBatch]:
        for number, batch in enumerate(numbered()(first), first):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    assert go([phase(network(), 10, batches=interrupting)], tmp_path) == TrainResult(3, interrupted=True)
    assert load_checkpoint(tmp_path / "last.pt")["position"]["step"] == 3


def test_evaluation_sees_the_average_and_picks_the_best(tmp_path: Path) -> None:
    seen: list[nn.Module] = []
    scores = iter([0.5, 0.7, 0.6])

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(model)
        return {"ap50": next(scores), "other": 1.0}

    model = network()
    config = dataclasses.replace(CONFIG, evaluate_every=2)
    go([phase(model, evaluate=evaluate)], tmp_path, config)
    assert len(seen) == 3
    assert model not in seen
    assert load_checkpoint(tmp_path / "best.pt")["position"]["step"] == 4
    assert ResultsFile(tmp_path / "results.csv").column("ap50") == ([2, 4, 6], [0.5, 0.7, 0.6])
    # what the caller holds at the end is what was evaluated
    assert same(dict(model.state_dict()), dict(seen[0].state_dict()))


@pytest.mark.parametrize(
    ("name", "scores", "best"),
    [
        ("ap50", [math.nan, 0.5, 0.4], 4),
        ("ap50", [0.5, math.nan, 0.4], 2),
        ("held_out/detection", [3.0, 2.0, 2.5], 4),
        ("held_out/detection", [math.inf, 3.0, 2.5], 6),
    ],
)
def test_the_best_of_losses_and_of_scores_that_are_not_numbers(
    tmp_path: Path, name: str, scores: list[float], best: int
) -> None:
    following = iter(scores)
    config = dataclasses.replace(CONFIG, evaluate_every=2, best_score=name)
    go([phase(network(), evaluate=lambda model: {name: next(following)})], tmp_path, config)
    assert load_checkpoint(tmp_path / "best.pt")["position"]["step"] == best
    assert [str(each) for each in ResultsFile(tmp_path / "results.csv").column(name)[1]] == list(map(str, scores))
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_best_of_a_classifier_is_not_that_of_the_detector_after_it(tmp_path: Path) -> None:
    classifier, detector = network(), network(1)
    first = phase(classifier, 2, evaluate=lambda model: {"top1": 0.9})
    scores = iter([0.5, 0.4])
    others = [phase(detector, 2, evaluate=lambda model: {"top1": next(scores)}) for _ in range(2)]
    go([first, *others], tmp_path, dataclasses.replace(CONFIG, best_score="top1"))
    best = load_checkpoint(tmp_path / "best.pt")
    assert (best["position"]["step"], best["best"]) == (4, 0.5)  # and phases of one net go on from each other's best


def test_batches_that_end_too_early_are_named(tmp_path: Path) -> None:
    def batches(first: int) -> Iterator[ImageBatch]:
        return islice(numbered()(first), 4)

    with pytest.raises(ValueError, match="the batches of phase only end after 4 of 6 steps"):
        go([phase(network(), batches=batches)], tmp_path)


def test_images_seen_count_per_model(tmp_path: Path) -> None:
    seen: list[int] = []

    def loss(output: Tensor, targets: Sequence[float], images_seen: int) -> dict[str, Tensor]:
        seen.append(images_seen)
        return regression(output, targets, images_seen)

    first, second = network(), network()
    phases = [phase(first, 1, loss=loss), phase(second, 2, loss=loss), phase(second, 1, loss=loss)]
    go(phases, tmp_path)
    assert seen == [4, 4, 8, 12]


def test_bfloat16_leaves_the_weights_in_float32(tmp_path: Path) -> None:
    model = network()
    go([phase(model, 2)], tmp_path, dataclasses.replace(CONFIG, precision="bfloat16"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_other_runs_are_not_resumed(tmp_path: Path) -> None:
    go([phase(network())], tmp_path, stop_after=4)
    with pytest.raises(CheckpointError, match="batches of 4 images, now 8"):
        go([phase(network())], tmp_path, dataclasses.replace(CONFIG, batch_size=8), resume=True)
    with pytest.raises(CheckpointError, match="4 steps of phase only are done, more than the 3"):
        go([phase(network(), 3)], tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="phases"):
        go([phase(network(), name="another")], tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="weights are of another net"):
        go([phase(nn.Sequential(nn.Conv2d(3, 1, 8), nn.Flatten()))], tmp_path, resume=True)


def test_a_resumed_optimiser_has_the_numbers_of_its_configuration(tmp_path: Path) -> None:
    """What a run insists on with `override`. The twin is told by hand, in the middle of the run."""
    plain = OptimiserConfig(learning_rate=0.05, burn_in=0, milestones=(), scales=(), momentum=0.9)
    other = dataclasses.replace(plain, weight_decay=0.1, momentum=0.5)

    def told(first: int) -> Iterator[ImageBatch]:
        for number, batch in enumerate(numbered()(first), first):
            if number == 3:
                for group, decay in zip(optimizers[-1].param_groups, (0.1, 0.0), strict=True):
                    group |= {"weight_decay": decay, "momentum": 0.5}
            yield batch

    optimizers: list[torch.optim.Optimizer] = []

    def build(*args: Any, **named: Any) -> torch.optim.Optimizer:
        optimizers.append(build_optimizer(*args, **named))
        return optimizers[-1]

    twin, resumed = network(), network()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "build_optimizer", build)
        go([phase(twin, optimiser=plain, batches=told)], tmp_path / "twin")
    go([phase(network(), optimiser=plain)], tmp_path / "run", stop_after=3)
    go([phase(resumed, optimiser=other)], tmp_path / "run", resume=True)
    assert same(dict(twin.state_dict()), dict(resumed.state_dict()))
    groups = load_checkpoint(tmp_path / "run" / "last.pt")["optimizer"]["param_groups"]
    assert [(group["weight_decay"], group["momentum"]) for group in groups] == [(0.1, 0.5), (0.0, 0.5)]


def test_momentum_that_a_resumed_run_gets_begins_at_nothing(tmp_path: Path) -> None:
    """Also where its first step is left out, which must not keep a momentum that was never set."""

    def poisoned(first: int) -> Iterator[ImageBatch]:
        for number, batch in enumerate(numbered()(first), first):
            yield Numbered(batch.images, [float("nan")] * 4) if number == 3 else batch

    sgd = OptimiserConfig(learning_rate=0.05, burn_in=0, milestones=(), scales=(), momentum=0.0)
    go([phase(network(), optimiser=sgd)], tmp_path, stop_after=3)
    with_momentum = dataclasses.replace(sgd, momentum=0.9)
    go([phase(network(), optimiser=with_momentum, batches=poisoned)], tmp_path, resume=True, stop_after=4)
    states = load_checkpoint(tmp_path / "last.pt")["optimizer"]["state"].values()
    assert [float(each["momentum_buffer"].abs().max()) for each in states] == [0.0] * 6


def test_another_kind_of_optimiser_is_refused(tmp_path: Path) -> None:
    sgd = OptimiserConfig(learning_rate=0.05, burn_in=0)
    go([phase(network(), optimiser=sgd)], tmp_path / "sgd", stop_after=3)
    with pytest.raises(CheckpointError, match="`optimizer` sgd, whose state says nothing to adamw; leave it at sgd"):
        go([phase(network())], tmp_path / "sgd", resume=True)
    go([phase(network())], tmp_path / "adamw", stop_after=3)
    with pytest.raises(CheckpointError, match="`optimizer` adamw"):
        go([phase(network(), optimiser=sgd)], tmp_path / "adamw", resume=True)
    assert go([phase(network())], tmp_path / "adamw", resume=True).step == 6


def test_a_batch_that_cannot_be_cut() -> None:
    with pytest.raises(Mistake, match="`batch_size` 4 cannot be cut into 3 equal parts"):
        TrainConfig(batch_size=4, accumulate=3)
    with pytest.raises(Mistake, match="`batch_size` 0: at least 1 is needed"):
        TrainConfig(batch_size=0)


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """Under torchrun's environment: equal weights on both ranks, those of one process, files by rank 0 alone."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_loop import *\n"
        "from yolo9000.runtime.distributed import start_processes, stop_processes\n"
        "processes = start_processes(CPU)\n"
        "def share(first):\n"
        "    for batch in numbered()(first):\n"
        "        part = slice(2 * processes.rank, 2 * processes.rank + 2)\n"
        "        yield Numbered(batch.images[part], batch.targets[part])\n"
        "torch.manual_seed(processes.rank)\n"  # the ranks must agree all the same
        "model = nn.Sequential(nn.Conv2d(3, 1, 8), nn.BatchNorm2d(1, affine=False, momentum=0), nn.Flatten())\n"
        "model[1].eval(); model[1].train = lambda mode=True: model[1]\n"
        f"folder = Path({str(tmp_path)!r}) / str(processes.rank)\n"
        "go([phase(model, 5, batches=share)], folder, processes=processes)\n"
        "torch.save(model.state_dict(), folder / 'weights.pt')\n"
        "stop_processes(processes)\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in ("0", "1"):
        environment = {**os.environ, "RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        ranks.append(subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=ROOT, stderr=subprocess.PIPE))
    for each in ranks:
        _, errors = each.communicate(timeout=120)
        assert each.returncode == 0, errors.decode()
    first, second = (torch.load(tmp_path / rank / "weights.pt", weights_only=True) for rank in ("0", "1"))
    assert same(dict(first), dict(second))
    assert sorted(os.listdir(tmp_path / "1")) == ["weights.pt"]
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Conv2d(3, 1, 8), nn.BatchNorm2d(1, affine=False, momentum=0), nn.Flatten())
    alone[1].eval()
    alone[1].train = lambda mode=True: alone[1]  # type: ignore[method-assign,assignment,misc]
    go([phase(alone, 5)], tmp_path / "alone")
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-6)
    both, one = (ResultsFile(tmp_path / name / "results.csv").column("loss")[1] for name in ("0", "alone"))
    assert both == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_a_compiled_net_learns_the_same(tmp_path: Path) -> None:
    """The real net and loss: the same terms, and a checkpoint that a run without --compile goes on from.

    In float64, where compiled and plain code agree to nine digits after four steps, so that a wrong answer would show.
    In float32 only a first step can be compared: both gradients are 1e-5 of their largest value off, which turns the
    sign of one among 73,162 that is almost zero, and Adam's first step is the learning rate times that sign. A plain
    run whose first weights are moved by 1e-7 of themselves ends as far away as the compiled one (.5 % of the loss).

    It once ended the process with SIGABRT (torch 2.15, AMD EPYC), which could not be reproduced. What does end one is
    code that torch cached for another instruction set; `compile_net` keeps them apart since.
    """
    torch.compiler.reset()
    tree = WordTree(("a", "v", "d", "c"), ("animal", "vehicle", "dog", "cat"), (-1, -1, 0, 0))
    region = RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=TreeClasses(tree))

    @dataclass(frozen=True)
    class Images:
        images: Tensor
        targets: Sequence[Target]

    def batches(first: int) -> Iterator[ImageBatch]:
        for number in count(first):
            generator = torch.Generator().manual_seed(number)
            truth = Target(torch.rand(2, 4, generator=generator) * 0.5 + 0.25, torch.tensor([2, number % 4]))
            images = torch.rand(4, 3, 64, 64, generator=generator)
            yield Images(images.to(dtype), [truth, truth, truth, Target.of_image(3)])

    def detection(steps: int) -> Phase:
        torch.manual_seed(0)
        model = Detector(DetectorConfig(width=0.05), region).to(dtype)
        return phase(model, steps, loss=detection_objective(region), batches=batches)

    def losses(steps: int, *, compiled: bool) -> list[float]:
        folder = tmp_path / f"{dtype}-{compiled}"
        go([detection(steps)], folder, dataclasses.replace(CONFIG, compile=compiled))
        return ResultsFile(RunFolder(folder).results, keep_to_step=steps).column("loss")[1]

    dtype = torch.float64
    plain, compiled = losses(4, compiled=False), losses(4, compiled=True)
    assert compiled == pytest.approx(plain, rel=1e-5)  # the six digits of results.csv
    assert plain[0] != plain[-1]
    weights = [load_checkpoint(tmp_path / f"{dtype}-{each}" / "last.pt")["model"] for each in (False, True)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-7, atol=1e-7)
    assert go([detection(6)], tmp_path / f"{dtype}-True", resume=True).step == 6
    dtype = torch.float32
    assert losses(1, compiled=True) == pytest.approx(plain[:1], rel=1e-5)
