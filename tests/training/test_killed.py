"""A training that is killed, stopped, starved of disk or fed with rubbish, and what it is after `--resume`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from yolo9000.runtime.checkpoint import load_checkpoint, save_checkpoint
from yolo9000.runtime.run_folder import RunFolder, hold_run_folder

ROOT = Path(__file__).resolve().parents[2]
MOMENTS = (
    "assembling",
    "loading",
    "step",
    "log",
    "write",
    "around the write",
    "evaluation",
    "edge of a phase",
)
KILL = [signal.SIGKILL]
THREE = {"ranks": 3, "changes": {"train.batch_size": 6}}
"""A training of three processes; two of them would not show a sum whose order changes."""
HOURS = bool(os.environ.get("YOLO9000_HOURS"))
"""Whether the long ones of the slow tests run at their full length, which CI has no time for."""
needs_hours = pytest.mark.skipif(not HOURS, reason="takes long: YOLO9000_HOURS=1 runs it")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


class Trainer:
    """The program that trains, see trainer.py."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.sessions: list[int] = []
        self.waiting = False
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("trainer.py"))],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, folder: Path, *, resume: bool = False, **asked: Any) -> int:
        assert self.process.stdin is not None
        if self.waiting:  # a test that failed did not wait for its training
            self.end()
        self.log.write_text("")
        line = {"folder": str(folder), "resume": resume, "log": str(self.log), **asked}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        pids: list[int] = self._answer()["pids"]
        self.sessions += pids
        self.waiting = True
        return pids[0]

    def end(self) -> int:
        self.waiting = False
        return int(self._answer()["status"])

    def has_ended(self, seconds: float) -> bool:
        """Whether the training ends within this time."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def train(self, folder: Path, **asked: Any) -> int:
        self.begin(folder, **asked)
        return self.end()

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def orphans(self) -> list[int]:
        """Processes that are left of trainings that have ended."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) in self.sessions and fields[0] != "Z":  # its session
                found.append(int(stat.parent.name))
        return found


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path_factory.mktemp("trainer"))
    yield trainer
    trainer.close()


@pytest.fixture(scope="module")
def whole(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert trainer.train(folder) == 0, trainer.said()
    return folder


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def log_of(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def assert_same_run(run: Path, whole: Path) -> None:
    """Weights, average, momentum, position, best score and log, to the bit; and no file more or less."""
    for name in ("last.pt", "best.pt"):
        ours, theirs = load_checkpoint(run / name), load_checkpoint(whole / name)
        for key in theirs:
            assert same(ours[key], theirs[key]), f"{name}: {key}"
    assert log_of(run) == log_of(whole)
    assert sorted(os.listdir(run)) == sorted(os.listdir(whole))


def go_on_until_done(trainer: Trainer, folder: Path, kills: list[dict[str, Any]], **asked: Any) -> int:
    """Train with one kill after the other; return how many came."""
    came = 0
    for kill in [*kills, {}]:
        run = RunFolder(folder)
        status = trainer.train(folder, resume=run.last.exists() or bool(run.earlier), **kill, **asked)
        assert status in (0, -signal.SIGKILL), trainer.said()
        came += status != 0
        if status == 0:
            break
    return came


def assert_nothing_is_left(trainer: Trainer, shared_memory: set[str]) -> None:
    until = time.monotonic() + 10
    while (trainer.orphans() or set(os.listdir("/dev/shm")) - shared_memory) and time.monotonic() < until:
        time.sleep(0.1)
    assert trainer.orphans() == []
    assert set(os.listdir("/dev/shm")) - shared_memory == set()


def test_a_run_that_is_killed_five_times_is_the_same_run(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    shared_memory = set(os.listdir("/dev/shm"))
    kills = [["write", 45], ["evaluation", 3], ["step", 2], ["edge of a phase", 3], ["loading", 2]]
    assert go_on_until_done(trainer, tmp_path / "run", [{"at": [*kill, KILL]} for kill in kills]) == 5
    assert_same_run(tmp_path / "run", whole)
    assert_nothing_is_left(trainer, shared_memory)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_images(root: Path) -> None:
    """20 images with a box and 20 with a label, each in a file and once more in one of three tars, in one order."""
    rng, rows = np.random.default_rng(0), ["path,x0,y0,x1,y1,label"]
    members: dict[str, dict[str, bytes]] = {"boxes": {}, "labels": {}}
    for number in range(40):
        name, kind = ("car", "cat")[number // 10 % 2], "boxes" if number < 20 else "labels"
        file = root / kind / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((48, 64, 3), 127, np.uint8)
        x, y = rng.integers(0, 16, 2).tolist()
        image[y : y + 24, x : x + 32, number // 10 % 2] = 255
        Image.fromarray(image).save(file)
        members[kind][f"{number}.png"] = file.read_bytes()
        if kind == "boxes":
            edges = [x, y, x + 32, y + 24]
            rows.append(f"{file.relative_to(root)},{','.join(map(str, edges))},{name}")
            stated = {"width": 64, "height": 48, "boxes": [edges], "labels": [name]}
            members[kind][f"{number}.json"] = json.dumps(stated).encode()
        else:
            members[kind][f"{number}.cls"] = name.encode()
    (root / "boxes.csv").write_text("\n".join(rows))
    for kind, files in members.items():
        names = list(files)
        for shard, part in enumerate((names[:10], names[10:26], names[26:])):
            write_tar(root / "tars" / kind / f"train-{shard}.tar", {name: files[name] for name in part})


def test_a_run_from_tars_is_the_run_from_files_also_if_it_is_killed(trainer: Trainer, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    write_images(tmp_path)
    assert trainer.train(tmp_path / "files", stored=["folders", str(tmp_path)]) == 0, trainer.said()
    run, tars = tmp_path / "run", ["tars", str(tmp_path / "tars")]
    for at in (["loading", 5, KILL], ["step", 2, KILL], None):
        status = trainer.train(run, resume=(run / "last.pt").exists(), at=at, stored=tars)
        assert status == (0 if at is None else -signal.SIGKILL), trainer.said()
    ours, theirs = load_checkpoint(run / "last.pt"), load_checkpoint(tmp_path / "files" / "last.pt")
    assert [key for key in theirs if not same(ours[key], theirs[key])] == ["fingerprints"]  # other names of images
    assert log_of(run) == log_of(tmp_path / "files")
    write_tar(tmp_path / "tars" / "labels" / "train-1.tar", {"a.png": b"", "a.cls": b"cat"})
    assert trainer.train(run, resume=True, stored=tars, changes={"plan.steps": 9}) == 2
    assert "labels (image labels): 13 images (the checkpoint has 20)" in "\n".join(trainer.said())


@pytest.fixture(scope="module")
def whole_of_three(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of three processes that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole of three"
    assert trainer.train(folder, **THREE) == 0, trainer.said()
    return folder


def test_one_of_three_processes_is_killed(trainer: Trainer, whole_of_three: Path, tmp_path: Path) -> None:
    shared_memory, run = set(os.listdir("/dev/shm")), tmp_path / "run"
    assert trainer.train(run, at=["step", 3, KILL], rank=1, **THREE) == -signal.SIGKILL
    lost = r"error: rank 1, last seen at step \d, of 3 processes: its connection broke\. It was killed"
    assert any(re.match(lost, line) for line in trainer.said()), trainer.said()
    assert trainer.train(run, resume=True, **THREE) == 0, trainer.said()
    assert_same_run(run, whole_of_three)
    assert_nothing_is_left(trainer, shared_memory)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 3])
def test_200_kills(trainer: Trainer, request: pytest.FixtureRequest, tmp_path: Path, ranks: int) -> None:
    """At a random call of a random moment, in any of the processes; some ten in one run.

    Twenty in all, or of three processes, which take longer, six, unless hours are given.
    """
    shared_memory, rng, came, runs = set(os.listdir("/dev/shm")), random.Random(ranks), 0, 0
    whole, asked = request.getfixturevalue("whole" if ranks == 1 else "whole_of_three"), THREE if ranks > 1 else {}
    while came < (200 if HOURS else 20 if ranks == 1 else 6):
        kills = [{"at": [rng.choice(MOMENTS), int(rng.expovariate(1 / 8)) + 1, KILL]} for _ in range(10)]
        if ranks > 1:
            kills = [{**kill, "rank": rng.randrange(ranks)} for kill in kills]
        folder = tmp_path / f"run{runs}"
        came += go_on_until_done(trainer, folder, kills, **asked)
        runs += 1
        assert_same_run(folder, whole)
    print(f"{came} kills in {runs} runs")
    assert_nothing_is_left(trainer, shared_memory)


def test_a_run_that_was_killed_before_it_removed_a_checkpoint(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    """After its last save nothing is saved any more, so that the next start must remove what is too much."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.copy(run / "step-00000009.pt", run / "step-00000007.pt")
    assert trainer.train(run, resume=True) == 0
    assert_same_run(run, whole)


@pytest.mark.slow
def test_kills_by_the_clock(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    """The time of a run has eight parts, and kills come in one after the other, so that none is left out.

    A run that ends before its kill comes is compared, and the same kill is for the next one. Three kills, unless hours
    are given.
    """
    shared_memory, rng = set(os.listdir("/dev/shm")), random.Random(2)
    goal, parts = (40, 8) if HOURS else (3, 3)
    started = time.monotonic()
    trainer.train(tmp_path / "timed")
    usual = time.monotonic() - started
    kills = [0]  # of each run
    while True:
        folder = tmp_path / f"run{len(kills)}"
        run = RunFolder(folder)
        pid = trainer.begin(folder, resume=run.last.exists() or bool(run.earlier))
        came = sum(kills)
        if came < goal and not trainer.has_ended(usual * (came % parts + rng.random()) / parts):
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(pid, signal.SIGKILL)
        status = trainer.end()
        assert status in (0, -signal.SIGKILL), trainer.said()
        if status:
            kills[-1] += 1
            continue
        assert_same_run(folder, whole)
        if came == goal:
            break
        kills.append(0)
    print(f"{goal} kills in {len(kills)} runs, up to {max(kills)} in one")
    assert_nothing_is_left(trainer, shared_memory)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, -signal.SIGTERM, -signal.SIGINT],
    ids=["SIGTERM", "SIGINT", "SIGTERM to all", "Ctrl-C"],
)
def test_a_signal_saves_and_leaves(trainer: Trainer, whole: Path, tmp_path: Path, number: int) -> None:
    run = tmp_path / "run"
    assert trainer.train(run, at=["step", 7, [number]]) == 130
    assert trainer.said()[-1] == f"stopped at step 7; continue with --resume {run}"
    assert load_checkpoint(run / "last.pt")["position"]["step"] == 7  # where nothing is logged or saved otherwise
    assert trainer.train(run, resume=True) == 0
    assert log_of(run) == log_of(whole)
    ours, theirs = load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt")
    assert same(ours, theirs)


@pytest.mark.slow
def test_a_job_that_is_stopped_and_begun_again_is_the_same_run(
    trainer: Trainer, whole_of_three: Path, tmp_path: Path
) -> None:
    """By SIGTERM to all processes of a rank; then torchrun has counted a restart on one machine alone."""
    run = tmp_path / "run"
    assert trainer.train(run, at=["step", 7, [-signal.SIGTERM]], rank=1, **THREE) == 130, trainer.said()
    assert load_checkpoint(run / "last.pt")["position"]["step"] == 7
    assert trainer.train(run, restarts=[0, 1, 0], **THREE) == 0, trainer.said()
    assert log_of(run) == log_of(whole_of_three)
    assert same(*(load_checkpoint(each / "last.pt") for each in (run, whole_of_three)))


@pytest.mark.slow
def test_processes_that_see_different_checkpoints_are_refused(
    trainer: Trainer, whole_of_three: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(whole_of_three, older)
    (older / "step-00000009.pt").rename(older / "last.pt")
    folders = [str(whole_of_three), str(older), str(whole_of_three)]
    assert trainer.train(whole_of_three, resume=True, folders=folders, **THREE) == 2, trainer.said()
    places = "rank 0 from last.pt of step 11, rank 1 from last.pt of step 9, rank 2 from last.pt of step 11"
    assert (
        f"error: the processes would go on from different places: {places}. "
        "Give all machines the same folder of the run"
    ) in trainer.said()


def test_a_job_that_ends_before_its_first_checkpoint_begins_anew(trainer: Trainer, tmp_path: Path) -> None:
    rarely = {
        "train.save_every": 100,
        "train.evaluate_every": 2,
        "plan.classification_steps": 0,
        "plan.joint.boxes_first": 0,
    }
    run = tmp_path / "run"
    assert trainer.train(run, changes=rarely, at=["step", 5, KILL]) == -signal.SIGKILL
    (run / "bad-step-00000002.pt").touch()
    assert {name for name in os.listdir(run) if name.endswith(".pt")} == {"best.pt", "bad-step-00000002.pt"}
    assert trainer.train(run, changes=rarely) == 2  # not by itself: best.pt may be what somebody wants
    assert trainer.train(run, changes=rarely, restarts=[1]) == 0, trainer.said()
    assert load_checkpoint(run / "last.pt")["position"]["step"] == 6


def test_a_signal_before_the_first_step_leaves_nothing(trainer: Trainer, tmp_path: Path) -> None:
    assert trainer.train(tmp_path / "runs" / "a", at=["assembling", 1, [signal.SIGTERM]]) == 130
    assert trainer.said() == ["interrupted; what was saved before is whole"]
    assert os.listdir(tmp_path) == []


def test_the_second_ctrl_c_inside_a_save(trainer: Trainer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert trainer.train(run, at=["edge of a phase", 4, KILL]) == -signal.SIGKILL
    before = load_checkpoint(run / "last.pt")["position"]["step"]
    assert trainer.train(run, resume=True, at=["write", 20, [signal.SIGINT, signal.SIGINT]]) == 130
    said = [line for line in trainer.said() if "Traceback" in line or line.startswith("interrupted")]
    assert len(said) == 1, trainer.said()
    file = rf"{re.escape(str(run))}/(last|best)\.pt"
    assert re.fullmatch(rf"interrupted while {file} was written; what was saved before is whole", said[0])
    assert load_checkpoint(run / "last.pt")["position"]["step"] >= before
    assert not [name for name in os.listdir(run) if name.startswith(".")]


def test_a_disk_that_takes_no_more(trainer: Trainer, tmp_path: Path, whole: Path) -> None:
    """The system refuses the bytes, as on a full disk, in the middle of torch's archive."""
    run = tmp_path / "run"
    assert trainer.train(run, at=["step", 7, [signal.SIGTERM]]) == 130
    largest = (run / "last.pt").stat().st_size // 2
    assert trainer.train(run, resume=True, largest=largest) == 2
    errors = [line for line in trainer.said() if line.startswith("error")]
    assert errors == [
        f"error: {run / 'last.pt'}: cannot write there: File too large; training stopped at step 9. last.pt of step 7 "
        f"is whole: make room or repair, then go on with `resume` {run}"
    ]
    assert "Traceback" not in trainer.log.read_text()
    assert trainer.train(run, resume=True) == 0
    assert same(load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt"))


@pytest.mark.parametrize(
    "at",
    [
        ["log", 5, "mounted"],
        ["edge of a phase", 9, "refused"],
        pytest.param(["evaluation", 3, "refused"], marks=pytest.mark.slow),
        pytest.param(["write", 5000, "refused"], marks=pytest.mark.slow),
        pytest.param(["around the write", 55, "mounted"], marks=pytest.mark.slow),
    ],
    ids=lambda at: " ".join(map(str, at)),
)
def test_a_folder_that_becomes_read_only(trainer: Trainer, whole: Path, tmp_path: Path, at: list[Any]) -> None:
    """In the middle of a run, as when a drive is mounted anew after an error; the run goes on when it is repaired."""
    run = tmp_path / "run"
    status = trainer.train(run, at=at)
    if "this process may not mount" in trainer.log.read_text():
        pytest.skip("this process may not mount")
    assert status == 2, trainer.said()
    (error,) = [line for line in trainer.said() if line.startswith("error")]
    step = load_checkpoint(run / "last.pt")["position"]["step"]
    assert error.startswith(f"error: {run}/")
    assert f"Read-only file system; training stopped at step {trained(error)}. last.pt of step {step} is whole" in error
    assert 0 <= trained(error) - step <= 2
    assert error.endswith(f"make room or repair, then go on with `resume` {run}")
    assert "Traceback" not in trainer.log.read_text()
    # it is still broken
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert trainer.train(run, resume=True, at=["beginning", 1, at[-1]]) == 2
    assert trainer.said()[-1] == (
        f"error: {run}: cannot write there (Read-only file system); what was saved there is whole. "
        f"Repair the folder, then go on with `resume` {run}"
    )
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert trainer.train(run, resume=True) == 0, trainer.said()
    assert_same_run(run, whole)


def trained(error: str) -> int:
    found = re.search(r"training stopped at step (\d+)", error)
    assert found, error
    return int(found[1])


def test_a_folder_that_becomes_read_only_before_the_first_checkpoint(trainer: Trainer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert trainer.train(run, at=["step", 1, "refused"]) == 2
    (error,) = [line for line in trainer.said() if line.startswith("error")]
    assert error.startswith(f"error: {run}/")
    assert error.endswith("Read-only file system; training stopped at step 2. Nothing had been saved")
    assert trainer.train(run) == 0, trainer.said()  # what it left is as good as nothing


def test_data_that_vanish(trainer: Trainer, tmp_path: Path) -> None:
    run, gone = tmp_path / "run", tmp_path / "gone"
    assert trainer.train(run, at=["step", 7, [signal.SIGTERM]], faulty=f"gone {gone}") == 130
    gone.touch()
    assert trainer.train(run, resume=True, faulty=f"gone {gone}") == 2
    (error,) = [line for line in trainer.said() if line.startswith("error")]
    assert "images in a row cannot be read" in error
    assert "No such file or directory. Training stopped at step 8. last.pt of step 7 is whole" in error
    gone.unlink()
    assert trainer.train(run, resume=True, faulty=f"gone {gone}") == 0


def test_a_folder_has_one_training(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    for folder, resume in ((whole, True), (tmp_path / "new", False)):
        folder.mkdir(exist_ok=True)
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with hold_run_folder(RunFolder(folder)):
            assert trainer.train(folder, resume=resume) == 2
        assert f"error: {folder}: another process is training there (process {os.getpid()} on " in trainer.said()[-1]
        assert {file: file.read_bytes() for file in folder.iterdir()} == before


def stopped(trainer: Trainer, run: Path) -> Path:
    """A run that was stopped after step 7, and keeps its checkpoint of step 5."""
    assert trainer.train(run, at=["step", 7, [signal.SIGTERM]]) == 130
    assert [file.name for file in RunFolder(run).earlier] == ["step-00000005.pt"]
    return run


def test_a_damaged_or_foreign_checkpoint_is_passed_over(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert trainer.train(other, changes={"seed": 1}, at=["step", 4, [signal.SIGTERM]]) == 130
    run = stopped(trainer, tmp_path / "run")
    torn = (run / "last.pt").read_bytes()[:-1000]
    kept = {file.name: file.read_bytes() for file in run.iterdir()}
    for content, said in (
        (torn, "truncated, damaged or not a checkpoint"),
        ((other / "last.pt").read_bytes(), "of another configuration: `seed` 0 (the checkpoint has 1)"),
    ):
        for file in RunFolder(run).earlier:  # of the turn before
            file.unlink()
        for name, before in kept.items():
            (run / name).write_bytes(before)
        (run / "last.pt").write_bytes(content)
        assert trainer.train(run, resume=True) == 0, trainer.said()
        (warning,) = [line for line in trainer.said() if line.startswith("warning: " + str(run))]
        assert said in warning
        assert warning.endswith(f"The run goes on from {run / 'step-00000005.pt'}")
        assert same(load_checkpoint(run / "last.pt"), load_checkpoint(whole / "last.pt"))


@pytest.mark.parametrize("count", [2, 4], ids=["inside the classification", "in the detection"])
def test_a_detector_that_starts_from_another_waits_through_the_classification(
    trainer: Trainer, whole: Path, tmp_path: Path, count: int
) -> None:
    """The detector's weights are in the checkpoint, so the run goes on where the file that gave them is gone."""
    start = tmp_path / "start.pt"
    start.write_bytes((whole / "last.pt").read_bytes())
    changes = {"net.init": str(start)}
    assert trainer.train(tmp_path / "whole", changes=changes) == 0, trainer.said()
    run = tmp_path / "run"
    assert trainer.train(run, changes=changes, at=["step", count, [signal.SIGTERM]]) == 130
    content = load_checkpoint(run / "last.pt")
    assert len(content["waiting"]) == (count < 3)
    start.unlink()
    assert trainer.train(run, resume=True, changes=changes) == 0, trainer.said()
    assert_same_run(run, tmp_path / "whole")
    if count < 3:
        del content["waiting"]
        save_checkpoint(run / "last.pt", content)
        assert trainer.train(run, resume=True, changes=changes) == 2
        assert "it holds the weights of 0, and this run has 1" in trainer.log.read_text()


def test_another_run_is_not_gone_on_with(trainer: Trainer, tmp_path: Path) -> None:
    run = stopped(trainer, tmp_path / "run")
    faster = {"optimiser.learning_rate": 0.5}
    assert trainer.train(run, resume=True, changes=faster) == 2
    assert "of another configuration: `learning_rate` 0.5 (the checkpoint has 0.001)" in trainer.said()[-1]
    assert trainer.train(run, resume=True, faulty="other labels") == 2
    assert "64 images as before, but other names, boxes or labels" in trainer.said()[-1]
    assert trainer.train(run, resume=True, changes={"data.scenes": 60}, override=True) == 0
    assert "detection squares of 64 (boxes): not there any more" in trainer.log.read_text()
    run = stopped(trainer, tmp_path / "again")
    assert trainer.train(run, resume=True, changes=faster, override=True, at=["step", 3, [signal.SIGTERM]]) == 130
    assert trainer.train(run, resume=True, changes=faster) == 0  # what was insisted on is the run's own now
    run = stopped(trainer, tmp_path / "refused")
    before = (run / "config.json").read_bytes()
    for changes, said in (
        ({"optimiser.optimizer": "adamw"}, "goes on with its `optimizer` sgd, whose state says nothing to adamw"),
        ({"train.batch_size": 8}, "trained with batches of 4 images, now 8"),
    ):
        assert trainer.train(run, resume=True, changes=changes, override=True) == 2
        assert said in trainer.said()[-1]
        assert (run / "config.json").read_bytes() == before
    assert trainer.train(run, resume=True) == 0


def test_another_machine_is_warned_of(trainer: Trainer, tmp_path: Path) -> None:
    run = stopped(trainer, tmp_path / "run")
    assert trainer.train(run, resume=True, changes={"machine.threads": 2}) == 0
    assert "warning: another machine than the run had: threads 2 (the checkpoint has 1)" in trainer.log.read_text()


def test_deterministic_runs_are_equal_to_the_bit(trainer: Trainer, whole: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert trainer.train(tmp_path / name, changes={"machine.deterministic": True}) == 0, trainer.said()
    assert_same_run(tmp_path / "a", tmp_path / "b")
    # and on one CPU so are those that did not ask for it
    assert same(*(load_checkpoint(run / "last.pt")["model"] for run in (tmp_path / "a", whole)))


MOST_GROWTH = 5 * 2**20


def growth(trainer: Trainer, folder: Path, steps: int, faulty: str | None = None) -> dict[str, int]:
    """What the processes hold at the end, more than after a quarter of the steps: bytes, open files, /dev/shm."""
    rows = folder / "rows"
    asked = {"steps": steps, "every": steps // 20, "faulty": faulty, "rows": str(rows)}
    assert trainer.train(folder / "run", **asked) == 0, trainer.said()
    table = [json.loads(line) for line in rows.read_text().splitlines()]
    early, late = table[len(table) // 5], table[-1]
    parts = list(zip(early[1:-1], late[1:-1], strict=True))
    found = {what: max(after[what] - before[what] for before, after in parts) for what in ("bytes", "files")}
    return {**found, "shared memory": late[-1] - early[-1]}


@pytest.mark.slow
@needs_hours
def test_20_000_steps_hold_no_more(trainer: Trainer, tmp_path: Path) -> None:
    found = growth(trainer, tmp_path, 20_000)
    print(found)
    assert found["bytes"] <= MOST_GROWTH
    assert found["files"] <= 0
    assert found["shared memory"] <= 0


@pytest.mark.slow
@needs_hours
@pytest.mark.parametrize(("faulty", "what"), [("memory", "bytes"), ("files", "files")])
def test_a_leaky_twin_is_found(trainer: Trainer, tmp_path: Path, faulty: str, what: str) -> None:
    found = growth(trainer, tmp_path, 4_000, faulty)
    print(found)
    assert found[what] > (MOST_GROWTH if what == "bytes" else 0)
