"""Fixtures for all tests, and the small objects that they share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from wordtree import WordTree, load_tree, save_tree
from yolo9000.datasets.sample import Record
from yolo9000.inference.model import describe_model
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.runtime.run_folder import RunFolder

# animal (dog (poodle), cat), vehicle (car)
TREE = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6"),
    ("animal", "vehicle", "dog", "cat", "car", "poodle"),
    (-1, -1, 0, 0, 1, 2),
    rest="only_child",
)
FORM = DetectorConfig(width=0.05, stride=32)
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))


# Nothing is measured in a test, nor in a command that one runs: what is chosen by times would differ from run to run.
os.environ["YOLO9000_SETTINGS"] = "unmeasured"

# An example may take as long as the processor needs, and so may its drawing. The default tests try a quarter of the
# examples that all tests try. A test that wants more or fewer says how many times `settings.default.max_examples`.
ANY_PROCESSOR = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", ANY_PROCESSOR, max_examples=100)
settings.register_profile("quick", ANY_PROCESSOR, max_examples=25)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is imported: how many examples of a property are tried, and on how many threads torch works."""
    if beside := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # tests beside each other share the processor
        threads = str(max(1, (os.cpu_count() or 1) // int(beside)))
        torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", threads)))  # and what they start has it, too
    settings.load_profile("quick" if config.getoption("markexpr") == "not slow" else "all")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images, darknet's numbers and tree facts that may lie beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder.name}/ beside the repository")
    return folder


@pytest.fixture(scope="session")
def hours() -> bool:
    """Whether the longest of the slow tests run at their full length, which CI has no time for."""
    return bool(os.environ.get("YOLO9000_HOURS"))


@pytest.fixture
def ranks(tmp_path: Path) -> Callable[..., dict[int, list[Any]]]:
    """Return a function that runs another one in several processes, see ``tests/ranks.py``.

    It takes a file, the name of a function in it, numbers of processes and arguments, and gives what the function
    returned: for each number of processes a list of ranks.
    """
    if sys.platform == "win32":
        pytest.skip("processes cannot be forked there")

    def run(file: Path, function: str, world_sizes: list[int], **arguments: Any) -> dict[int, list[Any]]:
        words = [str(file), function, str(tmp_path), json.dumps(world_sizes), json.dumps(arguments)]
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("ranks.py"), *words],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        return {
            size: [torch.load(tmp_path / f"{size}.{rank}.pt", weights_only=True) for rank in range(size)]
            for size in world_sizes
        }

    return run


@pytest.fixture(scope="session")
def fake_cuda() -> None:
    """Skip where CUDA cannot be faked: torch 2.6 and 2.7 ask its driver to copy some fake tensors as well."""
    with FakeTensorMode():
        try:
            torch.empty(2, device="cuda").copy_(torch.empty(2, device="cuda"))
        except RuntimeError:
            pytest.skip(f"torch {torch.__version__} needs a GPU's driver for fake CUDA tensors")


@dataclass(frozen=True)
class Squares:
    """A coloured square on grey: red is a cat (3), green a car (4). A stand-in for a data set."""

    kind: Literal["detection", "classification"] = "detection"
    length: int = 8
    labelled_nodes: NDArray[np.int64] | None = None

    @property
    def name(self) -> str:
        return f"{self.kind} squares"

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Record:
        rng = np.random.default_rng(index)
        image = np.full((64, 64, 3), 127, np.uint8)
        x, y = rng.integers(0, 32, 2)
        colour = index % 2
        image[y : y + 32, x : x + 32] = 0
        image[y : y + 32, x : x + 32, colour] = 255
        if self.kind == "classification":
            return Record(image, f"{index}", image_label=3 + colour)
        boxes = np.array([[x, y, x + 32, y + 32]], np.float32)
        return Record(image, f"{index}", boxes, np.array([3 + colour], np.int64))


@pytest.fixture(scope="session")
def region() -> RegionSpec:
    """Two priors over a tree of six nodes: animal (dog (poodle), cat), vehicle (car)."""
    return REGION


@pytest.fixture(scope="session")
def squares() -> type[Squares]:
    """The class of a source; importlib's import mode lets no test import another file."""
    return Squares


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a run with an untrained detector."""
    torch.manual_seed(0)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    detector = Detector(FORM, REGION)
    content = {
        **describe_model(detector, size=64, boxed=(3,), never_boxed=(4,)),
        "position": {"step": 5},
        "net": detector.description,
        "average": None,
        "model": detector.state_dict(),
    }
    save_checkpoint(folder.last, content)
    return folder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents speak of: a run over YOLO9000's tree that is sure of its boxes, photographs, data sets."""
    root = tmp_path_factory.mktemp("workplace")
    tree = load_tree("yolo9000")
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    net = Detector(DetectorConfig(width=0.05, stride=32), region)
    with torch.no_grad():
        net.head.class_bias[list(tree.path("terrier"))] = 12.0
        net.head.box_bias[4] = 2.0
    content = {
        **describe_model(net, size=64, boxed=(tree.node("dog"),)),
        "image_labels": {},
        "position": {"step": 5},
        "net": net.description,
        "average": None,
        "model": net.state_dict(),
    }
    for run in ("joint", "boxes", "mine", "further"):
        (root / "runs" / run).mkdir(parents=True)
        save_checkpoint(root / "runs" / run / "last.pt", content)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    (root / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        Image.fromarray(pixels).save(root / name)
    golden = Path(__file__).resolve().parents[1] / "tests" / "golden" / "net_yolov2tiny_voc20"
    shutil.copy(golden.with_suffix(".cfg"), root / "tiny.cfg")
    shutil.copy(golden.with_suffix(".weights"), root / "tiny.weights")
    save_tree(tree, root / "wordtree.json")
    (root / "COCO_DIR" / "val2017").mkdir(parents=True)
    (root / "COCO_DIR" / "annotations").mkdir()
    Image.fromarray(pixels).save(root / "COCO_DIR" / "val2017" / "1.jpg")
    annotations = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": [4, 5, 30, 20], "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    (root / "COCO_DIR" / "annotations" / "instances_val2017.json").write_text(json.dumps(annotations))
    return root
