"""Damaged files end in our named errors, or make a net; never in anything else."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wordtree import TreeFormatError, load_tree
from wordtree.formats import read_map
from yolo9000.darknet import CfgError, DarknetNet, WeightsError, from_cfg, load_darknet_weights, parse_cfg

GOLDEN = Path(__file__).parents[1] / "golden"
CFG = """[net]
batch=2
width=32
height=64
channels=3
policy=steps
steps=-1,100
scales=.1,10
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=4
activation=linear
[reorg]
stride=2
[maxpool]
size=2
stride=1
[route]
layers=-1,-2
[convolutional]
filters=135
activation=linear
[region]
anchors = 0.55, 0.8, 1.3, 1.9, 2.6, 2.2
classes=40
num=3
softmax=1
thresh = 0.6
tree=tree40.tree
map = map5.map
"""
GRID_CFG = """[net]
batch=2
width=32
height=64
channels=3
[crop]
crop_width=32
crop_height=32
saturation=1.5
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[local]
filters=2
size=3
pad=1
stride=4
activation=leaky
[connected]
output=16
batch_normalize=1
activation=leaky
[dropout]
probability=.5
[connected]
output=63
activation=linear
[detection]
classes=2
coords=4
side=3
num=1
softmax=0
sqrt=1
coord_scale=5
"""
WORDS = [
    b"\n",
    b"=",
    b",",
    b"-",
    b".",
    b"[",
    b"]",
    b"#",
    b"\0",
    b"\xff",
    b" ",
    b"0",
    b"999999999",
    b"-1",
    b"1e9",
    b"nan",
]
WORDS += [
    b"_",
    "\u0663".encode(),
    b"/",
    b"..",
    b"[region]\n",
    b"[softmax]\n",
    b"[connected]\n",
    b"tree=9k.tree\n",
    b"\xef\xbb\xbf",
    b"\x0c",
]


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few edits, each at a share of the file's length: what, from where, how much of it, and what is put there."""
    edit = st.tuples(
        st.sampled_from(["replace", "insert", "copy", "cut"]),
        st.floats(0, 1),
        st.integers(0, 40),
        st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)),
        st.floats(0, 1),
    )
    edits = draw(st.lists(edit, min_size=1, max_size=4))

    def mutate(data: bytes) -> bytes:
        for kind, share, length, new, other in edits:
            at = int(share * len(data))
            match kind:
                case "replace":
                    data = data[:at] + new + data[at + len(new) :]
                case "insert":
                    data = data[:at] + new + data[at:]
                case "copy":
                    source = int(other * len(data))
                    data = data[:at] + data[source : source + length] + data[at:]
                case "cut":
                    data = data[:at] + data[at + length :]
        return data

    return mutate


@st.composite
def number_swaps(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One of the numbers in a text becomes another."""
    share = draw(st.floats(0, 1, exclude_max=True))
    number = str(draw(st.one_of(st.integers(-3, 70), st.integers(), st.floats()))).encode()

    def mutate(data: bytes) -> bytes:
        found = list(re.finditer(rb"[0-9.]+", data))
        chosen = found[int(share * len(found))]
        return data[: chosen.start()] + number + data[chosen.end() :]

    return mutate


def check_cfg(data: bytes, folder: Path) -> None:
    for name in ("tree40.tree", "map5.map"):
        (folder / name).write_bytes((GOLDEN / name).read_bytes())
    (folder / "a.cfg").write_bytes(data)
    try:
        with torch.device("meta"):
            from_cfg(folder / "a.cfg")
    except CfgError as error:
        assert re.match(rf"{re.escape(str(folder))}/a\.cfg:[0-9]+: ", str(error)), error  # noqa: PT017
    except TreeFormatError as error:
        assert str(error).startswith(str(folder)), error  # noqa: PT017


def check_tree(data: bytes, folder: Path) -> None:
    (folder / "a.tree").write_bytes(data)
    try:
        tree = load_tree(folder / "a.tree")
    except TreeFormatError as error:
        assert "a.tree" in str(error)  # noqa: PT017
    else:
        assert len(tree) == len(tree.group_of)


def check_map(data: bytes, folder: Path) -> None:
    (folder / "a.map").write_bytes(data)
    try:
        nodes = read_map(folder / "a.map", 40)
    except TreeFormatError as error:
        assert "a.map" in str(error)  # noqa: PT017
    else:
        assert all(0 <= node < 40 for node in nodes)


def check_weights(data: bytes, folder: Path) -> None:
    model = DarknetNet(parse_cfg(SMALL))
    (folder / "a.weights").write_bytes(data)
    for partial in (False, True):
        try:
            load_darknet_weights(model, folder / "a.weights", partial=partial)
        except WeightsError as error:
            assert "a.weights" in str(error)  # noqa: PT017
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


# two convolutions, of 66 and 4 floats: most of an edit's places are in the header or at a border
SMALL = "[net]\nwidth=8\nheight=8\nchannels=2\n[conv]\nbatch_normalize=1\nfilters=3\nsize=3\npad=1\n[conv]\n"
CASES = [
    ("cfg", CFG.encode(), check_cfg),
    ("grid", GRID_CFG.encode(), check_cfg),
    ("tree", (GOLDEN / "tree40.tree").read_bytes(), check_tree),
    ("map", (GOLDEN / "map5.map").read_bytes(), check_map),
    ("weights", struct.pack("<iiiQ70f", 0, 2, 0, 7, *range(70)), check_weights),
]
Check = Callable[[bytes, Path], None]


@pytest.mark.parametrize(("data", "check"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_whole_files_pass(data: bytes, check: Check, tmp_path: Path) -> None:
    check(data, tmp_path)
    with torch.device("meta"):
        (tmp_path / "a.cfg").write_text(CFG)
        for name in ("tree40.tree", "map5.map"):
            (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
        assert from_cfg(tmp_path / "a.cfg").region is not None


@pytest.mark.parametrize(("data", "check"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("examples", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_damaged_files_end_in_a_named_error(data: bytes, check: Check, examples: int, tmp_path: Path) -> None:
    kinds = mutations() if check is check_weights else st.one_of(mutations(), number_swaps())

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(kinds)
    def run(mutate: Callable[[bytes], bytes]) -> None:
        check(mutate(data), tmp_path)

    run()
