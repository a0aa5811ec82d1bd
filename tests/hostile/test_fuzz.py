"""A second of damaged files for each reader; benchmarks/fuzz.md has the longer runs."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.foreign_files import Reader, readers
from benchmarks.fuzz import Tally, main, mutations, try_one

READERS = readers()
WITHOUT_PROCESSES = 60
MOST = {"HDF5": 8, "video": 20}
"""Damage may end the process that reads it, and the next one needs half a second to start."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_damage_ends_in_the_named_error(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for whole in reader.seeds:
        reader.read(whole, tmp_path)
    inputs = itertools.islice(mutations(reader.seeds, 7), MOST.get(name, WITHOUT_PROCESSES))
    assert [said for data in inputs if (said := try_one(reader, data, tmp_path))] == []


def test_a_reader_that_fails_otherwise_is_found(tmp_path: Path) -> None:
    def reads(data: bytes, folder: Path) -> None:
        raise KeyError("a key")

    assert try_one(Reader((b"x",), reads, (ValueError,)), b"", tmp_path) == "KeyError: 'a key'"
    assert try_one(Reader((b"x",), reads, (KeyError,)), b"", tmp_path) == ""


def test_inputs_and_what_was_wrong_are_counted(tmp_path: Path) -> None:
    def reads(data: bytes, folder: Path) -> None:
        if data != b"good":
            raise KeyError(len(data))

    tally = Tally(Reader((b"good",), reads, (ValueError,)), tmp_path, seconds=60)
    tally.take_all([b"good", b"bad", b"odd", b"worse"])
    assert (tally.inputs, tally.wrong) == (4, {"KeyError: 3": b"bad", "KeyError: 5": b"worse"})
    assert Tally(tally.reader, tmp_path, seconds=-1).take_all([b"bad"]).inputs == 0
    assert Tally(tally.reader, tmp_path, seconds=60, most=2).take_all([b"good"] * 5).inputs == 2


@pytest.mark.slow
def test_atheris_chooses_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("atheris", reason="it is no dependency: pip install atheris")
    assert main(["--guided", "--reader", "map", "--seconds", "1"]) == 0
    said = re.fullmatch(
        r"map: ([\d,]+) inputs in \d s of the processor, (\d+) reached something new, 0 taken wrongly\n",
        capsys.readouterr().out,
    )
    assert said, said
    assert int(said[1].replace(",", "")) > 100
