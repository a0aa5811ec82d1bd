"""The page's own files, read once when the server starts: no request names a path."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class PageFile(NamedTuple):
    """A file of the page.

    Attributes
    ----------
    content : bytes
    type : str
        What it is, as HTTP says it.
    tag : str
        It is another one whenever the content is.
    """

    content: bytes
    type: str
    tag: str


def page_files() -> dict[str, PageFile]:
    """All files of the page by their names; the page itself is ``index.html``.

    Examples
    --------
    >>> page_files()["index.html"].type
    'text/html; charset=utf-8'
    """
    found = {}
    for file in resources.files("yolo9000.serving").joinpath("page").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found
