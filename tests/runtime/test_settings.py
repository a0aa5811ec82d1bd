"""What is chosen follows from times that a test gives, and is kept: nothing is measured here."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from yolo9000.runtime import settings as module
from yolo9000.runtime.config import SETTINGS_VARIABLE, Settings
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.settings import Timings, fastest, settings_file, settle, time_in_turn, variants

ROWS, BLOCKS = Settings(at_once=4), Settings(at_once=4, layout="contiguous")
SMALL = Settings(at_once=4, precision="bfloat16")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv(SETTINGS_VARIABLE, raising=False)


def measured(*answers: Timings) -> tuple[Callable[[], Timings], list[int]]:
    """Times as a clock would give them, and how often it was asked."""
    asked: list[int] = []

    def measure() -> Timings:
        asked.append(len(asked))
        return answers[len(asked) - 1]

    return measure, asked


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({ROWS: [0.30, 0.20], BLOCKS: [0.197, 0.50]}, ROWS),  # a fiftieth is a neighbour's doing
        ({ROWS: [0.30, 0.20], BLOCKS: [0.18, 0.50]}, BLOCKS),  # the least counts, not the mean
        ({BLOCKS: [0.30], SMALL: [0.20], ROWS: [0.40]}, SMALL),
        ({BLOCKS: [0.30], SMALL: [0.31]}, BLOCKS),  # the usual ones were not tried
        ({ROWS: [], BLOCKS: [0.3]}, BLOCKS),
    ],
)
def test_the_fastest_is_taken_if_it_clearly_is(times: Timings, chosen: Settings) -> None:
    assert fastest(times, ROWS) == chosen


def test_all_orders_of_the_same_times_choose_the_same() -> None:
    times = {ROWS: [0.3], BLOCKS: [0.2], SMALL: [0.25]}
    assert {fastest(dict(order), ROWS) for order in itertools.permutations(times.items())} == {BLOCKS}


def test_measured_once_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    measure, asked = measured({ROWS: [0.3], BLOCKS: [0.2]})
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert settle("auto", ROWS, precision=None, purpose={"net": "a"}, measure=measure) == BLOCKS
    assert asked == [0]
    assert caplog.messages == [
        "settings, measured once: torch, contiguous, float32, 4 images at once; 200.0 ms an image, others 300.0 ms"
    ]
    (key,) = json.loads(settings_file().read_text())
    assert json.loads(key)["torch"] == torch.__version__


@pytest.mark.parametrize("change", ["net", "threads", "instructions"])
def test_another_net_or_machine_is_measured_by_itself(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, asked = measured({ROWS: [0.3], BLOCKS: [0.2]}, {ROWS: [0.2], BLOCKS: [0.3]})
    assert settle("auto", ROWS, precision=None, purpose={"net": "a"}, measure=measure) == BLOCKS
    if change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    if change == "instructions":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    net = "b" if change == "net" else "a"
    assert settle("auto", ROWS, precision=None, purpose={"net": net}, measure=measure) == ROWS
    assert len(asked) == 2


def test_a_damaged_file_is_measured_anew() -> None:
    file = settings_file()
    file.parent.mkdir(parents=True)
    for content in ("{", "[]", '{"x": 1}'):
        file.write_text(content)
        measure, asked = measured({ROWS: [0.3], BLOCKS: [0.2]})
        assert settle("auto", ROWS, precision=None, purpose={}, measure=measure) == BLOCKS
        assert asked == [0]
    (key,) = (key for key in json.loads(file.read_text()) if key != "x")
    file.write_text(json.dumps({key: "fixed:layout=diagonal"}))
    measure, asked = measured({ROWS: [0.3], BLOCKS: [0.2]})
    assert settle("auto", ROWS, precision=None, purpose={}, measure=measure) == BLOCKS
    assert asked == [0]


def test_a_cache_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    settings_file().parent.parent.joinpath("yolo9000").write_text("a file in the place of the folder")
    measure, _ = measured({ROWS: [0.3], BLOCKS: [0.2]})
    with caplog.at_level(logging.INFO):
        assert settle("auto", ROWS, precision=None, purpose={}, measure=measure) == BLOCKS
    assert "cannot be written" in caplog.messages[-1]


def test_nothing_is_measured_where_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, asked = measured()
    assert settle("unmeasured", ROWS, precision=None, purpose={}, measure=measure) == ROWS
    fixed = settle("fixed:layout=contiguous", ROWS, precision=None, purpose={}, measure=measure)
    monkeypatch.setenv(SETTINGS_VARIABLE, "unmeasured")
    assert settle("auto", ROWS, precision=None, purpose={}, measure=measure) == ROWS
    monkeypatch.setenv(SETTINGS_VARIABLE, "fixed:layout=contiguous")
    assert settle("auto", ROWS, precision=None, purpose={}, measure=measure) == fixed == BLOCKS
    assert asked == []


def test_a_text_of_settings_comes_back() -> None:
    for settings in variants(Settings(engine="openvino", at_once=3), ["float32", "bfloat16"]):
        assert Settings().changed(settings.text) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quick", "`settings` quick: auto, unmeasured or fixed:NAME=VALUE,.. is needed"),
        ("fixed:", "auto, unmeasured or fixed"),
        ("fixed:layout", "'layout' is no NAME=VALUE, once, of engine, layout, precision, at_once"),
        ("fixed:layout=contiguous,layout=contiguous", "is no NAME=VALUE, once"),
        ("fixed:layout=diagonal", "layout diagonal is none of channels_last, contiguous"),
        ("fixed:at_once=many", "at_once many is no number of images"),
    ],
)
def test_settings_that_are_none(text: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        Settings().changed(text)


def test_two_number_formats_are_a_mistake() -> None:
    with pytest.raises(Mistake, match="`precision` float32: `settings` fixed:precision=bfloat16 says another"):
        settle("fixed:precision=bfloat16", ROWS, precision="float32", purpose={}, measure=None)


def test_ways_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    clock = itertools.count()
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    runs = {ROWS: lambda: ran.append("rows"), BLOCKS: lambda: ran.append("blocks")}
    found = time_in_turn(runs, images=2, budget=6)
    assert ran == ["rows", "blocks"] * 3  # the first round does not count
    assert found == {ROWS: [0.5, 0.5], BLOCKS: [0.5, 0.5]}
