"""Where a command writes: a new folder each time, and nothing that somebody needs is written over."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def choose_folder(folder: str | Path | None, default: str | Path, *, overwrite: bool = False) -> Path:
    """Choose or check the folder that a command writes to, before anything is computed.

    Parameters
    ----------
    folder : str or Path, optional
        The folder that was asked for.
    default : str or Path
        Otherwise this one, or the first of ``default2``, ``default3``, .. that is free or empty.
    overwrite : bool
        Also take a folder that holds something.

    Returns
    -------
    Path
        The folder. It is not made yet.

    Raises
    ------
    FileExistsError
        The folder holds something, and `overwrite` was not asked for; or it is a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as runs:
    ...     for _ in range(3):
    ...         chosen = choose_folder(None, f"{runs}/predict")
    ...         chosen.mkdir()
    ...         chosen.joinpath("photo.jpg").touch()
    ...         print(chosen.name)
    predict
    predict2
    predict3
    """
    if folder is None:
        chosen, number = Path(default), 1
        while chosen.is_file() or (_names(chosen) and not overwrite):
            number += 1
            chosen = Path(f"{default}{number}")
        return chosen
    chosen = Path(folder)
    if chosen.is_file():
        raise FileExistsError(f"{chosen}: cannot write there (File exists); name another folder with `out`")
    held = _names(chosen)
    if held and not overwrite:
        raise FileExistsError(
            f"{chosen}: the folder holds something already ({', '.join(held[:3])}{', ..' * (len(held) > 3)}); name "
            "another folder, or ask with `overwrite` to replace what an earlier call wrote there"
        )
    return chosen


def free_file(file: Path) -> Path:
    """The file, or the first of ``NAME2.SUFFIX``, ``NAME3.SUFFIX``, .. beside it that does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     Path(run, "evaluation.json").touch()
    ...     free_file(Path(run, "evaluation.json")).name
    'evaluation2.json'
    """
    number, found = 1, file
    while found.exists():
        number += 1
        found = file.with_name(f"{file.stem}{number}{file.suffix}")
    return found


def new_file(file: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """A file that is to be written, checked before anything is computed for it.

    Parameters
    ----------
    file : str or Path
    overwrite : bool
        Whether it may be there.

    Raises
    ------
    FileExistsError
        The file is there already, or it is a folder.
    FileNotFoundError
        Its folder is not there.

    Examples
    --------
    >>> new_file("no/such/figures.json")
    Traceback (most recent call last):
    FileNotFoundError: no/such/figures.json: there is no folder no/such
    """
    found = Path(file)
    if found.is_dir():
        raise FileExistsError(f"{found}: is a folder; name a file")
    if found.exists() and not overwrite:
        raise FileExistsError(f"{found}: is there already; name another file")
    if not found.parent.is_dir():
        raise FileNotFoundError(f"{found}: there is no folder {found.parent}")
    return found


def latest_file(file: Path) -> Path:
    """The last of the files that `free_file` gave one after the other; the file itself if there is none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     Path(run, "evaluation.json").touch()
    ...     Path(run, "evaluation2.json").touch()
    ...     latest_file(Path(run, "evaluation.json")).name
    'evaluation2.json'
    """
    number, found = 2, file
    while (following := file.with_name(f"{file.stem}{number}{file.suffix}")).exists():
        number, found = number + 1, following
    return found


class OutputFolder:
    """A folder that is made when the first file is written, and that is gone again if none was.

    Parameters
    ----------
    path : Path
    inputs : iterable of str or Path
        Files that are never written over, however they are called: by a link, relatively, or in other letters where
        that is one.
    """

    def __init__(self, path: Path, inputs: Iterable[str | Path] = ()) -> None:
        self.path = path
        self._kept = frozenset(found for each in inputs if (found := _identity(Path(each))) is not None)
        self._made: list[Path] = []

    def check(self, names: Iterable[str]) -> None:
        """Raise FileExistsError if a file of one of these names would take the place of an input."""
        for name in names:
            self._refuse_an_input(self.path / name)

    def file(self, name: str) -> Path:
        """The path of a file in the folder; the folders above it are made.

        Raises
        ------
        FileExistsError
            It is one of the inputs.
        OSError
            The folder cannot be written to.
        """
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name}: is no file in {self.path}")
        found = self.path / name
        self._refuse_an_input(found)
        try:
            missing = [place for place in found.parents if not place.exists()]
            found.parent.mkdir(parents=True, exist_ok=True)
            self._made += reversed(missing)
        except OSError as error:
            raise OSError(
                f"{self.path}: cannot write there ({error.strerror}); name another folder with `out`"
            ) from error
        return found

    def close(self) -> None:
        """Remove the folders that were made and have nothing in them."""
        for folder in reversed(self._made):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _refuse_an_input(self, path: Path) -> None:
        if _identity(path) in self._kept:
            raise FileExistsError(
                f"{path}: is one of the images to predict on and is not written over; name another folder"
            )


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # no such file: nothing that could be lost
        return None
    return status.st_dev, status.st_ino
