"""The benchmark at tiny sizes: every row runs, and its sides agree on what they compute. No time is looked at."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import gpu, memory, peers
from benchmarks.cost import backbone_gflop
from benchmarks.harness import Goal, Measurement, PeerAbsent, Row, Scale, Side, measure, run_rows, table
from benchmarks.report import IMITATION, marks, replace_table
from benchmarks.rows import all_rows

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = marks("native")
ROWS = {row.name: row for row in all_rows()}
QUICK = Scale(quick=True, rounds=1)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "tools" / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny nets gain nothing by a second one, and wait for it long where other work runs."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def peers_may_warn() -> Iterator[None]:
    """What other projects warn of is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.difference is not None])
def test_the_sides_of_a_row_agree(name: str) -> None:
    """Sides of the reference's precision answer the same; those of another one, and darknet, are only run."""
    row = ROWS[name]
    with ExitStack() as stack:
        prepared = row.prepare(QUICK, stack)
        sides = {side: made for side, made in prepared.items() if isinstance(made, Side)}
        reference = sides.pop(row.reference)
        answer = reference.run()
        compared = 0
        for side, made in sides.items():
            other = made.run()
            assert row.difference is not None
            difference = row.difference(answer, other)
            if "bf16" in made.setting or "bfloat16" in made.setting + side or side in ("ours", "darknet"):
                assert difference < 1.5
            else:
                assert difference <= row.tolerance, side
                compared += 1
    if not compared:
        pytest.skip(f"{', '.join(map(str, (s for s in prepared.values() if isinstance(s, PeerAbsent))))}: not there")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.difference is None])
def test_a_row_runs(name: str) -> None:
    *_, result = measure(ROWS[name], QUICK)
    sides = {goal.ours for goal in ROWS[name].goals} | {goal.other for goal in ROWS[name].goals if goal.other}
    assert set(result.samples) == sides


def test_every_goal_names_its_sides_and_rows_differ_in_name() -> None:
    assert len(ROWS) == len(all_rows())
    for row in ROWS.values():
        for goal in row.goals:
            assert bool(goal.other) != (goal.limit is not None), row.name


# ---------------------------------------------------------------------------------------------------------- harness


def row_of(calls: list[str], *goals: Goal, absent: bool = False) -> Row:
    """A row whose sides write down that they were called."""

    def prepare(scale: Scale, stack: ExitStack) -> dict[str, Side | PeerAbsent]:
        stack.callback(calls.append, "end")
        other: Side | PeerAbsent = Side(run=lambda: calls.append("B"), setting="one thread")
        return {"ours": Side(run=lambda: calls.append("A")), "peer": PeerAbsent("peer (pip)") if absent else other}

    return Row(name="letters", what="write letters", prepare=prepare, goals=goals or (Goal(other="peer"),))


def test_sides_run_in_turn_after_a_warm_up_and_the_stack_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.FAST_ROW_SECONDS", 0.0)
    calls: list[str] = []
    *_, result = measure(row_of(calls), Scale(rounds=3))
    assert "".join(calls) == "ABABABABend"
    assert [len(samples) for samples in result.samples.values()] == [3, 3]


def measured(*goals: Goal, ours: float, other: float, unit: str = "ms") -> list[str]:
    row = Row(name="r", what="w", prepare=lambda s, t: {}, goals=goals, unit="MB" if unit == "MB" else "ms")
    lines = table([Measurement(row=row, samples={"ours": [9e9, ours, 0.0], "peer": [other, other]})]).splitlines()
    return [line.strip("| ") for line in lines[2 : 2 + len(goals)]]


def test_the_table_by_hand() -> None:
    goals = (
        Goal(other="peer", at_least=4), Goal(other="peer", at_least=4.01), Goal(other="peer", at_most=0.25),
        Goal(other="peer", at_most=0.2), Goal(other="peer"), Goal(other="peer", price=True), Goal(limit=26),
        Goal(other="nobody"),
    )  # fmt: skip
    assert measured(*goals, ours=25.0, other=100.0) == [
        "r | w | peer | 25 ms | 100 ms | 4.00 | >= 4 | yes",
        "r | w | peer | 25 ms | 100 ms | 4.00 | >= 4.01 | no",
        "r | w | peer | 25 ms | 100 ms | 0.25 | <= 0.25 | yes",
        "r | w | peer | 25 ms | 100 ms | 0.25 | <= 0.2 | no",
        "r | w | peer | 25 ms | 100 ms | 4.00 | - | -",
        "r | w | peer | 25 ms | 100 ms | 0.25 | - | -",
        "r | w | - | 25 ms | - | - | < 26 ms | yes",
        "r | w | nobody | - | - | not measured | - | -",
    ]
    assert measured(Goal(other="peer"), ours=2.0, other=20_000.0) == ["r | w | peer | 2 ms | 20.0 s | 10000.00 | - | -"]


def test_an_absent_peer_is_told_and_no_error() -> None:
    *_, result = measure(row_of([], Goal(other="peer", at_least=2), absent=True), Scale(rounds=1))
    assert "| peer | - | - | not installed: peer (pip) | >= 2 | - |" in table([result])
    with pytest.raises(PeerAbsent, match="no_such_peer"):
        peers.module("no_such_peer")


def test_ctrl_c_keeps_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def interrupted() -> None:
        calls.append("B")
        if len(calls) == 4:  # the warm-up's A and B, A, and now
            raise KeyboardInterrupt

    def prepare(scale: Scale, stack: ExitStack) -> dict[str, Side]:
        return {"ours": Side(run=lambda: calls.append("A")), "peer": Side(run=interrupted)}

    row = Row(name="r", what="w", prepare=prepare, goals=(Goal(other="peer"),))
    results = run_rows([row, row], Scale(rounds=5))
    assert len(results) == 1
    assert len(results[0].samples["ours"]) == 1
    assert "not measured" in table(results)
    assert "interrupted" in capsys.readouterr().err


def test_tool(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):  # the page has the native table
        monkeypatch.delenv(name, raising=False)
    assert tool.main(["--list", "head"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["head-time", "head-memory"]
    assert tool.main(["hat"]) == 2
    assert "hat: no such row; there are step-time" in capsys.readouterr().err
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    arguments = ["ap-peer", "--quick", "--rounds", "1", "--json", str(tmp_path / "a.json"), "--out", str(page)]
    assert tool.main(arguments) == 0
    entry = json.loads((tmp_path / "a.json").read_text())["rows"][0]
    assert len(entry["samples"]["pycocotools"]) >= 1
    assert entry["differences"]["pycocotools"] <= 1e-9
    assert "load" in capsys.readouterr().out
    text = page.read_text()
    assert text.startswith(f"above\n{BEGIN}\nprocessor")
    assert text.endswith(f"{END}\nbelow\n")
    assert "| ap-peer |" in text
    assert "old" not in text


def test_each_class_of_processors_has_its_table(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], dict[str, str]]] = []

    def run(words: list[str], env: dict[str, str], check: bool) -> subprocess.CompletedProcess[bytes]:
        asked.append((words[2:], {name: env.get(name, "") for name in IMITATION}))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(tool.subprocess, "run", run)
    for name in IMITATION:
        monkeypatch.delenv(name, raising=False)
    assert tool.main(["head", "--both", "--quick"]) == 0
    assert asked == [(["head", "--quick"], dict.fromkeys(IMITATION, "")), (["head", "--quick"], IMITATION)]
    page = tmp_path / "page.md"
    replace_table(page, "one", "avx2")
    replace_table(page, "two")
    first, last = marks("avx2")
    assert page.read_text() == f"{BEGIN}\ntwo\n{END}\n{first}\none\n{last}\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n")
    with pytest.raises(ValueError, match="page.md: the table goes between"):
        replace_table(page, "table")
    assert page.read_text() == "mine\n"


def test_memory_counts_what_was_held_at_once_after_the_mark() -> None:
    megabytes = memory.peak_megabytes(memory.example_job, 64, 96)
    assert 90 < megabytes < 110
    with pytest.raises(RuntimeError, match="failed:(.|\n)*TypeError"):
        memory.peak_megabytes(memory.example_job, "many")


@pytest.mark.slow
def test_the_script_for_gpus_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", "cpu", "--quick"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row.split(",")[0].strip("| ") for row in rows] == (["training step"] * 2 + ["drawn"] + ["predict"] * 4)
    assert not any("nan" in row for row in rows)


def test_backbone_arithmetic_is_that_of_the_paper() -> None:
    """Darknet prints 5.58 billion operations for Darknet-19 at 224 px, of which 1000 classes are 0.100."""
    head = 2 * 1024 * 15 * 7 * 7 / 1e9
    assert backbone_gflop(224) - head == pytest.approx(5.58 - 0.100, abs=0.01)


def test_threads_of_the_sides_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    with ExitStack() as stack:
        side = ROWS["region-loss"].prepare(QUICK, stack)["ours"]
    assert isinstance(side, Side)
    assert "7 threads" in side.setting
