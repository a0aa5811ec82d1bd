"""The pages on own data: what they show is what messages show, and their commands and code run, with fewer steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from yolo9000.datasets import box_table, box_tars, coco, imagenet, imagenet_det, label_tars, tiles, voc, yolo
from yolo9000.experiment.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

FEWER = {
    "--out zoo\n": "--out zoo --train 8 --val 3\n",
    "--labels-only --train 600": "--labels-only --train 40 --val 6",
    "--train 1 --val 100": "--train 1 --val 3",
    "--size 96 --classification-size 96 --batch 32 --classification-steps 300 --steps 300 --burn-in 30 ": (
        "--size 64 --classification-size 64 --batch 4 --classification-steps 1 --steps 2 --burn-in 1 "
    ),
    "--size 96 --batch 16 --steps 300 --burn-in 30 --evaluate-every 100": "--size 64 --batch 4 --steps 2 --burn-in 1",
    '{"plan.steps": 300}': '{"plan.steps": 2, "plan.size": 64, "train.batch_size": 4, "train.log_every": 1}',
}
"""What the pages say, and what the tests do instead of it."""

WANDB = """
class Session:
    def log(self, values, step):
        print("logged", step, sorted(values))
    def finish(self, exit_code):
        print("finished", exit_code)
def init(project, name):
    return Session()
def Image(path):
    return path
"""


@pytest.mark.parametrize("module", [box_table, box_tars, coco, imagenet, imagenet_det, label_tars, tiles, voc, yolo])
def test_each_layout_is_shown_as_in_messages(module: object) -> None:
    assert f"```text\n{module.LAYOUT}\n```" in (DOCS / "data_formats.md").read_text()  # type: ignore[attr-defined]


def test_each_flag_has_its_row() -> None:
    text = (DOCS / "data_formats.md").read_text()
    for name, layout in LAYOUTS.items():
        assert f"| `--{name.replace('_', '-')} {layout.metavar}` |" in text


def blocks(page: str, language: str) -> list[str]:
    """The code of a page, with fewer steps."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for said, done in FEWER.items():
        found = [code.replace(said, done) for code in found]
    return found


def shell(code: str, folder: Path) -> str:
    """Run commands as a reader would, and return what they print."""
    code = re.sub(r"^yolo9000 ", f"{sys.executable} -m yolo9000 ", code, flags=re.MULTILINE)
    code = code.replace("python tools/", f"{sys.executable} {ROOT}/tools/")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euc", code], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def page_of(code: str, folder: Path) -> str:
    """Start the server as a reader would, and return what its page finds for "koala"."""
    command = [sys.executable, "-m", *code.split(), "--port", "0"]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
            with urllib.request.urlopen(f"{address}/api/search?q=koala", timeout=60) as found:
                return str(found.read().decode())
        finally:
            server.terminate()


def python(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_way_from_nouns_to_a_detector(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="pictograms need the extra `demo`")
    for module in ("onnxscript", "onnxruntime", "uvicorn"):
        pytest.importorskip(module, reason="the last section needs the extras `export` and `serve`")
    *before, serving = blocks("own_classes.md", "sh")
    said = [shell(code, tmp_path) for code in before]
    assert "koala" in page_of(serving, tmp_path)
    assert "zoo/data.yaml: 8 images to train on" in said[0]
    assert "zoo: 'hammer' has 7 senses under the root" in said[1]  # as the page shows it
    assert not (tmp_path / "runs" / "zoo" / "last.pt.tmp").exists()
    assert "hammer" in said[3]
    run = tmp_path / "runs" / "zoo"
    assert {"results.csv", "curves.png", "validation.jpg", "last.pt", "nodes.md", "nodes.csv", "evaluation.json"} <= {
        path.name for path in run.iterdir()
    }
    assert "koala" in (run / "nodes.md").read_text()
    for code in blocks("own_classes.md", "python"):
        python(code, tmp_path)
    # the page on training goes on with the same data
    (tmp_path / "wandb.py").write_text(WANDB)
    (yaml,) = blocks("training.md", "yaml")
    (tmp_path / "mine.yaml").write_text(yaml)
    printed = [shell(code, tmp_path) for code in blocks("training.md", "sh")]
    assert "steps: 500" in printed[1]
    assert "burn_in: 30" in printed[1]
    (code,) = blocks("training.md", "python")
    said_to_wandb = python(code, tmp_path)
    assert "logged 2 ['ap50'" in said_to_wandb
    assert "logged 2 ['validation']" in said_to_wandb
    assert "finished 0" in said_to_wandb


def test_every_message_is_on_the_page_of_troubles() -> None:
    """A message that has changed is listed anew by ``python tools/list_errors.py``."""
    command = [sys.executable, str(ROOT / "tools" / "list_errors.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
