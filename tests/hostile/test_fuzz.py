"""A second of damaged files for each reader; benchmarks/fuzz.md has the longer runs."""

from __future__ import annotations

import itertools
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.foreign_files import Reader, readers
from benchmarks.fuzz import Tally, mutations, read_corpus, try_one, write_corpus

ROOT = Path(__file__).resolve().parents[2]
READERS = readers()
CORPUS = read_corpus(Path(__file__).with_name("corpus.zip"))
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


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.filterwarnings("ignore")
def test_what_fuzzing_found_ends_in_the_named_error(name: str, tmp_path: Path) -> None:
    """Each input reached code that none before it had reached."""
    assert [said for data in CORPUS[name] if (said := try_one(READERS[name], data, tmp_path))] == []


def test_a_corpus_comes_back(tmp_path: Path) -> None:
    corpus, file = {"tree JSON": [b"", b"{}"], "cfg": [b"\0" * 9]}, tmp_path / "corpus.zip"
    write_corpus(file, corpus)
    assert read_corpus(file) == corpus
    before = file.read_bytes()
    write_corpus(file, corpus)
    assert file.read_bytes() == before


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
def test_atheris_chooses_inputs(tmp_path: Path) -> None:
    """In a process of its own, as it must see the readers when they are imported."""
    pytest.importorskip("atheris", reason="it is no dependency: pip install atheris")
    corpus = tmp_path / "corpus.zip"
    words = [sys.executable, "-m", "benchmarks.fuzz", "--guided", "--reader", "map", "--seconds", "1"]
    done = subprocess.run([*words, "--corpus", str(corpus)], cwd=ROOT, text=True, capture_output=True, check=True)
    said = re.fullmatch(
        r"map: ([\d,]+) inputs in \d s of the processor, (\d+) reached something new, 0 taken wrongly\n", done.stdout
    )
    assert said, done.stdout
    assert int(said[1].replace(",", "")) > 100
    assert len(read_corpus(corpus)["map"]) == int(said[2]) > 0
