"""Files at any URL that fsspec opens: several by one pattern, read a range of bytes at a time, tried again."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError

T = TypeVar("T")

WAITS = (0.5, 2.0, 8.0)
"""Seconds before a request that failed is made again; after the last it has failed for good."""
RECHECK = 300.0
"""Seconds after which a file on a server is asked again whether it is still the same."""
MOST_FILES = 100_000
MOST_TEXT = 1 << 20
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, ImportError)
"""What no waiting puts right."""
_VERSIONS = ("ETag", "etag", "generation", "md5", "mtime", "LastModified", "Last-Modified", "last_modified", "created")
"""What file systems say of a file that tells one content from another, the surest first."""
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})", re.ASCII)


def expand(pattern: str) -> list[str]:
    """Write out the braces of a pattern as a shell does: ranges and lists, also inside each other.

    Parameters
    ----------
    pattern : str

    Returns
    -------
    list of str

    Raises
    ------
    DatasetError
        If braces are not closed or hold neither a range nor a list, or there are more than `MOST_FILES`.

    Examples
    --------
    >>> expand("a-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    >>> expand("{train-{0..1},val-0}.tar")
    ['train-0.tar', 'train-1.tar', 'val-0.tar']
    """
    begin = pattern.find("{")
    if begin < 0:
        return [pattern]
    depth, cuts = 0, [begin]
    for place in range(begin, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[place], 0)
        if (pattern[place] == "," and depth == 1) or depth == 0:
            cuts.append(place)
        if depth == 0:
            break
    if depth:
        raise DatasetError(f"{pattern}: a brace is not closed")
    parts = [pattern[a + 1 : b] for a, b in itertools.pairwise(cuts)]
    if len(parts) == 1:
        match = _RANGE.fullmatch(parts[0])
        if match is None:
            raise DatasetError(f"{pattern}: braces hold a range such as 0000..0146 or a list such as a,b")
        first, last = match.groups()
        is_padded = any(len(end) > 1 and end[0] == "0" for end in (first, last))
        width = max(len(first), len(last)) if is_padded else 0
        numbers = range(int(first), int(last) + 1)
        if not 1 <= len(numbers) <= MOST_FILES:
            raise DatasetError(f"{pattern}: a range goes up, and over {MOST_FILES:,} files at most")
        parts = [f"{number:0{width}}" for number in numbers]
        middles = parts
    else:
        middles = [each for part in parts for each in expand(part)]
    ends = expand(pattern[cuts[-1] + 1 :])
    if len(middles) * len(ends) > MOST_FILES:
        raise DatasetError(f"{pattern}: more than {MOST_FILES:,} files")
    return [f"{pattern[:begin]}{middle}{end}" for middle in middles for end in ends]


class RemoteFiles:
    """Some files at one place, opened by each process for itself.

    Parameters
    ----------
    pattern : str
        A URL with braces (`expand`) and, where files can be listed, ``*``.

    Attributes
    ----------
    urls : list of str
        What messages call the files.
    is_local : bool
        Whether they lie on a disk of this machine, or one that is mounted.

    Raises
    ------
    DatasetError
        If nothing fits the pattern, or nothing is installed that opens it.

    Examples
    --------
    >>> RemoteFiles("memory://a/{0..1}.tar").urls
    ['memory:///a/0.tar', 'memory:///a/1.tar']
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        urls = expand(pattern)
        self._first = urls[0]
        self._opened: tuple[int, Any] | None = None
        fs = self._file_system()
        paths = [_answer(url, lambda url=url: fs._strip_protocol(url)) for url in urls]  # type: ignore[misc]
        self._paths: list[str] = list(itertools.chain.from_iterable(self._listed(path) for path in paths))
        if len(self._paths) > MOST_FILES:
            raise DatasetError(f"{pattern}: more than {MOST_FILES:,} files")
        if twice := [path for path, times in Counter(self._paths).items() if times > 1]:
            raise DatasetError(f"{pattern}: names files twice: {listed(twice, most=3)}")
        self.is_local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self.urls = self._paths if self.is_local else [str(fs.unstrip_protocol(path)) for path in self._paths]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_opened": None}  # connections and their threads belong to one process

    def __len__(self) -> int:
        return len(self._paths)

    def only(self, numbers: list[int]) -> None:
        """Forget all other files."""
        self._paths, self.urls = [self._paths[i] for i in numbers], [self.urls[i] for i in numbers]

    def stamp(self, number: int) -> tuple[int, int]:
        """Return the size of a file, and a number for what tells its content from another.

        Raises
        ------
        OSError
            If it cannot be asked for.
        """
        about: dict[str, Any] = patiently(lambda: self._asked_anew(number))
        size = about.get("size")
        if about.get("type") == "directory" or not isinstance(size, int):
            raise OSError("it does not say how many bytes it has" if about.get("type") != "directory" else "a folder")
        if about.get("partial") is False:
            raise OSError("its server sends whole files, and no ranges of bytes")
        version = next((f"{name} {about[name]}" for name in _VERSIONS if about.get(name) is not None), "")
        return size, int.from_bytes(hashlib.sha256(version.encode()).digest()[:8]) >> 1 if version else 0

    def open(self, number: int) -> PatientFile:
        """Open a file to read it from its beginning on."""
        return PatientFile(lambda: self._file_system().open(self._paths[number], "rb"))

    def read(self, number: int, begin: int, end: int) -> bytes:
        """Return the bytes from `begin` to `end` of a file.

        Raises
        ------
        OSError
            If they cannot be read, also when it is tried again.
        """
        return bytes(patiently(lambda: self._file_system().cat_file(self._paths[number], start=begin, end=end)))

    def text_beside(self, name: str, up: str = "") -> str | None:
        """Return a small text in the folder of the first file; None if there is none that may be read.

        Parameters
        ----------
        name : str
            What the text is called.
        up : str
            The name of a folder beside which it is looked for as well, if the file lies in such a one.

        Raises
        ------
        DatasetError
            If there is one, and it cannot be read or is none.
        """
        folder = self._paths[0].rpartition("/")[0]
        above, _, last = folder.rpartition("/")
        found = self._text(f"{folder}/{name}")
        return self._text(f"{above}/{name}") if found is None and up and last == up else found

    def _text(self, path: str) -> str | None:
        fs = self._file_system()
        try:
            size = patiently(lambda: fs.info(path)).get("size")
            if not isinstance(size, int) or size > MOST_TEXT:
                raise DatasetError(f"{path}: has more than {MOST_TEXT >> 20} MB, or does not say how many")
            return bytes(patiently(lambda: fs.cat_file(path, start=0, end=size))).decode("utf-8-sig") if size else ""
        except (FileNotFoundError, PermissionError):
            return None
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path}: is no text that can be read ({error.reason}); save it as UTF-8") from error
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error}") from error

    def _file_system(self) -> Any:
        # What was opened before a fork has sockets and a thread that are its parent's.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), _file_system_of(self._first)
        return self._opened[1]

    def _asked_anew(self, number: int) -> Any:
        fs = self._file_system()
        fs.invalidate_cache()  # some keep what a listing has said
        return fs.info(self._paths[number])

    def _listed(self, path: str) -> Iterator[str]:
        if "*" not in path:
            yield path
            return
        found = _answer(self.pattern, lambda: sorted(self._file_system().glob(path)))
        if not found:
            raise DatasetError(f"{self.pattern}: no file fits it, or its place cannot be listed; write braces out")
        yield from found


class PatientFile:
    """A file that is opened again where reading it fails for a moment; what `tarfile` needs of one.

    Parameters
    ----------
    begin : callable
        It opens the file.
    """

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin, self._at = begin, 0
        self._file: Any = None

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes from here on; raises `OSError`."""
        at = self._at

        def act() -> bytes:
            if self._file is None:
                self._file = self._begin()
            try:
                self._file.seek(at)
                return bytes(self._file.read(size))
            except BaseException:
                self._file = None
                raise

        data = patiently(act)
        self._at += len(data)
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place, from the beginning (0) or from here (1)."""
        self._at = place + (self._at if whence == 1 else 0)
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def patiently(act: Callable[[], T]) -> T:
    """Do something that other machines have a part in, and do it again after `WAITS` if it fails.

    Parameters
    ----------
    act : callable

    Raises
    ------
    OSError
        It failed each time, or in a way that waiting does not put right.

    Examples
    --------
    >>> patiently(lambda: 3)
    3
    """
    for wait in (*WAITS, None):
        try:
            return act()
        except Exception as error:  # each file system raises what its own library does
            if _is_final(error):
                raise
            if wait is None:
                said = " ".join(str(error).split())[:300]
                raise OSError(f"{type(error).__name__}: {said}" if said else type(error).__name__) from error
        time.sleep(wait)
    raise AssertionError


def _is_final(error: Exception) -> bool:
    """Whether no waiting puts it right."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        # fsspec says of a web server that fails in whichever way that there is no such file
        is_known = hasattr(cause, "status") or isinstance(cause, OSError)
        return _is_final(cause) if is_known or type(cause).__module__.startswith("aiohttp") else True
    status = getattr(error, "status", None)  # that of a web server's answer
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    return isinstance(error, (*_FINAL, DatasetError))


def _file_system_of(url: str) -> Any:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DatasetError(
            f"{url}: tars are read with fsspec, which is not installed: pip install 'yolo9000[remote]'"
        ) from error
    return _answer(url, lambda: url_to_fs(url))[0]


def _answer(url: str, ask: Callable[[], T]) -> T:
    """What a file system answers; what it raises is said of the URL."""
    try:
        return ask()
    except ImportError as error:  # it says which package it wants
        raise DatasetError(f"{url}: fsspec needs another package for it: {error}") from error
    except Exception as error:  # each raises what its own library does
        raise DatasetError(f"{url}: cannot be opened: {' '.join(str(error).split())[:300]}") from error
