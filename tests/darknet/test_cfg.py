"""Cfg files: what is read, what is refused and where the message points, and the built-in nets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wordtree import TreeFormatError, WordTree, load_tree, save_tree
from yolo9000.darknet import BUILTIN_NETS, CfgError, NetOptions, from_cfg, parse_cfg
from yolo9000.darknet.builtin_cfg import builtin_cfg
from yolo9000.darknet.layers import DarknetMaxPool
from yolo9000.darknet.net_options import net_options
from yolo9000.darknet.weights import count_floats
from yolo9000.models import Detector, DetectorConfig

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n"


def build(tmp_path: Path, text: str) -> torch.nn.Module:
    (tmp_path / "a.cfg").write_text(text)
    return from_cfg(tmp_path / "a.cfg")


@pytest.mark.parametrize(
    ("name", "floats"),
    [
        ("yolo9000", 48_807_501),
        ("yolov2", 50_983_561),
        ("yolov2-voc", 50_676_061),
        ("yolov2-tiny", 11_237_145),
        ("yolov2-tiny-voc", 15_867_885),
        ("darknet9000", 29_485_226),
        ("darknet19", 20_856_776),
        ("darknet19_448", 20_856_776),
    ],
)
def test_builtin_nets_have_darknets_parameter_counts(name: str, floats: int) -> None:
    assert name in BUILTIN_NETS
    with torch.device("meta"):
        assert count_floats(from_cfg(name)) == floats


def test_builtin_nets_have_the_options_of_the_papers_nets() -> None:
    with torch.device("meta"):
        yolo9000, tiny, voc = from_cfg("yolo9000"), from_cfg("yolov2-tiny"), from_cfg("yolov2-voc")
        classifier = from_cfg("darknet9000")
    assert yolo9000.region is not None
    assert yolo9000.region.coding.priors == ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))
    assert yolo9000.classes.tree == load_tree("yolo9000")
    assert yolo9000.region.classes.map == tuple(load_tree("yolo9000").label_maps["coco"].values())
    assert (yolo9000.region.loss.object_scale, yolo9000.region.loss.thresh, yolo9000.region.loss.rescore) == (
        5,
        0.6,
        True,
    )
    assert (yolo9000.shapes[-1], yolo9000.stride) == ((28269, 17, 17), 32)
    assert tiny.region is not None
    assert (tiny.region.loss.rescore, tiny.region.loss.bias_match, tiny.region.classes.number) == (False, True, 80)
    assert voc.shapes[-1] == (125, 13, 13)
    assert (classifier.region, classifier.classes.tree) == (None, load_tree("yolo9000"))


def test_yolov2_is_the_detector_with_passthrough() -> None:
    """The same blocks in the same order: weights of one fit the other, tensor by tensor."""
    with torch.device("meta"):
        net = from_cfg("yolov2")
        assert net.region is not None
        native = Detector(DetectorConfig(extra_convs=2, passthrough=True), net.region)
    assert [p.shape for p in net.parameters()] == [p.shape for p in native.parameters()]


def test_the_first_of_a_repeated_key_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = parse_cfg(NET.replace("width=32", "batch=2\nwidth=32\nbatch=64") + CONV, "a.cfg")
    assert net_options(cfg.net).batch == 2
    assert "a.cfg:4: [net] batch again; the first one, in line 2, counts" in caplog.text


def test_spelling_that_darknet_takes() -> None:
    lines = ["# a comment", "; another", "[ network ]", " width = 32 # px", "height=32", "channels=3", ""]
    cfg = parse_cfg("\r\n".join([*lines, "[conv]", "filters = 4", ""]))
    assert [section.name for section in (cfg.net, *cfg.layers)] == ["net", "convolutional"]
    assert net_options(cfg.net) == NetOptions(width=32, height=32, channels=3)
    assert cfg.layers[0].integer("filters", 1) == 4
    assert parse_cfg(cfg.to_text()).layers[0].text("filters") == "4"


def test_training_options_of_the_net_section() -> None:
    options = net_options(parse_cfg(builtin_cfg("yolov2-tiny-voc")).net)
    assert (options.policy, options.steps, options.scales) == ("steps", (-1, 100, 20000, 30000), (0.1, 10, 0.1, 0.1))
    assert (options.momentum, options.decay, options.batch, options.burn_in) == (0.9, 0.0005, 64, 0)
    poly = net_options(parse_cfg(builtin_cfg("darknet19")).net)
    assert (poly.policy, poly.power, poly.max_batches, poly.learning_rate) == ("poly", 4, 800_000, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.cfg:1: no section"),
        ("width=3\n", "a.cfg:1: 'width=3' stands before the first section"),
        (CONV, r"a.cfg:1: the first section must be \[net\]"),
        (NET + NET, r"a.cfg:5: \[net\] comes once"),
        (NET, r"a.cfg:1: \[net\] no layer follows"),
        (NET + "[yolo]\n", r"a.cfg:5: unknown section '\[yolo\]'.*\[region\]"),
        (NET + "[maxpool\n", r"a.cfg:5: unknown section '\[maxpool'"),
        (NET + "[maxpool]\nsize\n", r"a.cfg:6: \[maxpool\] expected key=value, not 'size'"),
        (NET + "[convolutional]\nfliters=3\n", r"a.cfg:6: \[convolutional\] unknown key 'fliters'; is filters meant"),
        (NET + "[convolutional]\nfilters=x\n", r"a.cfg:6: \[convolutional\] filters=x: a whole number is due"),
        (NET + "[convolutional]\nfilters=0\n", r"a.cfg:6: \[convolutional\] filters=0: at least 1"),
        (NET + "[convolutional]\nfilters=1,2\n", "a.cfg:6: .*1 value is due, not 2"),
        (NET + "[convolutional]\nactivation=mish\n", "a.cfg:6: .*activation=mish: leaky, linear"),
        (NET + "[convolutional]\nxnor=1\n", "a.cfg:6: .*xnor=1 is not supported, only xnor=0"),
        (NET + "[convolutional]\ngroups=2\n", "a.cfg:5: .*groups=2 divides not both 3 input channels"),
        (NET + "[convolutional]\nsize=33\n", "a.cfg:5: .*size=33 is too large for an image of 32 x 32"),
        (NET + "[convolutional]\nfilters=999999999\n", "a.cfg:5: .*a net of more than 1,073,741,824 weights"),
        (NET + "[maxpool]\nsize=2\nstride=2\npadding=4\n", "a.cfg:5: .*padding 4 is too much for windows of 2"),
        (NET + "[maxpool]\nsize=999\n", "a.cfg:5: .*windows of 999 are too large"),
        (NET + "[reorg]\nstride=2\n", "a.cfg:5: .*stride=2 needs channels.*4, 2 and 2; they are"),
        (NET + "[reorg]\nreverse=1\n", "a.cfg:6: .*reverse=1 is not supported"),
        (NET + "[route]\n", r"a.cfg:5: \[route\] layers= is missing"),
        (NET + "[route]\nlayers=-1\n", r"a.cfg:6: \[route\] layers=-1: this is layer 0"),
        (NET + CONV + "[maxpool]\nstride=2\n[route]\nlayers=-1,0\n", r"a.cfg:14: .*heights and widths differ"),
        (NET + "[region]\n", r"a.cfg:5: \[region\] needs num x \(5 \+ classes\) = 1 x \(5 \+ 20\) = 25 channels"),
        (NET + CONV + "[region]\nclasses=3\nanchors=1\n", "a.cfg:13: .*anchors=1: 2 positive numbers are needed"),
        (NET + CONV + "[region]\nclasses=3\nbackground=1\n", "a.cfg:13: .*background=1 is not supported"),
        (NET + CONV + "[region]\nclasses=3\ntree=no.tree\n", "a.cfg:13: .*tree=no.tree: no such file"),
        (NET + CONV + "[region]\nclasses=3\ntree=data/9k.tree\n", "a.cfg:13: .*has 9418 nodes, but classes=3"),
        (NET + CONV + "[region]\nclasses=3\nmap=coco9k.map\n", "a.cfg:13: .*is for 9418 nodes, the net has 3"),
        (NET + CONV + "[region]\nclasses=3\n[maxpool]\n", r"a.cfg:13: \[maxpool\] comes after the \[region\] layer"),
        (NET + CONV + "[avgpool]\n[softmax]\ntree=9k.tree\n", "a.cfg:13: .*9418 nodes, the layer before gives 8"),
        (NET.replace("channels=3\n", ""), r"a.cfg:1: \[net\] channels= is missing"),
        (NET + "policy=soon\n" + CONV, "a.cfg:5: .*policy=soon: constant, step"),
        (NET + "policy=steps\nsteps=1,2\nscales=.1\n" + CONV, "a.cfg:1: .*as many scales as steps; there are 1 and 2"),
        (NET + "learning_rate=nan\n" + CONV, "a.cfg:5: .*learning_rate=nan: a number is due"),
        ("\0\1", "a.cfg:1: a binary file"),
    ],
)  # fmt: skip
def test_a_cfg_that_makes_no_net_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        build(tmp_path, text)


def test_an_unknown_key_that_cannot_matter_is_only_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(tmp_path, NET + CONV + "[avgpool]\nsize=3\n[softmax]\n[cost]\ntype=sse\ncolour=red\n")
    assert "a.cfg:12: [avgpool] unknown key 'size'; nothing depends on it here" in caplog.text
    assert "a.cfg:16: [cost] unknown key 'colour'" in caplog.text


def test_files_are_tried_beside_the_cfg_above_it_here_and_among_the_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder, here = tmp_path / "darknet" / "cfg", tmp_path / "here"
    folder.mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    text = NET.replace("channels=3", "channels=2") + "[softmax]\ntree=two.tree\n"
    (folder / "a.cfg").write_text(text.replace("width=32", "width=1").replace("height=32", "height=1"))
    with pytest.raises(CfgError, match="no such file"):
        from_cfg(folder / "a.cfg")
    for place, name in ((here, "here"), (folder.parent, "above"), (folder, "beside")):
        save_tree(WordTree((f"{name}1", f"{name}2"), ("a", "b"), (-1, -1)), place / "two.tree")
        tree = from_cfg(folder / "a.cfg").classes.tree
        assert tree is not None
        assert tree.wnids[0] == f"{name}1"
    caplog.clear()
    with torch.device("meta"):
        (folder / "yolo9000.cfg").write_text(builtin_cfg("yolo9000"))
        assert from_cfg(folder / "yolo9000.cfg").classes.tree == load_tree("yolo9000")
    assert "tree=data/9k.tree is the bundled file of this name" in caplog.text
    assert "map=data/coco9k.map is the bundled file of this name" in caplog.text
    (folder / "two.tree").write_text("a 7\n")
    with pytest.raises(TreeFormatError, match="two.tree:1"):
        from_cfg(folder / "a.cfg")


def test_a_missing_cfg_names_the_builtin_nets() -> None:
    with pytest.raises(FileNotFoundError, match="yolov3.cfg: no such file; .*yolov2-tiny-voc"):
        from_cfg("yolov3.cfg")


def test_a_given_tree_sizes_the_last_convolution(caplog: pytest.LogCaptureFixture) -> None:
    tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    with torch.device("meta"):
        detector, classifier = from_cfg("yolo9000", tree), from_cfg("darknet19", tree)
    assert detector.region is not None
    assert (detector.region.classes.number, detector.region.classes.tree, detector.region.classes.map) == (
        3,
        tree,
        None,
    )
    assert "map=data/coco9k.map is for another tree and left out" in caplog.text
    assert detector.shapes[-1] == (24, 17, 17)
    assert (classifier.classes.tree, classifier.shapes[-1]) == (tree, (3, 1, 1))
    with torch.device("meta"):
        assert from_cfg("yolo9000", "yolo9000").region == from_cfg("yolo9000").region


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    model = build(tmp_path, NET + CONV)
    assert model(torch.zeros(2, 3, 64, 96)).raw.shape == (2, 8, 64, 96)  # other sizes run
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\) is needed, got \(2, 1, 32, 32\)"):
        model(torch.zeros(2, 1, 32, 32))


def test_stopbackward_keeps_it_and_what_is_before_it_from_learning(tmp_path: Path) -> None:
    model = build(tmp_path, NET + CONV + CONV + "stopbackward=1\n" + CONV + "[route]\nlayers=-1,0\n")
    model(torch.rand(1, 3, 32, 32)).raw.sum().backward()
    learns = [parameter.grad is not None for parameter in model.parameters()]
    assert learns == [False, False, False, False, True, True]


def pool_by_hand(x: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    """Window i begins at i * stride - padding // 2; what lies outside is skipped."""
    h, w = x.shape
    out = np.full(((h + padding - size) // stride + 1, (w + padding - size) // stride + 1), -np.inf)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for r in range(i * stride - padding // 2, i * stride - padding // 2 + size):
                for c in range(j * stride - padding // 2, j * stride - padding // 2 + size):
                    if 0 <= r < h and 0 <= c < w:
                        out[i, j] = max(out[i, j], x[r, c])
    return out


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.integers(0, 8))
def test_max_pooling_is_darknets(h: int, w: int, size: int, stride: int, padding: int) -> None:
    x = np.random.default_rng(h * 100 + w).normal(size=(h, w))
    if (padding + 1) // 2 >= size and padding:
        with pytest.raises(ValueError, match="too much"):
            DarknetMaxPool(size, stride, padding)
        return
    pool = DarknetMaxPool(size, stride, padding)
    if min(pool.length(h), pool.length(w)) >= 1:
        ours = pool(torch.tensor(x)[None, None])[0, 0].numpy()
        np.testing.assert_array_equal(ours, pool_by_hand(x, size, stride, padding))


def test_pooling_of_an_odd_side_rounds_up() -> None:
    assert DarknetMaxPool(2, 2)(torch.zeros(1, 1, 13, 13)).shape[-2:] == (7, 7)
    assert DarknetMaxPool(2, 1)(torch.zeros(1, 1, 13, 13)).shape[-2:] == (13, 13)
