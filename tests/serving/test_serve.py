"""The command: a tree alone, a run, and what a user gets wrong."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from wordtree import WordTree, save_tree
from yolo9000.inference.config import OpenConfig
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.serve import main, make_app
from yolo9000.serving.config import ServeConfig

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="the client of the tests is not installed")

from fastapi.testclient import TestClient

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_tree_is_served_until_it_is_stopped(tmp_path: Path) -> None:
    save_tree(WordTree(("n1", "n2"), ("animal", "dog"), (-1, 0)), tmp_path / "mine.json")
    command = [sys.executable, "-m", "yolo9000.serve", "--tree", str(tmp_path / "mine.json"), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert url is not None, line
            with urllib.request.urlopen(f"{url[0]}/api/tree", timeout=30) as answer:
                assert b'"tree":"mine.json"' in answer.read()
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err


def test_what_cannot_be_opened_is_one_line(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tree(WordTree(("n1", "n2"), ("animal", "dog"), (-1, 0)), tmp_path / "mine.json")
    for words, said in (
        ([str(tmp_path / "none")], "no such run"),
        (["--tree", "none.json"], "none.json"),
        ([str(run.path), "--tree", str(tmp_path / "mine.json")], "tree"),
        (["--port", "70000"], "--port 70000"),
        (["--waiting", "0"], "--waiting 0"),
        (["--max-megabytes", "inf"], "--max-megabytes inf: a positive, finite number is needed"),
        (["--max-megapixels", "inf"], "--max-megapixels inf: a positive, finite number is needed"),
    ):
        assert main([*words, *(["--port", "0"] if "--port" not in words else [])]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "Traceback" not in error


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_tree_is_called_by_the_last_name_of_its_folder(ending: str, tmp_path: Path) -> None:
    (tmp_path / "joint").mkdir()
    save_tree(WordTree(("n1", "n2"), ("animal", "dog"), (-1, 0)), tmp_path / "joint" / "tree.json")
    app = make_app(None, ServeConfig(open=OpenConfig(tree=f"{tmp_path}/joint{ending}")))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/api/tree").json()["tree"] == "joint"


def test_a_tree_alone_needs_no_torch() -> None:
    code = (
        "import sys; from yolo9000.serve import make_app, ServeConfig; make_app(None, ServeConfig()); "
        "print(*{'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main([]) == 2
    assert "yolo9000[serve]" in capsys.readouterr().err
