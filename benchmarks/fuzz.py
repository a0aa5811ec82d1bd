"""Damaged files by the million for every reader of foreign bytes: only its own named errors may come, soon.

``python -m benchmarks.fuzz --inputs 1000000 --seconds 3600`` mutates small whole files (flips, cuts, copies, numbers
and words that hurt) and gives them to each reader in turn, so many, or for so many seconds of the processor.
``--guided`` lets atheris choose the mutations by what code they reach; it needs ``pip install atheris``, which nothing
else here does. What reached code that nothing before had reached is added to ``--corpus FILE.zip``, and what is there
is where the next one begins. Most readers want a file, so that TMPDIR=/dev/shm makes it several times as fast.
benchmarks/fuzz.md has what was found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from benchmarks.foreign_files import Reader, readers

INSTRUMENTED = ["wordtree", "yolo9000", "tarfile", "yaml"]
"""Packages in whose code atheris sees what an input reaches. All of torch would take minutes and teach nothing."""

SLOW = 2.0
"""Seconds of processor time from which on an input counts as a hang."""
NUMBERS = ["0", "-1", "1e999", "nan", "2147483648", str(2**70), "9" * 401, "9" * 5_000, "0x10", "1_000", "\u0663", ""]
WORDS = [
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\n",
    b'"',
    b"[",
    b"{",
    b"]",
    b"}",
    b",",
    b"&a *a",
    b"<!DOCTYPE a>",
]
WORDS += [b"/", b"..", b"\\ud800", b"null", b"true", b"<a>", b"&#0;", b"\x80", b"\x7f\xff\xff\xff", b"\xff" * 8]


def mutations(seeds: tuple[bytes, ...], seed: int) -> Iterator[bytes]:
    """Damaged files without end, the same for the same seed."""
    rng = random.Random(seed)
    while True:
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            place = rng.randrange(len(data) + 1)
            length = rng.choice((1, 1, 2, 4, 8, 16, 64))
            match rng.randrange(9):
                case 0 if data:
                    place = rng.randrange(len(data))
                    data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
                case 1:
                    data = data[:place] + rng.randbytes(length) + data[place + length :]
                case 2:
                    data = data[:place] + rng.choice(WORDS) + data[place:]
                case 3:
                    data = data[:place] + data[place + length :]
                case 4:
                    other = rng.randrange(len(data) + 1)
                    data = data[:place] + data[other : other + length] + data[place:]
                case 5:
                    data = data[:place]
                case 6:
                    data = data[:place] + rng.choice(seeds)[place:]
                case 7:
                    digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
                    if digits:
                        place = rng.choice(digits)
                        data = data[:place] + rng.choice(NUMBERS).encode() + data[place + 1 :]
                case _:
                    data = data[:place] + rng.choice(WORDS) * rng.choice((2, 50, 2_000)) + data[place:]
        yield data


class _Hangs(BaseException):
    """An input takes too long."""


def _stop(number: int, frame: FrameType | None) -> None:
    place = traceback.extract_stack(frame)[-1]
    raise _Hangs(f"in {Path(place.filename).name}, line {place.lineno}")


def try_one(reader: Reader, data: bytes, folder: Path) -> str:
    """What is wrong with how a reader took an input; empty if it read it or refused it by name."""
    begin = time.process_time()
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, 5 * SLOW)
    try:
        reader.read(data, folder)
    except reader.errors:
        pass
    except _Hangs as error:
        return f"did not end: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - begin
    return f"took {seconds:.1f} seconds" if seconds > SLOW else ""


@dataclass
class Tally:
    """What a reader did with its inputs.

    Attributes
    ----------
    reader : Reader
    folder : Path
        Where it may write.
    seconds : float
        How much of the processor it is given, by this process and by those of it that have ended.
    most : int
        How many inputs it is given at most.
    inputs : int
        How many it was given.
    known, kept : list of bytes
        What atheris begins with besides whole files, and what it kept, as it reached something new.
    wrong : dict of str to bytes
        The first input of each kind that was taken wrongly, by what was wrong.
    """

    reader: Reader
    folder: Path
    seconds: float
    most: int = sys.maxsize
    began: float = field(default_factory=lambda: sum(os.times()[:4]))
    inputs: int = 0
    known: list[bytes] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    wrong: dict[str, bytes] = field(default_factory=dict)

    @property
    def used(self) -> float:
        """Seconds of the processor until now."""
        return sum(os.times()[:4]) - self.began

    @property
    def has_enough(self) -> bool:
        """Whether it has had its time or its inputs."""
        return self.inputs >= self.most or self.used > self.seconds

    def take(self, data: bytes) -> None:
        """Give one input to the reader."""
        self.inputs += 1
        if said := try_one(self.reader, data, self.folder):
            self.wrong.setdefault(said[:60], data)

    def take_all(self, inputs: Iterable[bytes]) -> Tally:
        """Give inputs to the reader until it has enough."""
        for data in inputs:
            if self.has_enough:
                break
            self.take(data)
        return self

    def guided(self, seed: int) -> Tally:
        """Have atheris choose the inputs, in a process of its own: a second one cannot be begun in this."""
        import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

        answer, log, corpus = (self.folder.with_name(name) for name in ("answer", "log", "corpus"))
        corpus.mkdir()
        begins = {*self.reader.seeds, *self.known}
        for number, data in enumerate(begins):
            (corpus / str(number)).write_bytes(data)
        hints = [*WORDS, *(number.encode() for number in NUMBERS)]
        quoted = ("".join(f"\\x{byte:02x}" for byte in hint) for hint in hints if 0 < len(hint) < 60)
        (dictionary := self.folder.with_name("words")).write_text("".join(f'"{hint}"\n' for hint in quoted))
        if (pid := os.fork()) == 0:
            output = os.open(log, os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stderr = sys.__stderr__
            self.began, self.inputs = sum(os.times()[:4]), 0

            def one(data: bytes) -> None:
                self.take(data)
                if self.has_enough:
                    wrong = {said: data.decode("latin-1") for said, data in self.wrong.items()}
                    answer.write_text(json.dumps([self.inputs, wrong]))
                    os._exit(0)

            options = ["-max_len=4096", "-rss_limit_mb=4096", "-timeout=60", "-verbosity=0", f"-seed={seed + 1}"]
            options += [f"-dict={dictionary}", f"-artifact_prefix={self.folder.parent}/ended-", str(corpus)]
            atheris.Setup([sys.argv[0], *options], one)
            atheris.Fuzz()
        _, status = os.waitpid(pid, 0)
        self.kept = sorted({file.read_bytes() for file in corpus.iterdir()} - begins)
        if answer.exists():
            self.inputs, wrong = json.loads(answer.read_text())
            self.wrong = {said: data.encode("latin-1") for said, data in wrong.items()}
        else:
            last = log.read_text(errors="replace").strip().rpartition("\n")[2]
            ended = [file.read_bytes() for file in self.folder.parent.glob("ended-*")]
            self.wrong[f"ended with status {status}: {last}"] = ended[0] if ended else b""
        return self


def main(words: list[str] | None = None) -> int:
    """Try inputs for a while; return 1 if a reader did what it should not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reader", action="append", help="one of them, or several; all by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the processor, for each reader (%(default)s)")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="for each reader at most; no end by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true", help="let atheris choose, by what code is reached")
    parser.add_argument("--corpus", type=Path, help="a zip file, which guided inputs begin with and are added to")
    parser.add_argument("--keep", type=Path, help="a folder for the inputs that were taken wrongly")
    given = parser.parse_args(words)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with _watched() if given.guided else contextlib.nullcontext():
        return _fuzz(given)


def _fuzz(given: argparse.Namespace) -> int:
    known, wrong = readers(), 0
    corpus = read_corpus(given.corpus) if given.corpus and given.corpus.exists() else {}
    for name in given.reader or known:
        reader = known[name]
        with tempfile.TemporaryDirectory() as place:
            (folder := Path(place, "files")).mkdir()
            for whole in reader.seeds:  # whole files are read, and what is slow the first time has been done
                reader.read(whole, folder)
            tally = Tally(reader, folder, given.seconds, given.inputs, known=corpus.get(name, []))
            tally = tally.guided(given.seed) if given.guided else tally.take_all(mutations(reader.seeds, given.seed))
            said = f"{name}: {tally.inputs:,} inputs in {tally.used:.0f} s of the processor, "
            said += f"{len(tally.kept)} reached something new, " if given.guided else ""
            print(f"{said}{len(tally.wrong)} taken wrongly", flush=True)
        if given.corpus and tally.kept:
            corpus[name] = [*tally.known, *tally.kept]
            write_corpus(given.corpus, corpus)
        wrong += len(tally.wrong)
        for number, (said, data) in enumerate(tally.wrong.items()):
            print(f"  {said}: {data[:80]!r}", flush=True)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{name}-{number}".replace(" ", "-")).write_bytes(data)
    return 1 if wrong else 0


def read_corpus(file: Path) -> dict[str, list[bytes]]:
    """Inputs that reached something new, by reader."""
    found: dict[str, list[bytes]] = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            found.setdefault(member.partition("/")[0], []).append(archive.read(member))
    return found


def write_corpus(file: Path, corpus: dict[str, list[bytes]]) -> None:
    """Write what `read_corpus` reads, the same bytes for the same inputs."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, inputs in corpus.items():
            for number, data in enumerate(inputs):
                archive.writestr(zipfile.ZipInfo(f"{name}/{number}"), data, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Have atheris see what is imported meanwhile."""
    import atheris

    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        yield


if __name__ == "__main__":
    sys.exit(main())
