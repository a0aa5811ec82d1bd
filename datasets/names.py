"""Many strings in two flat arrays, and a label map that takes any name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray


class NameTable:
    """An immutable sequence of strings, kept as one array of bytes and one of offsets.

    Worker processes share two arrays. They would copy a list of a million strings, because touching a string writes
    its reference count.

    Parameters
    ----------
    names : iterable of str
        The strings.

    Attributes
    ----------
    blob : array (bytes,) uint8
        The UTF-8 bytes of all strings, one after the other.
    offsets : array (N + 1,) int64
        String i is ``blob[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> table = NameTable(["a.jpg", "été.png", ""])
    >>> len(table), table[1], list(table)
    (3, 'été.png', ['a.jpg', 'été.png', ''])
    """

    def __init__(self, names: Iterable[str]) -> None:
        # surrogateescape, because file names need not be valid UTF-8
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self.offsets: NDArray[np.int64] = np.cumsum([0, *(len(name) for name in encoded)], dtype=np.int64)
        self.blob: NDArray[np.uint8] = np.frombuffer(b"".join(encoded), np.uint8)

    @classmethod
    def of_bytes(cls, pieces: Iterable[bytes]) -> NameTable:
        """Return a table of pieces that need be no text; `bytes_at` gives them back."""
        pieces = list(pieces)
        offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        return cls.of_arrays(np.frombuffer(b"".join(pieces), np.uint8), offsets)

    @classmethod
    def of_arrays(cls, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NameTable:
        """Return the table made of these two arrays, which are the attributes of the class."""
        table = cls(())
        table.blob, table.offsets = blob, offsets
        return table

    def taken(self, rows: NDArray[np.intp]) -> NameTable:
        """Return the table of some of the strings, by their numbers; the same one where that is all of them.

        Examples
        --------
        >>> list(NameTable(["a.jpg", "b.jpg", "c.jpg"]).taken(np.array([2, 0])))
        ['c.jpg', 'a.jpg']
        """
        if np.array_equal(rows, np.arange(len(self))):
            return self
        return NameTable.of_bytes(self.bytes_at(row) for row in rows.tolist())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        return self.bytes_at(index).decode("utf-8", "surrogateescape")

    def bytes_at(self, index: int) -> bytes:
        """Return the bytes of string `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        return self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


class AnyClass(Mapping[str, int]):
    """A label map in which every name is class 0: for reading data whose classes do not matter.

    Examples
    --------
    >>> AnyClass()["forklift"]
    0
    """

    def __getitem__(self, name: str) -> int:
        return 0

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
