"""Darknet's files to a checkpoint and back; our own detector to darknet's files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from wordtree import WordTree, load_tree
from yolo9000.darknet import from_cfg, load_darknet_weights
from yolo9000.detection import RegionSpec
from yolo9000.inference.model import describe_model, load_detector
from yolo9000.models import BoxCoding, Detector, DetectorConfig, LossConfig, TreeClasses
from yolo9000.runtime.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
# animal (dog, cat), vehicle (car)
TREE = WordTree(("n1", "n2", "n3", "n4", "n5"), ("animal", "vehicle", "dog", "cat", "car"), (-1, -1, 0, 0, 1))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_weights", ROOT / "tools" / "convert_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_and_back_is_the_same_file(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, checkpoint, back = GOLDEN / "net_yolov2tiny_voc20.weights", tmp_path / "a.pt", tmp_path / "b.weights"
    cfg = ["--cfg", str(GOLDEN / "net_yolov2tiny_voc20.cfg")]
    assert tool.main([str(weights), str(checkpoint), *cfg]) == 0
    assert "raw outputs for a random image differ by 0.0e+00 at most" in capsys.readouterr().out
    trained = load_detector(checkpoint)
    assert trained.classes.tree is not None
    assert trained.classes.tree.names[14] == "person"
    assert tool.main([str(checkpoint), str(back)]) == 0
    assert back.read_bytes() == weights.read_bytes()  # header and images seen too
    assert from_cfg(tmp_path / "b.cfg").region == from_cfg(GOLDEN / "net_yolov2tiny_voc20.cfg").region
    assert tool.main([str(checkpoint), str(back)]) == 2
    assert "b.weights: is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "form",
    [
        DetectorConfig(width=0.05),
        DetectorConfig(width=0.05, extra_convs=2, passthrough=True),
        DetectorConfig(width=0.05, extra_convs=1, passthrough=True, stride=16),
    ],
)
@pytest.mark.parametrize("rest", ["none", "only_child"])
def test_our_detector_becomes_a_net_of_darknets(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: DetectorConfig, rest: str
) -> None:
    tree = WordTree(TREE.wnids, TREE.names, TREE.parents, rest=rest)  # type: ignore[arg-type]
    region = RegionSpec(
        coding=BoxCoding(((1.0, 1.5), (2.0, 2.5))),
        classes=TreeClasses(tree),
        loss=LossConfig(rescore=False, thresh=0.5),
    )
    torch.manual_seed(0)
    detector = Detector(form, region)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
    content = {"position": {"step": 7}, "batch_size": 3, "net": detector.description, "average": None}
    save_checkpoint(
        tmp_path / "last.pt", {**describe_model(detector, size=64), **content, "model": detector.state_dict()}
    )
    assert tool.main([str(tmp_path / "last.pt"), str(tmp_path / "ours.weights")]) == 0
    said = capsys.readouterr()
    assert "differ by 0.0e+00 at most" in said.out
    assert ("have a rest alternative" in said.err) == (rest == "only_child")
    net = from_cfg(tmp_path / "ours.cfg")
    assert load_darknet_weights(net, tmp_path / "ours.weights").images_seen == 21
    assert net.region is not None
    assert (net.region.coding.priors, net.region.loss.rescore, net.region.loss.thresh) == (
        region.coding.priors,
        False,
        0.5,
    )
    assert load_tree(tmp_path / "ours.tree").names == TREE.names
    assert net.options.width == 64


def test_mistakes(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.weights").write_bytes(bytes(40))
    assert tool.main([str(tmp_path / "x.weights"), str(tmp_path / "x.pt")]) == 2
    assert "which net is it of?" in capsys.readouterr().err
    assert tool.main([str(tmp_path / "x.weights"), str(tmp_path / "x.pt"), "--cfg", "yolov2-tiny-voc"]) == 2
    assert "error:" in capsys.readouterr().err
    assert tool.main([str(tmp_path / "no.pt"), str(tmp_path / "y.weights")]) == 2
    assert "no such run or checkpoint" in capsys.readouterr().err
