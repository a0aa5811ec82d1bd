"""The commands in the shell's blocks of four pages are run, line after line, on data of a few images.

What a line leaves is there for the next one, as it is for a reader. Only lengths of trainings are others. A line that
is not run stands in `NOT_RUN` with its reason, and in no other place.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHORT = ["--size", "64", "--width", "0.05", "--stride", "32", "--batch", "4", "--device", "cpu", "--threads", "1"]
SHORT += ["--precision", "float32", "--val-images", "2", "--priors", "2", "--workers", "0"]
SHORT += ["--classification-steps", "0", "--burn-in", "1", "--steps", "1"]
NEEDS = {
    "--format openvino": "openvino",
    "--engine openvino": "openvino",
    "--engine onnxruntime": "onnxscript",
    "--format onnx": "onnxscript",
}
NOT_RUN = {
    'pip install "yolo9000[serve]"': "needs the network; tests/test_packaging.py installs without one",
    "--push-to-hub OWNER/pets": "sends files to the Hub; tests/exporting/test_hub.py gives them to a stand-in",
    "scripts/classifier_to_yolo9000.sh": "days of training; tests/experiment/test_classify.py runs it on a few images",
    "--classification-steps 400 --classification-size 64": "minutes of training; the demo's tests run the same phases",
    "--joint --batch 16 --scenes 24": "minutes of training, from the run before it",
    "git clone": "needs the network",
    "make demo": "minutes of training; tests/test_demo.py runs the same with a few steps",
    "make install": "installs; it is how CI begins",
    "yolo9000.weights": "needs darknet's file; tests/darknet/ opens nets of every kind that it would write",
    "darknet19_448.conv.23": "needs darknet's file; the same",
    "yolo9000 convert RUN mine.weights": "needs a run of darknet's form; tests/darknet/ writes such",
    "python -m benchmarks.eight_bits": "needs a net that has learnt; tests/exporting/test_checking.py takes another",
    "torchrun": "needs machines; tests/experiment/test_torchrun.py starts processes on one, kills one, and resumes",
    "scontrol": "needs a cluster",
    "ladder --coco COCO_DIR": "trains a dozen nets; tests/comparison/test_ladder.py runs each of them for a few steps",
    "ladder --voc VOCdevkit": "the same on another set",
    "ladder --tiles TILES_DIR": "the same on another set",
    "ladder --out runs/ladder --table-only": "draws what those have trained; tests/comparison/test_ladder.py does, too",
    "tools/train_rival.py": "loads published weights; tests/comparison/test_rivals.py trains one without them",
    "evaluate runs/ssd300": "needs that rival",
    "tools/class_table.py": "needs that rival; tests/evaluation/test_class_table.py makes such tables",
    "tools/speed_accuracy.py": "needs that rival; tests/evaluation/test_speed_accuracy.py takes such a curve",
}


def lines(page: str) -> list[str]:
    text = (ROOT / ("" if page == "README.md" else "docs") / page).read_text(encoding="utf-8")
    blocks = "".join(BLOCK.findall(text)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.strip() and not line.startswith("#")]


def reason(line: str) -> str | None:
    return next((why for part, why in NOT_RUN.items() if part in line), None)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages speak of: photos, sets with boxes, a tree."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def picture(file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(file)

    def coco(annotations: Path, images: Path, count: int) -> None:
        boxes = [
            {"id": each, "image_id": each // 2, "category_id": 1 + each % 2, "iscrowd": 0,
             "bbox": [each % 7, each % 5, 10 + 2 * each, 12 + each]}
            for each in range(2 * count)
        ]  # fmt: skip
        found = [{"id": each, "file_name": f"{each}.png", "width": 64, "height": 48} for each in range(count)]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "car"}]
        annotations.parent.mkdir(parents=True, exist_ok=True)
        annotations.write_text(json.dumps({"images": found, "annotations": boxes, "categories": categories}))
        for each in range(count):
            picture(images / f"{each}.png")

    for split, count in (("train2017", 8), ("val2017", 2)):
        coco(tmp_path / "COCO_DIR" / "annotations" / f"instances_{split}.json", tmp_path / "COCO_DIR" / split, count)
    coco(tmp_path / "farm.json", tmp_path / "farm", 4)
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg", "train_photos/a.jpg", "train_photos/b.jpg"):
        picture(tmp_path / name)
    voc = tmp_path / "VOC2007"
    for folder in ("ImageSets/Main", "Annotations"):
        (voc / folder).mkdir(parents=True)
    for split, name in (("train", "1"), ("val", "2")):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
        (voc / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><object><name>cat</name>{box}</object></annotation>"
        )
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{name}\n")
        picture(voc / "JPEGImages" / f"{name}.jpg")
    tree = WordTree(
        ("n00015388", "n03100490", "n02121620", "n02958343"), ("animal", "conveyance", "cat", "car"), (-1, -1, 0, 1)
    )
    save_tree(tree, tmp_path / "wordtree.json")
    for name in ("n02121620", "n02958343"):
        for split in ("train", "val"):
            picture(tmp_path / "IMAGENET_DIR" / split / name / "1.png")
    assert main(["train", "--coco", "COCO_DIR", "--tree", "wordtree.json", *SHORT, "--out", "runs/joint"]) == 0
    (tmp_path / "RUN").symlink_to(tmp_path / "runs" / "joint")
    return tmp_path


def run(words: list[str]) -> None:
    """What a shell would start, in this process."""
    match words:
        case ["yolo9000", *rest]:
            pass
        case ["python", "-m", module, *rest] if module.startswith("yolo9000."):
            rest = [module.partition(".")[2], *rest]
        case _:
            pytest.fail(f"no known program: {shlex.join(words)}")
    if rest[:2] == ["tree", "build"]:
        Path(rest[rest.index("--out") + 1]).unlink(missing_ok=True)
    if rest[0] == "train":
        rest += [*SHORT, "--out", "runs/other"]
    if rest[0] in ("predict", "evaluate"):
        rest += ["--device", "cpu"]
    assert main(rest) == 0, shlex.join(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "engines.md", "exports.md", "recipes.md"])
def test_every_line_runs(page: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = 0
    for line in dict.fromkeys(lines(page)):  # a page may show a command twice
        if line.startswith("yolo9000 serve"):  # see the test below
            continue
        if reason(line) or any(
            part in line and importlib.util.find_spec(package) is None for part, package in NEEDS.items()
        ):
            continue
        capsys.readouterr()
        run(shlex.split(line, comments=True))
        ran += 1
    assert ran >= 2
    if page == "exports.md":
        for folder in ("joint-onnx", "joint-torchscript", "joint-safetensors", "joint-darknet", "joint-int8"):
            assert (place / folder).is_dir() or (place / "runs" / folder).is_dir(), folder
    elif page in ("README.md", "recipes.md"):
        assert (place / "runs" / "other" / "last.pt").exists()
    if page == "recipes.md":
        assert (place / "priors.png").exists()


@pytest.mark.slow
def test_the_lines_about_the_page_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked for its page in place of being listened to, and then the same questions as `curl` asks."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    pytest.importorskip("httpx", reason="the client of the tests is not installed")
    import uvicorn
    from fastapi.testclient import TestClient

    asked: list[str] = []
    questions = [shlex.split(line) for line in lines("serve.md") if line.startswith("curl")]

    def answer(server: uvicorn.Server, sockets: Any) -> None:
        with TestClient(server.config.app, base_url="http://127.0.0.1:8000") as client:
            assert "WordTree explorer" in client.get("/").text
            has_net = client.get("/api/tree").json()["run"] is not None
            for words in questions:
                url = next(word for word in words if word.startswith("http"))
                if "--data-binary" in words:
                    file = Path(words[words.index("--data-binary") + 1].removeprefix("@"))
                    kind = words[words.index("-H") + 1].removeprefix("content-type: ")
                    response = client.post(url, content=file.read_bytes(), headers={"content-type": kind})
                    assert response.status_code == (200 if has_net else 409)
                else:
                    response = client.get(url)
                    # the number is one of the original YOLO9000's tree
                    assert response.status_code in ((200,) if client.get("/api/nodes/5171").is_success else (200, 404))
                asked.append(url)

    monkeypatch.setattr(uvicorn.Server, "run", answer)
    starts = [line for line in lines("serve.md") if not line.startswith("curl") and not reason(line)]
    assert len(starts) == 3
    for line in starts:
        run([*shlex.split(line, comments=True), "--port", "0"])
    assert len(asked) == 9


def test_what_is_not_run_is_there_and_nothing_is_left_out() -> None:
    names = ("README.md", "engines.md", "exports.md", "serve.md", "recipes.md", "ladder.md", "many_machines.md")
    pages = {page: lines(page) for page in names}
    everything = [line for found in pages.values() for line in found]
    for part in NOT_RUN:
        assert any(part in line for line in everything), f"no page shows {part}"
    for page in ("ladder.md", "many_machines.md"):  # which no test runs
        assert all(reason(line) for line in pages[page]), page
    # the other pages with commands have tests of their own
    shown = {file.name for file in (ROOT / "docs").glob("*.md") if BLOCK.search(file.read_text(encoding="utf-8"))}
    assert shown == {*names, "own_classes.md", "predict.md", "training.md"} - {"README.md"}
