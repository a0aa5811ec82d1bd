"""What a notebook shows of a prediction."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from yolo9000.results.drawing import draw_results
from yolo9000.runtime.mistakes import printable

if TYPE_CHECKING:  # whose method calls this
    from yolo9000.results.results import Results

LONGEST_SIDE = 960
"""Pixels of a picture in a notebook, which is kept in it."""
_NUMBERS = ("score", "objectness", "probability")


def as_html(results: Results) -> str:
    """A picture and a table of its boxes, which need no other file.

    Parameters
    ----------
    results : Results

    Returns
    -------
    str
        HTML, in which names and paths are escaped.
    """
    picture = draw_results(results)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    rows = []
    for row, (label, path) in enumerate(zip(results.labels, results.paths, strict=True)):
        numbers = [f"{getattr(results.boxes, name)[row]:.2f}" for name in _NUMBERS]
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in (str(row), label, *numbers, str(path))))
    head = "".join(f"<th>{name}</th>" for name in ("", "label", "score", "objectness", "P(label)", "path"))
    table = f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    # printable, for the name of a file may be no UTF-8, which a notebook is written in
    title = html.escape(f"{printable(results.path)} ({results.size[0]} x {results.size[1]})")
    found = table if rows else "<p>nothing was found</p>"
    return f'<div><p>{title}</p><img src="{source}" alt="{title}">{found}</div>'
