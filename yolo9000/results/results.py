"""`Results`: what was found in one image, and what can be asked of it.

N boxes.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wordtree import WordTree
from wordtree.distribution import Explanation, Factor, explanation
from yolo9000.models.class_names import find_class
from yolo9000.models.classes import Classes
from yolo9000.results import formats
from yolo9000.results.boxes import Boxes, Path, paths_of
from yolo9000.results.drawing import draw_results
from yolo9000.results.file_names import is_written, picture_suffix
from yolo9000.results.kept import KeptBoxes
from yolo9000.results.notebook import as_html
from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """What was found in one image: N boxes, the best score first.

    Three numbers belong to a box. Its objectness says how sure the net is that there is a thing; P(label) says how sure
    it is that the thing is that, if there is one. The score is their product: it is what `threshold` cuts, and the
    number that is drawn and saved. All that is asked by name, such as `prob`, is a P given that there is a thing.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
        RGB, upright.
    path : str
        The name of the image: its file, or what stands for it.
    boxes : Boxes
        Places and numbers.
    nodes : (N,) int64 array
        The label of each box: a node of the tree, or a class of a net without one.
    paths : tuple of Path
        For each box the way down the tree to its label, with the probability of each node.
    classes : Classes
        What the labels mean.
    threshold : float
        Boxes of a lower score were not kept.
    never_boxed : frozenset of int
        Labels that had no box in training.
    kept : KeptBoxes, optional
        What answers for other labels. Without it (an exported net that decodes inside) only what `paths` hold can be
        asked.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> from yolo9000.results.boxes import Step
    >>> numbers = np.array([0.9, 0.5], np.float32)
    >>> boxes = Boxes(np.array([[0, 0, 9, 9], [2, 2, 4, 6]], np.float32), numbers, numbers, numbers**2)
    >>> paths = tuple(Path([Step(node, name, 0.9)]) for node, name in enumerate(["dog", "cat"]))
    >>> grey = np.full((48, 64, 3), 127, np.uint8)
    >>> found = Results(grey, "a.jpg", boxes, np.arange(2), paths, FlatClasses(2, names=("dog", "cat")))
    >>> found
    <Results: a.jpg, 64 x 48, 2 boxes: dog 0.81, cat 0.25>
    >>> found.above(0.3).labels, found[1].boxes.xywh.tolist()
    (('dog',), [[3.0, 4.0, 2.0, 4.0]])
    """

    image: NDArray[np.uint8]
    path: str
    boxes: Boxes
    nodes: NDArray[np.int64]
    paths: tuple[Path, ...]
    classes: Classes
    threshold: float = 0.0
    never_boxed: frozenset[int] = frozenset()
    kept: KeptBoxes | None = None

    # ------------------------------------------------------------------------------------------------- as a sequence

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, rows: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Results:
        """Some of the boxes: a number, a slice, several numbers, or a mask."""
        if isinstance(rows, str):
            raise TypeError(f"{rows!r}: rows are numbers, a slice or a mask; where({rows!r}) gives the boxes of a kind")
        which = np.asarray(rows) if isinstance(rows, Sequence) else rows
        if isinstance(which, np.ndarray) and not which.size:
            which = which.astype(np.int64)  # of an empty list NumPy makes floats
        chosen = np.atleast_1d(np.arange(len(self))[which])
        return dataclasses.replace(
            self,
            boxes=self.boxes[chosen],
            nodes=self.nodes[chosen],
            paths=tuple(self.paths[row] for row in chosen),
            kept=None if self.kept is None else self.kept[chosen],
        )

    def __iter__(self) -> Iterator[Results]:
        return (self[row] for row in range(len(self)))

    # ----------------------------------------------------------------------------------------------------- what it is

    @property
    def tree(self) -> WordTree | None:
        """The tree of the labels; None for a net without one."""
        return self.classes.tree

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The name of each box's label."""
        return tuple(self.classes.name(int(node)) for node in self.nodes)

    def __repr__(self) -> str:
        shown = [f"{label} {score:.2f}" for label, score in zip(self.labels[:5], self.boxes.score, strict=False)]
        more = ", .." * (len(self) > 5)
        boxes = f"{len(self)} box{'es' * (len(self) != 1)}{': ' * bool(shown)}{', '.join(shown)}{more}"
        return f"<Results: {self.path}, {self.size[0]} x {self.size[1]}, {boxes}>"

    def __str__(self) -> str:
        """A table of the boxes, as ``print`` shows it."""
        lines = [f"{self.path} ({self.size[0]} x {self.size[1]})"]
        for row in range(len(self)):
            numbers = (
                f"{self.boxes.score[row]:.2f} = {self.boxes.objectness[row]:.2f} * {self.boxes.probability[row]:.2f}"
            )
            corners = " ".join(f"{value:.0f}" for value in self.boxes.xyxy[row])
            lines.append(f"{row:3}  {self.labels[row]}  score {numbers}  at {corners}  {self.paths[row]}")
        return "\n".join(lines) if len(self) else f"{lines[0]}: nothing"

    # ------------------------------------------------------------------------------------------------------- questions

    def prob(self, name: str | int) -> NDArray[np.float64]:
        """P(node) of every box, for any node of the tree, given that there is a thing.

        It is computed now, from what was kept of each box, and reads the sibling groups on the path to the node.

        Parameters
        ----------
        name : str or int
            A node, or its name, wnid, synset, or the name that a data set has for it.

        Returns
        -------
        (N,) float64 array

        Raises
        ------
        wordtree.UnknownName, wordtree.AmbiguousName
            The message lists candidates.
        Mistake
            Nothing was kept, and the node is not on the path of every box.

        Examples
        --------
        ``found.prob("dog") * found.boxes.objectness`` is the score that the boxes would have as dogs.
        """
        product: NDArray[np.float64] = self._conditionals(find_class(self.classes, name)).prod(axis=1)
        return product

    def probs(self) -> NDArray[np.float64]:
        """P of every node, (N, K): of 9,418 nodes 75 KB a box, where `prob` computes one column."""
        return self._answering().probabilities()

    def explain(self, box: int, name: str | int | None = None) -> Explanation:
        """Why a box has the probability that it has for a name: the choices on the way down the tree to it.

        Parameters
        ----------
        box : int
            The row of the box.
        name : str or int, optional
            As for `prob`; the label of the box by default.

        Returns
        -------
        wordtree.Explanation
            It prints as a product, such as ``Pr(terrier|dog)=0.80 * Pr(dog|animal)=0.90 = 0.72``.

        Raises
        ------
        IndexError
            There is no such box.
        wordtree.UnknownName, wordtree.AmbiguousName, Mistake
            As for `prob`.
        """
        if isinstance(box, str):
            raise TypeError(f"explain: {box!r}: the row of a box comes first, as in explain(0, {box!r})")
        if not -len(self) <= box < len(self):
            raise IndexError(f"box {box}: there are {len(self)} boxes")
        box %= len(self)
        node = int(self.nodes[box]) if name is None else find_class(self.classes, name)
        conditionals = self[box]._conditionals(node)[0].tolist()
        if self.tree is None:
            return Explanation((Factor(node, self.classes.name(node), None, conditionals[0]),), conditionals[0])
        return explanation(self.tree, self.tree.path(node), conditionals)

    def where(self, name: str | int, threshold: float = 0.5) -> Results:
        """The boxes that are things of some kind, whatever their labels: those whose P(node) is above a threshold.

        Their labels stay as they are. ``found.where("vehicle.n.01", 0.3)`` holds cars and trucks, and boxes of which
        the net only knew that they are artefacts, if P(vehicle) is above .3.
        """
        return self[self.prob(name) > _probability(threshold, "threshold")]

    # ------------------------------------------------------------------------------------------------ other thresholds

    def above(self, threshold: float) -> Results:
        """The boxes whose score is above another threshold, which must not be lower than that of the prediction."""
        if _probability(threshold, "threshold") < self.threshold:
            raise Mistake(
                f"`threshold` {threshold}: boxes below {self.threshold} were not kept; predict with a lower one"
            )
        return dataclasses.replace(self[self.boxes.score > threshold], threshold=threshold)

    def relabel(self, tree_threshold: float) -> Results:
        """The same boxes with other labels: the deepest node of each that is more probable than another threshold.

        The rows stay where they are, so row i is still the same box, and the scores are those of the new labels. No box
        is added or dropped: to cut them by their new scores, ask `above` afterwards.
        """
        nodes, along = self._answering().label(_probability(tree_threshold, "tree_threshold"))
        return self._labelled(paths_of(self.classes, nodes.tolist(), along))

    def at_depth(self, depth: int) -> Results:
        """The same boxes named at one depth of the tree, be the net sure of it or not.

        Parameters
        ----------
        depth : int
            0 is the top. Each box is named by the best child of the best child, and so on, of that depth; by a leaf
            above it where the tree ends earlier. A small depth makes labels more general.

        Returns
        -------
        Results
            The rows stay where they are, and the scores are those of the new labels.

        Raises
        ------
        Mistake
            The depth is negative, or the net has no tree.
        """
        if self.tree is None:
            raise Mistake("at_depth: the net has no tree; its classes stand side by side")
        if depth < 0:
            raise Mistake(f"at_depth: `depth` {depth}: the top has depth 0")
        paths = self.paths
        if any(len(path) <= depth and self.tree.children(path[-1].node) for path in paths):
            nodes, along = self._answering().label(0.0)
            paths = paths_of(self.classes, nodes.tolist(), along)
        return self._labelled(tuple(Path(path[: depth + 1]) for path in paths))

    # ---------------------------------------------------------------------------------------------- pictures and files

    def plot(self, *, path: bool = False, text_size: int | None = None, enlarge: bool = True) -> NDArray[np.uint8]:
        """The image with its boxes and labels drawn on it: (H, W, 3) uint8 in RGB.

        The number beside a name is the score. A star and a broken line mark classes that never had a box in training.

        Parameters
        ----------
        path : bool
            Below each name also the way up the tree, with the probability of each node.
        text_size : int, optional
            Height of the letters in pixels; by default it follows the size of the picture.
        enlarge : bool
            Enlarge a very small picture, so that labels can be read.
        """
        return np.asarray(draw_results(self, path=path, text_size=text_size, enlarge=enlarge))

    def save(self, file: str | os.PathLike[str], **options: Any) -> None:
        """Write the picture that `plot` draws; the suffix says in which format, such as ``.jpg`` or ``.png``.

        Raises
        ------
        Mistake
            The suffix is that of no format that coloured pictures are written in, or the picture is too long for a
            JPEG.
        FileExistsError
            It is the image itself, which is never written over. Any other file is.
        """
        out = pathlib.Path(file)
        if out.exists() and pathlib.Path(self.path).exists() and out.samefile(self.path):
            raise FileExistsError(f"{out}: is the image itself and is not written over; name another file")
        if not is_written(out.suffix):
            raise Mistake(f"`file` {out}: no picture's format ends in {out.suffix or 'nothing'}; take .jpg or .png")
        quality: dict[str, Any] = {"quality": 95} if out.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
        picture = Image.fromarray(self.plot(**options))
        if out.suffix.lower() in (".jpg", ".jpeg") and picture_suffix(picture) != "jpg":
            raise Mistake(f"`file` {out}: {picture.width} x {picture.height} pixels are too long for a JPEG; take .png")
        picture.save(out, **quality)

    def save_crops(self, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
        """Cut the boxes out, each into a folder of its label: ``FOLDER/dog/photo-1.jpg``."""
        return formats.save_crops(self, pathlib.Path(folder))

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``predictions.json`` holds them; see `yolo9000.results.formats.to_json`."""
        return formats.to_json(self)

    def to_coco(self) -> dict[str, Any]:
        """A data set in COCO's format with scores; `yolo9000.results.formats.to_coco` makes one of several images."""
        return formats.to_coco(self)

    def to_txt(self) -> str:
        """YOLO's text: a line ``class cx cy w h score`` for each box."""
        return formats.to_txt(self)

    def to_csv(self) -> str:
        """A table as text, with a line for each box."""
        return formats.to_csv(self)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each box; needs pandas."""
        return formats.to_pandas(self)

    def to_supervision(self) -> Any:
        """A ``supervision.Detections``; needs supervision."""
        return formats.to_supervision(self)

    def to_fiftyone(self) -> Any:
        """A ``fiftyone.Detections``; needs FiftyOne."""
        return formats.to_fiftyone(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture, and a table of the boxes."""
        return as_html(self)

    # -------------------------------------------------------------------------------------------------------- internal

    def _labelled(self, paths: tuple[Path, ...]) -> Results:
        probability = np.array([path[-1].probability for path in paths], np.float32)
        boxes = dataclasses.replace(self.boxes, probability=probability, score=self.boxes.objectness * probability)
        nodes = np.array([path[-1].node for path in paths], np.int64)
        return dataclasses.replace(self, boxes=boxes, nodes=nodes, paths=paths)

    def _answering(self) -> KeptBoxes:
        if self.kept is None:
            raise Mistake(
                "the net decodes inside, so these results hold the paths to their labels and nothing else; "
                "export it with raw outputs, or predict with the run itself"
            )
        return self.kept

    def _conditionals(self, node: int) -> NDArray[np.float64]:
        """P(child | parent) on the path to a node, of each box: (N, D)."""
        if not len(self):
            return np.ones((0, 1))
        if self.kept is None and all(node in (step.node for step in path) for path in self.paths):
            cut = [[step.probability for step in path][: len(self.classes.path(node)) or 1] for path in self.paths]
            along = np.array(cut, np.float64).reshape(len(cut), -1)
            before = np.concatenate([np.ones((len(cut), 1)), along[:, :-1]], axis=1)
            conditionals: NDArray[np.float64] = along / before
            return conditionals
        return self._answering().conditionals(node)


def _probability(value: float, name: str) -> float:
    if not isinstance(value, float | int | np.number) or not 0 <= value <= 1:
        raise Mistake(f"`{name}` {value}: a number from 0 to 1 is needed")
    return float(value)
