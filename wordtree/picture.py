"""A tree as a picture: an icicle, or rings, in plain SVG or as a PNG.

It is one file because both forms become the same shapes, which both kinds of file are written from.

Terms
-----
cell
    The area of one node. Its length along the tree is one level, its extent across is its share of the leaves.
level
    Distance from the node that is drawn first.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Literal, get_args

from wordtree.errors import TreeError
from wordtree.outline import count_below
from wordtree.tree import WordTree
from wordtree.writing import write_new_files

Form = Literal["icicle", "radial"]
ROW = 15.0  # pixels of a leaf that has a label in an icicle
COLUMN = (64.0, 230.0)  # pixels of a level of an icicle, at least and at most
RING = 108.0  # pixels of a level of rings
SMALLEST = 0.25  # pixels; a cell that is thinner is not drawn
FONT = 11.0  # of a leaf; larger cells of a large picture have larger letters
SMALLEST_FONT = 7.0
THIN = 2.5  # pixels; a cell that is thinner has no outline
LETTER = 0.6  # width of a letter, in font sizes
MOST = 4000.0  # pixels of the longer side, unless it is asked for


@dataclass(frozen=True)
class Cell:
    """The area of a node.

    Parameters
    ----------
    node : int
    level : int
        Distance from the node that is drawn first.
    first, last : float
        Its extent across the tree: 0 is the first leaf's beginning and 1 the last one's end.
    """

    node: int
    level: int
    first: float
    last: float


@dataclass(frozen=True)
class Shape:
    """A cell as it is drawn, in pixels.

    Parameters
    ----------
    points : tuple of (float, float)
        Corners of a polygon.
    fill : str
        Its colour, ``#rrggbb``.
    title : str
        What a browser shows when the mouse is over it.
    label : str
        Text inside of it; empty if there is no room.
    at : (float, float)
        Middle of the text.
    turned : float
        Degrees by which the text is turned, clockwise.
    font : float
        Height of the text in pixels.
    is_thin : bool
        Whether it is too thin for an outline, which would cover it.
    """

    points: tuple[tuple[float, float], ...]
    fill: str
    title: str
    label: str = ""
    at: tuple[float, float] = (0.0, 0.0)
    turned: float = 0.0
    font: float = FONT
    is_thin: bool = False


@dataclass(frozen=True)
class Picture:
    """Shapes, and the size of the paper in pixels."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


def cells_of(tree: WordTree, node: str | int | None = None, depth: int | None = None) -> list[Cell]:
    """Return the cells of a node and of what is below it, in tree order.

    Parameters
    ----------
    tree : WordTree
    node : str or int, optional
        The node to begin at, or its name; without any, all top nodes.
    depth : int, optional
        The number of levels below it; all if it is not given.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> [(cell.node, cell.level, cell.first, cell.last) for cell in cells_of(tree, "animal")]
    [(0, 0, 0.0, 1.0), (2, 1, 0.0, 0.5), (3, 1, 0.5, 1.0)]
    """
    leaves = tree.sum_upwards(tree.child_group < 0).tolist()
    roots = tree.top_nodes if node is None else (tree.node(node),)
    whole = sum(leaves[root] for root in roots)
    cells: list[Cell] = []
    pending: list[tuple[tuple[int, ...], int, int]] = [(roots, 0, 0)]
    while pending:
        siblings, level, start = pending.pop()
        for sibling in siblings:
            end = start + leaves[sibling]
            cells.append(Cell(sibling, level, start / whole, end / whole))
            if depth is None or level < depth:
                pending.append((tree.children(sibling), level + 1, start))
            start = end
    return sorted(cells, key=lambda cell: cell.node)


def colour(middle: float, level: int) -> str:
    """Return a cell's colour, ``#rrggbb``: things that are close in the tree have hues that are close.

    Parameters
    ----------
    middle : float
        The middle of the cell's extent, 0 to 1.
    level : int
        Deeper cells are lighter.

    Examples
    --------
    >>> colour(0.0, 0), colour(0.5, 3)
    ('#dea49c', '#a9e2c7')
    """
    import colorsys

    # as far as violet, for the circle would join the last to the first
    light = min(0.9, 0.74 + 0.012 * level)
    red, green, blue = colorsys.hls_to_rgb(0.02 + 0.8 * middle, light, 0.5)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def draw_tree(
    tree: WordTree,
    node: str | int | None = None,
    *,
    form: Form = "icicle",
    depth: int | None = None,
    size: float | None = None,
) -> Picture:
    """Draw a node and what is below it.

    Parameters
    ----------
    tree : WordTree
    node : str or int, optional
        The node to begin at, or its name; without any, the whole tree.
    form : {"icicle", "radial"}
        Levels from left to right, or rings from the middle to the outside.
    depth : int, optional
        The number of levels below the node; all if it is not given.
    size : float, optional
        Height of an icicle, or side of rings, in pixels. Without it there is room for the label of every leaf, up to
        4,000 pixels. A label that has no room is left out; in SVG every cell still says its name under the mouse.

    Returns
    -------
    Picture

    Raises
    ------
    NameResolutionError
        If the name leads to no node, or to several.
    TreeError
        If there is no such form, or the size is no positive number.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> picture = draw_tree(tree)
    >>> [shape.label for shape in picture.shapes], picture.width, picture.height
    (['animal', 'dog', 'cat'], 128.0, 60.0)
    """
    if form not in get_args(Form):
        raise TreeError(f"`form` {form}: one of {', '.join(get_args(Form))} is needed")
    if size is not None and not 16 <= size <= 30_000:
        raise TreeError(f"`size` {size:g}: 16 to 30,000 pixels are needed")
    cells = cells_of(tree, node, depth)
    below = count_below(tree)
    titles = {cell.node: _title(tree, cell.node, int(below[cell.node])) for cell in cells}
    return (_icicle if form == "icicle" else _rings)(tree, cells, titles, size)


def _icicle(tree: WordTree, cells: list[Cell], titles: dict[int, str], size: float | None) -> Picture:
    thinnest = min(cell.last - cell.first for cell in cells)
    height = size or min(MOST, max(4 * ROW, round(ROW / thinnest)))
    largest = _largest_font(height)
    columns = [COLUMN[0]] * (1 + max(cell.level for cell in cells))
    for cell in cells:
        font = min(largest, 0.85 * height * (cell.last - cell.first))
        if font >= SMALLEST_FONT:
            wanted = LETTER * font * len(tree.names[cell.node]) + 12
            columns[cell.level] = max(columns[cell.level], min(COLUMN[1], math.ceil(wanted)))
    begins = [sum(columns[:level]) for level in range(len(columns))]
    shapes = []
    for cell in cells:
        left, right = begins[cell.level], begins[cell.level] + columns[cell.level]
        top, bottom = cell.first * height, cell.last * height
        if bottom - top < SMALLEST:
            continue
        label, font = _fitted(tree.names[cell.node], right - left, bottom - top, largest)
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        at = ((left + right) / 2, (top + bottom) / 2)
        fill = colour((cell.first + cell.last) / 2, cell.level)
        shapes.append(Shape(corners, fill, titles[cell.node], label, at, 0.0, font, bottom - top < THIN))
    return Picture(sum(columns), height, tuple(shapes))


def _rings(tree: WordTree, cells: list[Cell], titles: dict[int, str], size: float | None) -> Picture:
    levels = 1 + max(cell.level for cell in cells)
    hole = 0.0 if sum(cell.level == 0 for cell in cells) == 1 else 0.5  # in rings
    thinnest = min(cell.last - cell.first for cell in cells)
    side = size or min(MOST, max(2 * RING * (levels + hole), ROW / thinnest / math.pi))
    ring = side / 2 / (levels + hole)
    largest = _largest_font(side)
    shapes = []
    for cell in cells:
        middle = (hole + cell.level + 0.5) * ring
        if 2 * math.pi * middle * (cell.last - cell.first) >= SMALLEST:
            shapes.append(_arc(tree.names[cell.node], cell, hole * ring, ring, largest, titles[cell.node]))
    # the deepest levels leave corners empty
    left, top = (min(point[axis] for shape in shapes for point in shape.points) - 2 for axis in (0, 1))
    right, bottom = (max(point[axis] for shape in shapes for point in shape.points) + 2 for axis in (0, 1))
    return Picture(right - left, bottom - top, tuple(_moved(shape, -left, -top) for shape in shapes))


def _moved(shape: Shape, x: float, y: float) -> Shape:
    points = tuple((px + x, py + y) for px, py in shape.points)
    return replace(shape, points=points, at=(shape.at[0] + x, shape.at[1] + y))


def _largest_font(side: float) -> float:
    return FONT * max(1.0, min(2.4, math.sqrt(side / 1000)))


def _title(tree: WordTree, node: int, below: int) -> str:
    counted = f", {below:,} below" if below else ""
    return f"{tree.names[node]} ({tree.synsets[node] or tree.wnids[node]}){counted}"


def _fitted(text: str, length: float, across: float, largest: float) -> tuple[str, float]:
    """The text, cut if it must be, and its font size, for an area of this length; no text where it would be too small.

    Examples
    --------
    >>> _fitted("dog", 100, 20, 11), _fitted("Norfolk terrier", 60, 20, 11), _fitted("dog", 100, 4, 11)
    (('dog', 11), ('Norfolk…', 9.35), ('', 7.0))
    """
    font = min(largest, 0.85 * across)
    room = length - 6
    needed = room / (len(text) * LETTER)
    if needed < font:
        font = max(needed, min(font, 0.85 * FONT))
    if font < SMALLEST_FONT:
        return "", SMALLEST_FONT
    most = int(room / (LETTER * font) + 1e-6)
    if len(text) > most:
        text = text[: most - 1].rstrip() + "…" if most >= 4 else ""
    return text, font


def _arc(name: str, cell: Cell, hole: float, ring: float, largest: float, title: str) -> Shape:
    """A cell of a ring, around (0, 0); 0 degrees are at the right, and the first leaf is above."""
    begin, end = 2 * math.pi * cell.first - math.pi / 2, 2 * math.pi * cell.last - math.pi / 2
    near, far = hole + cell.level * ring, hole + (cell.level + 1) * ring
    steps = max(1, math.ceil((end - begin) / math.radians(2)))
    angles = [begin + (end - begin) * step / steps for step in range(steps + 1)]

    def at(radius: float, angle: float) -> tuple[float, float]:
        return radius * math.cos(angle), radius * math.sin(angle)

    corners = [at(far, angle) for angle in angles]
    is_whole, is_disc = end - begin > 2 * math.pi - 1e-9, near < 1e-9
    if not (is_whole and is_disc):
        corners += [at(near, angle) for angle in reversed(angles)]
    middle, radius = (begin + end) / 2, (near + far) / 2
    fill = colour((cell.first + cell.last) / 2, cell.level)
    thin = (end - begin) * radius < THIN
    if is_whole:
        spot = (0.0, 0.0) if is_disc else at(radius, -math.pi / 2)
        label, font = _fitted(name, 1.6 * far, ring, largest)
        return Shape(tuple(corners), fill, title, label, spot, 0.0, font)
    if (end - begin) * radius > 1.6 * ring:  # there is more room along the ring
        label, font = _fitted(name, min((end - begin) * near, 1.5 * far), 0.7 * ring, largest)
        turned = math.degrees(middle) + 90
    else:
        label, font = _fitted(name, ring, (end - begin) * (near + 0.25 * ring), largest)
        turned = math.degrees(middle)
    turned = (turned + 90) % 360 - 90
    turned = turned - 180 if turned > 90 else turned  # never upside down
    return Shape(tuple(corners), fill, title, label, at(radius, middle), turned, font, thin)


def to_svg(picture: Picture) -> str:
    """Return a picture as SVG, without scripts, fonts or images from elsewhere.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0))
    >>> print(to_svg(draw_tree(tree, size=20)))
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 20" width="128" height="20"
      font-family="sans-serif" text-anchor="middle" fill="#222">
    <g stroke="#fff" stroke-width="0.7">
    <path d="M0 0L64 0L64 20L0 20Z" fill="#9cdebe"><title>dog (a), 1 below</title></path>
    <path d="M64 0L128 0L128 20L64 20Z" fill="#a0dfc1"><title>terrier (b)</title></path>
    </g>
    <g pointer-events="none">
    <text x="32" y="13.9" font-size="11">dog</text>
    <text x="96" y="13.9" font-size="11">terrier</text>
    </g>
    </svg>
    """
    width, height = _number(picture.width), _number(picture.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"\n'
        '  font-family="sans-serif" text-anchor="middle" fill="#222">',
        '<g stroke="#fff" stroke-width="0.7">',
    ]
    for shape in picture.shapes:
        way = "L".join(f"{_number(x)} {_number(y)}" for x, y in shape.points)
        line = ' stroke="none"' if shape.is_thin else ""
        lines.append(f'<path d="M{way}Z" fill="{shape.fill}"{line}><title>{escape(shape.title)}</title></path>')
    lines += ["</g>", '<g pointer-events="none">']
    for shape in picture.shapes:
        if not shape.label:
            continue
        x, y = shape.at
        turn = f' transform="rotate({_number(shape.turned)} {_number(x)} {_number(y)})"' if shape.turned else ""
        down = y + 0.355 * shape.font  # from the middle of small letters to their foot
        size = _number(shape.font)
        lines.append(
            f'<text x="{_number(x)}" y="{_number(down)}" font-size="{size}"{turn}>{escape(shape.label)}</text>'
        )
    return "\n".join([*lines, "</g>", "</svg>"])


def to_png(picture: Picture, scale: float = 1.0) -> bytes:
    """Return a picture as a PNG, drawn by matplotlib; `scale` 2 gives twice as many pixels.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0))
    >>> to_png(draw_tree(tree, size=20))[:4]
    b'\\x89PNG'
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    dpi = 100 * scale
    figure = Figure(figsize=(picture.width / 100, picture.height / 100), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    axes.axis("off")
    axes.add_collection(
        PolyCollection(
            [shape.points for shape in picture.shapes],
            facecolors=[shape.fill for shape in picture.shapes],
            edgecolors=[shape.fill if shape.is_thin else "white" for shape in picture.shapes],
            linewidths=[0.1 if shape.is_thin else 0.5 for shape in picture.shapes],
        )
    )
    for shape in picture.shapes:
        if shape.label:
            axes.text(
                *shape.at,
                shape.label.replace("$", r"\$"),  # or matplotlib reads a formula
                fontsize=shape.font * 0.72,
                color="#222222",
                ha="center",
                va="center_baseline",
                rotation=-shape.turned,
                rotation_mode="anchor",
            )
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def save_picture(picture: Picture, path: str | Path, *, force: bool = False) -> None:
    """Write a picture as ``.svg`` or ``.png``.

    Raises
    ------
    TreeError
        If the file ends in something else.
    FileExistsError, OSError
        As `save_tree`.
    """
    path = Path(path)
    check_picture(path)
    content = to_svg(picture).encode() + b"\n" if path.suffix.lower() == ".svg" else to_png(picture)
    write_new_files({path: content}, force=force)


def check_picture(path: Path) -> None:
    """Raise `TreeError` if a picture could not be written there because of its name."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise TreeError(f"{path}: a picture of a tree ends in .svg or .png")


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
