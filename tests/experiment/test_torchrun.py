"""The commands under torchrun: a killed rank, what all ranks find together, and what they cannot share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo9000 import train
from yolo9000.experiment.config_file import read_config
from yolo9000.runtime.checkpoint import content_sha256, load_checkpoint
from yolo9000.runtime.logs import ResultsFile

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--joint", "--width", "0.05", "--size", "96", "--batch", "7", "--classification-steps", "0", "--priors", "3"]
SMALL += ["--val-images", "6", "--log-every", "1", "--burn-in", "1"]


def torchrun(processes: int, *words: str, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [*command, "--max-restarts", str(restarts), "-m", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(run: subprocess.Popen[str], status: int = 0) -> tuple[str, str]:
    out, errors = run.communicate(timeout=600)
    assert run.returncode == status, errors
    return out, errors


def ranks_of(run: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]


def content(run: Path) -> str:
    saved = load_checkpoint(run / "last.pt")
    return content_sha256({key: saved[key] for key in ("model", "average", "optimizer", "position")})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_a_job_whose_rank_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    words = ["yolo9000.train", *SMALL, "--steps", "12", "--save-every", "3", "--out"]
    done(torchrun(3, *words, str(tmp_path / "whole")))
    killed = torchrun(3, *words, str(tmp_path / "killed"), restarts=1)
    while not (tmp_path / "killed" / "last.pt").exists():
        assert killed.poll() is None, killed.communicate()[1]
        time.sleep(0.02)
    os.kill(ranks_of(killed)[1], signal.SIGKILL)
    _, errors = done(killed)
    assert "error: rank 1, last seen at step" in errors, errors  # though torchrun ends the others at once
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert ResultsFile(tmp_path / "killed" / "results.csv").column("loss")[0] == list(range(1, 13))


def test_a_batch_that_ranks_cannot_share_is_refused_before_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert train.main([*SMALL, "--out", str(tmp_path / "run")]) == 2
    assert "error: --batch 7: 8 processes cannot share 7 images; take --batch 8 or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_begun_again_is_computed_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*SMALL, "--device", "cpu", "--steps", "1", "--out", str(tmp_path / "run")]
    assert train.main([*words, "--settings", "fixed:layout=contiguous,precision=float32"]) == 0
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train.main([*words, "--steps", "2"]) == 0  # where another measurement might have found other settings
    began = "fixed:engine=torch,layout=contiguous,precision=float32,at_once=0"
    assert read_config(tmp_path / "run").train.settings == began
    assert ResultsFile(tmp_path / "run" / "results.csv").column("loss")[0] == [1, 2]


@pytest.mark.slow
def test_evaluation_and_prediction_find_what_one_process_finds(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train.main([*SMALL, "--steps", "2", "--out", str(run)]) == 0
    generator = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(7):
        pixels = generator.integers(0, 255, (80, 100 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (photos / "broken.png").write_bytes(b"nothing")
    found: list[Any] = []
    for processes in (1, 3):
        out = tmp_path / str(processes)
        words = [str(run), "--images", "10", "--batch", "2", "--device", "cpu", "--out", f"{out}.json"]
        done(torchrun(processes, "yolo9000.evaluate", *words))
        words = [str(run), str(photos), "--batch", "2", "--device", "cpu", "--threshold", "0.001", "--out", str(out)]
        lines, errors = done(torchrun(processes, "yolo9000.predict", *words), 1)
        assert "1 image could not be read" in errors
        files = {file.name: file.read_bytes() for file in out.iterdir()}
        found.append((json.loads(Path(f"{out}.json").read_text()), lines, files))
    assert found[0][0]["held_out_loss"]
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
@pytest.mark.parametrize("how", ["head", "Ctrl-C"])
def test_prediction_by_several_processes_ends_before_its_images_do(tmp_path: Path, how: str) -> None:
    run, photos, out = tmp_path / "run", tmp_path / "photos", tmp_path / "out"
    assert train.main([*SMALL, "--steps", "1", "--out", str(run)]) == 0
    photos.mkdir()
    for number in range(3_000):
        Image.new("RGB", (8, 8)).save(photos / f"{number}.png")
    words = [str(run), str(photos), "--batch", "1", "--device", "cpu", "--out", str(out)]
    predicting = torchrun(3, "yolo9000.predict", *words)
    assert predicting.stdout is not None
    assert predicting.stdout.readline()
    if how == "head":
        predicting.stdout.close()
    else:
        for rank in ranks_of(predicting):
            os.kill(rank, signal.SIGINT)
    assert predicting.stderr is not None
    errors = predicting.stderr.read()
    predicting.stderr.close()
    predicting.stdout.close()
    assert predicting.wait(timeout=60) == (0 if how == "head" else 1), errors
    assert f"written to {out}" in errors
    written = json.loads((out / "predictions.json").read_text())
    assert 0 < len(written["images"] if isinstance(written, dict) else written) < 3_000


@pytest.mark.slow
def test_class_rows_that_are_spread_are_whole_in_the_runs_files(tmp_path: Path) -> None:
    """A classifier's phase, then the net's with its rows spread; any number of processes opens it and goes on."""
    run = tmp_path / "run"
    words = [*SMALL, "--classification-steps", "1", "--steps", "2", "--shard-classes", "--device", "cpu"]
    done(torchrun(3, "yolo9000.train", *words, "--out", str(run)))
    found = []
    for processes in (1, 3):
        out = tmp_path / f"{processes}.json"
        words = [str(run), "--images", "6", "--batch", "2", "--device", "cpu", "--out", str(out)]
        done(torchrun(processes, "yolo9000.evaluate", *words))
        found.append(json.loads(out.read_text()))
    assert found[0]["held_out_loss"]
    assert found[0] == found[1]
    assert train.main(["--resume", str(run), "--steps", "3", "--no-shard-classes"]) == 0
    done(torchrun(2, "yolo9000.train", "--resume", str(run), "--steps", "4", "--shard-classes"))
    assert ResultsFile(run / "results.csv").column("loss")[0] == [1, 2, 3, 4, 5]
