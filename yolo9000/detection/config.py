"""What an image label teaches, and how raw output becomes detections: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from yolo9000.runtime.mistakes import Mistake

Nms = Literal["tree", "class", "all"]


@dataclass(frozen=True, kw_only=True)
class ImageLabels:
    """How an image label becomes a loss; the defaults are the recipe ``mil``.

    An image with a label (or an area of a mosaic) says *what* is somewhere in it, not *where*. These fields say which
    predicted boxes take the label, with what weight, and what happens to objectness. An image label never teaches a
    box.

    Parameters
    ----------
    pick : str
        The box that takes the label: the highest P(label) ("label"), the highest objectness x P(label)
        ("objectness_label"), the largest among those whose objectness exceeds half the area's maximum
        ("largest_confident"), or the one most like a box of half the area's side in its middle ("centre").
    spread : str
        Which boxes share the loss: the picked one only ("picked"), also every box of the area that overlaps it with
        an IoU above 0.5 ("overlapping"), or all boxes of the area ("everywhere"; the heaviest 32 of them).
    weighting : str
        How those boxes share the loss: in equal parts, in proportion to objectness, to its square, or to its square
        times P(label) ("posterior"). With "posterior" a part is how probable it is that this box shows the label,
        and the gradient is that of multiple-instance learning, -log of the sum of objectness^2 x P(label) over the
        boxes. The parts add up to one.
    objectness : str
        What the label does to objectness: nothing ("none"); pull the picked box up to 0.3 if it is below ("floor":
        paper, section 4, a box is assumed to overlap the unknown truth by an IoU of at least .3); or pull every box
        but the picked one to 0 ("background": darknet, region_layer.c).
    weight : float
        Factor on the loss of image labels, beside the region's own scale of class losses.
    unboxed_weight : float
        How much a class without boxes counts among the siblings of a box's label, in joint training. With 1 a box
        teaches "none of these" of all its siblings alike (darknet), so classes that no box shows are only ever pushed
        down there. With 0 it says nothing of them: boxes tell apart the classes that have boxes, and image labels,
        which show all of them, the rest. A node above labels of both kinds counts with their mean.
    """

    pick: Literal["label", "objectness_label", "largest_confident", "centre"] = "objectness_label"
    spread: Literal["picked", "overlapping", "everywhere"] = "everywhere"
    weighting: Literal["equal", "objectness", "objectness_squared", "posterior"] = "posterior"
    objectness: Annotated[Literal["none", "floor", "background"], arg(name="label-objectness")] = "none"
    weight: Annotated[float, arg(name="label-weight", metavar="W")] = 1.0
    unboxed_weight: Annotated[float, arg(metavar="W")] = 0.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise Mistake(f"`weight` {self.weight}: the weight of image labels is at least 0")
        if not 0 <= self.unboxed_weight <= 1:
            raise Mistake(f"`unboxed_weight` {self.unboxed_weight}: a number from 0 to 1 is needed")

    @property
    def needs_label_probability(self) -> bool:
        """Whether boxes are picked or weighted by P(label), which is then computed at every box of an image."""
        return self.pick in ("label", "objectness_label") or self.weighting == "posterior"


RECIPES: dict[str, ImageLabels] = {
    "mil": ImageLabels(),
    "paper": ImageLabels(
        pick="objectness_label", spread="picked", weighting="equal", objectness="floor", unboxed_weight=1.0
    ),
    "paper-literal": ImageLabels(
        pick="label", spread="picked", weighting="equal", objectness="floor", unboxed_weight=1.0
    ),
    "darknet": ImageLabels(
        pick="objectness_label", spread="picked", weighting="equal", objectness="background", unboxed_weight=1.0
    ),
    "overlap": ImageLabels(pick="largest_confident", spread="overlapping", weighting="objectness", unboxed_weight=1.0),
    "max-size": ImageLabels(pick="largest_confident", spread="picked", weighting="equal", unboxed_weight=1.0),
    "objectness": ImageLabels(
        pick="largest_confident", spread="everywhere", weighting="objectness_squared", unboxed_weight=1.0
    ),
    "constant": ImageLabels(pick="centre", spread="picked", weighting="equal", unboxed_weight=1.0),
}
"""What an image label teaches, by name.

``paper`` is the fair reading of section 4: objectness is P(physical object), so the box that "predicts the highest
probability for that class" is the one of the highest objectness x P(label), as the authors' code picks it. The
sentence read alone, the highest P(label), is ``paper-literal``. ``darknet`` is the code at its published commit.
"""
DEFAULT_RECIPE = "mil"
"""What joint training does unless another recipe is named."""


def find_recipe(recipe: str | ImageLabels) -> ImageLabels:
    """What a recipe teaches, by its name; an `ImageLabels` is returned as it is.

    Parameters
    ----------
    recipe : str or ImageLabels

    Returns
    -------
    ImageLabels

    Raises
    ------
    Mistake
        There is none of that name.

    Examples
    --------
    >>> find_recipe("paper").pick
    'objectness_label'
    """
    if isinstance(recipe, ImageLabels):
        return recipe
    if recipe not in RECIPES:
        raise Mistake(f"`recipe` {recipe!r}: {', '.join(RECIPES)} are known")
    return RECIPES[recipe]


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How raw output becomes detections.

    Parameters
    ----------
    threshold : float
        Least score of a box: objectness (how sure the net is that there is a thing) times P(label).
    tree_threshold : float
        How sure it must be of what the thing is before the label goes one step deeper in the tree. At 0.5 a label is
        the deepest node that is more probable than not; higher answers more often "some kind of dog".
    nms : str
        Which pairs of boxes with an IoU above `nms_iou` are one object, so that the lower score is dropped: those
        whose labels are the same, one the other's ancestor, or siblings ("tree"); those of the same label ("class",
        darknet); or every pair ("all").
    nms_iou : float
        The overlap from which on two boxes can be one object (darknet: 0.45).
    max_detections : int
        Most boxes of one image.

    Raises
    ------
    Mistake
        A threshold is no probability, or no detection is asked for.
    """

    threshold: Annotated[float, arg(metavar="P")] = 0.24
    tree_threshold: Annotated[float, arg(metavar="P")] = 0.5
    nms: Nms = "tree"
    nms_iou: Annotated[float, arg(metavar="IOU")] = 0.45
    max_detections: Annotated[int, arg(metavar="N")] = 100

    def __post_init__(self) -> None:
        for name in ("threshold", "tree_threshold", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise Mistake(f"`{name}` {getattr(self, name)}: a number from 0 to 1 is needed")
        if self.max_detections < 1:
            raise Mistake(f"`max_detections` {self.max_detections}: at least 1 is needed")
