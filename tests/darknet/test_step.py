"""Two whole steps of SGD on a small net with every kind of layer, against a float64 twin of darknet's training.

The twin is numpy and written forwards and backwards by hand, as darknet is: deltas (minus gradients) of the summed loss
flow back through the layers, and an update is ``U = momentum * U + deltas - decay * batch * weights``, ``weights +=
rate / batch * U``, with decay for convolution weights only.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yolo9000.darknet import from_cfg
from yolo9000.darknet.net import DarknetNet
from yolo9000.detection import Target, joint_loss
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.optimiser import build_optimizer

GOLDEN = Path(__file__).parents[1] / "golden"
spec = importlib.util.spec_from_file_location("darknet_twin", Path(__file__).parents[1] / "detection/darknet_twin.py")
assert spec is not None
assert spec.loader is not None
twin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twin)

Array = NDArray[np.float64]
# filters and kernel size of a convolution; a pool's size and stride
NET: list[tuple[Any, ...]] = [
    ("conv", 4, 3), ("pool", 2, 2), ("conv", 8, 3), ("pool", 2, 2), ("conv", 8, 3), ("pool", 2, 2), ("conv", 12, 3),
    ("pool", 2, 1), ("route", -4), ("conv", 4, 1), ("reorg", 2), ("route", -1, -4), ("conv", 12, 3), ("last", 135, 1),
]  # fmt: skip
PRIORS = [(0.55, 0.8), (1.3, 1.9), (2.6, 2.2)]
MAP = (35, 16, 29, 38, 5)
TRUTHS = [
    [(0.31, 0.4, 0.3, 0.5, 1), (0.7, 0.6, 0.2, 0.3, 3), (0.72, 0.61, 0.25, 0.28, 0)],  # the last two share a cell
    [(0.1, 0.9, 0.15, 0.1, 2), (0.55, 0.35, 0.6, 0.6, 4)],
    [],
]
IMAGE_LABELS = [None, None, 33]
MOMENTUM, DECAY, RATE, BATCH = 0.9, 0.0005, 0.01, 3


def cfg_text() -> str:
    sections = ["[net]\nwidth=48\nheight=32\nchannels=3"]
    for kind, *numbers in NET:
        match kind:
            case "conv" | "last":
                norm, activation = ("batch_normalize=1\n", "leaky") if kind == "conv" else ("", "linear")
                size = f"filters={numbers[0]}\nsize={numbers[1]}\npad=1"
                sections.append(f"[convolutional]\n{norm}{size}\nactivation={activation}")
            case "pool":
                sections.append(f"[maxpool]\nsize={numbers[0]}\nstride={numbers[1]}")
            case "route":
                sections.append(f"[route]\nlayers={','.join(map(str, numbers))}")
            case "reorg":
                sections.append(f"[reorg]\nstride={numbers[0]}")
    anchors = ", ".join(f"{w},{h}" for w, h in PRIORS)
    region = f"anchors={anchors}\nnum=3\nclasses=40\nsoftmax=1\nrescore=1\nbias_match=1\nthresh=.6\nobject_scale=5"
    sections.append(f"[region]\n{region}\ntree={GOLDEN / 'tree40.tree'}\nmap={GOLDEN / 'map5.map'}")
    return "\n".join(sections) + "\n"


def windows(x: Array, size: int) -> Array:
    """Patches of a stride-1 convolution with padding size // 2: (B, C, H, W, size, size)."""
    p = size // 2
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))


def pool_choice(x: Array, size: int, stride: int) -> tuple[Array, NDArray[np.int64]]:
    """Maxima, and at which flat position of the image each was; padding (right and below) never wins."""
    b, c, h, w = x.shape
    oh, ow = (h - 1) // stride + 1, (w - 1) // stride + 1
    values, places = np.full((b, c, oh, ow), -np.inf), np.zeros((b, c, oh, ow), np.int64)
    for i in range(oh):
        for j in range(ow):
            for r in range(i * stride, min(i * stride + size, h)):
                for s in range(j * stride, min(j * stride + size, w)):
                    better = x[:, :, r, s] > values[:, :, i, j]
                    values[:, :, i, j] = np.where(better, x[:, :, r, s], values[:, :, i, j])
                    places[:, :, i, j] = np.where(better, r * w + s, places[:, :, i, j])
    return values, places


def reorg_order(c: int, h: int, w: int) -> NDArray[np.int64]:
    """Darknet's reorganisation of stride 2: for each output element in order, the flat place of its input."""
    source = np.arange(c * h * w).reshape(c // 4, h * 2, w * 2)  # the buffer, read as if it had fewer channels
    return np.concatenate([source[k, a::2, b::2].ravel() for a in (0, 1) for b in (0, 1) for k in range(c // 4)])


class TwinNet:
    """Weights by layer and name, their velocities, and one training step."""

    def __init__(self, model: DarknetNet) -> None:
        self.weights: dict[tuple[int, str], Array] = {}
        self.running: dict[tuple[int, str], Array] = {}
        self.velocity: dict[tuple[int, str], Array] = {}
        for n, (kind, *_) in enumerate(NET):
            if kind not in ("conv", "last"):
                continue
            if kind == "last":  # the head's rows in the order of darknet's channels
                rows = list(zip(*model.layers[n].dense_rows(), strict=True))
                conv = {"weight": torch.cat(rows[0])[:, :, None, None].detach(), "bias": torch.cat(rows[1]).detach()}
            else:
                conv, *norm = (dict(part.state_dict()) for part in list(model.layers[n].children())[:2])
            self.weights[n, "weight"] = conv["weight"].double().numpy().copy()
            self.weights[n, "bias"] = (conv if kind == "last" else norm[0])["bias"].double().numpy().copy()
            if kind == "conv":
                self.weights[n, "scale"] = norm[0]["weight"].double().numpy().copy()
                self.running[n, "mean"] = norm[0]["running_mean"].double().numpy().copy()
                self.running[n, "variance"] = norm[0]["running_var"].double().numpy().copy()

    def forward(self, images: Array) -> None:
        self.x: list[Array] = []
        self.memory: dict[int, Any] = {}
        x = images
        self.inputs = []
        for n, (kind, *numbers) in enumerate(NET):
            self.inputs.append(x)
            match kind:
                case "conv" | "last":
                    y = np.einsum("bcijkl,ockl->boij", windows(x, numbers[1]), self.weights[n, "weight"])
                    bias = self.weights[n, "bias"][:, None, None]
                    if kind == "last":
                        x = y + bias
                    else:
                        mean, variance = y.mean(axis=(0, 2, 3)), y.var(axis=(0, 2, 3))
                        count = y.size / y.shape[1]
                        unbiased = variance * count / (count - 1)
                        for name, new in (("mean", mean), ("variance", unbiased)):
                            self.running[n, name] = 0.99 * self.running[n, name] + 0.01 * new
                        root = np.sqrt(variance + 1e-5)[:, None, None]
                        normal = (y - mean[:, None, None]) / root
                        z = normal * self.weights[n, "scale"][:, None, None] + bias
                        self.memory[n] = (normal, root, z > 0)
                        x = np.where(z > 0, z, 0.1 * z)
                case "pool":
                    x, self.memory[n] = pool_choice(x, *numbers)
                case "route":
                    x = np.concatenate([self.x[n + k] for k in numbers], axis=1)
                case "reorg":
                    b, c, h, w = x.shape
                    places = self.memory[n] = reorg_order(c, h, w)
                    x = x.reshape(b, -1)[:, places].reshape(b, c * 4, h // 2, w // 2)
            self.x.append(x)

    def backward(self, delta_of_raw: Array) -> dict[tuple[int, str], Array]:
        deltas = [np.zeros_like(x) for x in self.x]
        deltas[-1] = delta_of_raw
        updates: dict[tuple[int, str], Array] = {}
        for n in reversed(range(len(NET))):
            kind, *numbers = NET[n]
            delta, x = deltas[n], self.inputs[n]
            match kind:
                case "conv" | "last":
                    if kind == "conv":
                        normal, root, positive = self.memory[n]
                        delta = np.where(positive, delta, 0.1 * delta)
                        updates[n, "scale"] = (delta * normal).sum(axis=(0, 2, 3))
                    updates[n, "bias"] = delta.sum(axis=(0, 2, 3))
                    if kind == "conv":
                        d = delta * self.weights[n, "scale"][:, None, None]
                        axes: Any = {"axis": (0, 2, 3), "keepdims": True}
                        delta = (d - d.mean(**axes) - normal * (d * normal).mean(**axes)) / root
                    updates[n, "weight"] = np.einsum("boij,bcijkl->ockl", delta, windows(x, numbers[1]))
                    turned = self.weights[n, "weight"][:, :, ::-1, ::-1]
                    below = np.einsum("boijkl,ockl->bcij", windows(delta, numbers[1]), turned)
                case "pool":
                    below = np.zeros_like(x).reshape(*x.shape[:2], -1)
                    for b, c in np.ndindex(x.shape[:2]):
                        np.add.at(below[b, c], self.memory[n][b, c].ravel(), delta[b, c].ravel())
                    below = below.reshape(x.shape)
                case "route":
                    begin = 0
                    for k in numbers:
                        end = begin + self.x[n + k].shape[1]
                        deltas[n + k] += delta[:, begin:end]
                        begin = end
                    continue
                case "reorg":
                    below = np.zeros_like(x).reshape(x.shape[0], -1)
                    below[:, self.memory[n]] = delta.reshape(x.shape[0], -1)
                    below = below.reshape(x.shape)
            if n:
                deltas[n - 1] += below
        return updates

    def step(self, images: Array, seen: int, tree: Any) -> None:
        self.forward(images)
        delta = twin.region_delta(
            self.x[-1], TRUTHS, IMAGE_LABELS, priors=PRIORS, tree=tree, seen=seen, box_map=list(MAP)
        )
        for key, update in self.backward(delta).items():
            decay = DECAY * BATCH * self.weights[key] if key[1] == "weight" else 0.0
            self.velocity[key] = MOMENTUM * self.velocity.get(key, 0.0) + update - decay
            self.weights[key] = self.weights[key] + RATE / BATCH * self.velocity[key]


@pytest.mark.parametrize(("seen", "dtype", "tolerance"), [(64_000, torch.float64, 1e-10), (30, torch.float32, 1e-5)])
def test_two_steps_of_sgd_are_darknets(tmp_path: Path, seen: int, dtype: torch.dtype, tolerance: float) -> None:
    (tmp_path / "net.cfg").write_text(cfg_text())
    torch.manual_seed(1)
    model = from_cfg(tmp_path / "net.cfg").to(dtype)
    assert model.region is not None
    expected = TwinNet(model)
    before = {key: value.copy() for key, value in expected.weights.items()}
    config = OptimiserConfig(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer = build_optimizer(model.train(), config)
    targets = [
        Target(
            torch.tensor([t[:4] for t in rows], dtype=torch.float64).reshape(-1, 4),
            torch.tensor([t[4] for t in rows], dtype=torch.long),
            image_label=label,
        )
        for rows, label in zip(TRUTHS, IMAGE_LABELS, strict=True)
    ]
    rng = np.random.default_rng(3)
    for _ in range(2):
        images = rng.uniform(size=(BATCH, 3, 32, 48)).astype(np.float32)
        terms = joint_loss(
            model(torch.tensor(images, dtype=dtype)), targets, model.region, images_seen=seen, recipe="darknet"
        )
        optimizer.zero_grad()
        (torch.stack(list(terms.values())).sum() / BATCH).backward()
        optimizer.step()
        expected.step(images.astype(np.float64), seen, model.classes.tree)
    actual = TwinNet(model)
    for key, weights in expected.weights.items():
        np.testing.assert_allclose(actual.weights[key], weights, rtol=0, atol=tolerance, err_msg=str(key))
        assert np.abs(weights - before[key]).max() > 1e-4, key  # the step is larger than the tolerance
    for key, statistic in expected.running.items():
        np.testing.assert_allclose(actual.running[key], statistic, rtol=0, atol=tolerance, err_msg=str(key))
