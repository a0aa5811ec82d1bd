"""What a classification image teaches: recipes are data.

A classification image (or a region of a mosaic) says *what* is somewhere in it, not *where*. A recipe says which
predicted boxes take the label, with what weight, and what happens to objectness. It never teaches a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How image labels become a loss, and how they are mixed with boxes.

    Parameters
    ----------
    name
        By which it is chosen.
    pick
        The box that takes the label: highest P(label) ("label"), highest objectness x P(label)
        ("objectness_label"), the largest among those whose objectness exceeds half the region's maximum
        ("largest_confident"), or the one most like a box of half the region's side in its middle ("centre").
    spread
        Who shares the loss: the picked box only ("picked"), every box of the region that overlaps it with an IoU
        above 0.5 as well ("overlapping"), or all boxes of the region ("everywhere"; the heaviest 32 of them).
    weighting
        Among those who share: equal parts, or parts in proportion to objectness, to its square, or to its square
        times P(label) ("posterior": how probable it is that this box shows the label, with objectness squared as the
        prior; the gradient is that of multiple-instance learning, -log of the sum of prior x P(label) over the boxes).
        The parts add up to one.
    objectness
        "none": no objectness loss. "floor": the picked box is pulled up to 0.3 if it is below (paper, section 4: a
        box is assumed to overlap the unknown truth by an IoU of at least .3). "background": every box but the picked
        one is pulled to 0 (darknet, region_layer.c).
    class_weight
        Factor on the region's class_scale.
    mosaic, ratio
        Probability that a labelled image is a mosaic of four, and labelled images : images with boxes, unless other
        numbers are asked for; None leaves both to the command line's defaults.
    boxes_first
        Whether boxes are trained alone before, unless a number of steps is asked for. It costs what the classifier had
        learnt of the other classes: softmaxes that only see boxes push them down.
    """

    name: str
    pick: Literal["label", "objectness_label", "largest_confident", "centre"]
    spread: Literal["picked", "overlapping", "everywhere"] = "picked"
    weighting: Literal["equal", "objectness", "objectness_squared", "posterior"] = "equal"
    objectness: Literal["none", "floor", "background"] = "none"
    class_weight: float = 1.0
    mosaic: float | None = None
    ratio: tuple[int, int] | None = None
    boxes_first: bool = True

    def __post_init__(self) -> None:
        if not self.class_weight >= 0:
            raise Mistake(f"`class_weight` {self.class_weight}: the weight of image labels is 0 or more")

    @property
    def needs_label_probability(self) -> bool:
        """Whether boxes are picked or weighted by P(label), which is then computed at every box of an image."""
        return self.pick in ("label", "objectness_label") or self.weighting == "posterior"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="paper", pick="label", objectness="floor"),
        Recipe(name="darknet", pick="objectness_label", objectness="background"),
        Recipe(name="overlap", pick="largest_confident", spread="overlapping", weighting="objectness"),
        Recipe(name="max-size", pick="largest_confident"),
        Recipe(name="objectness", pick="largest_confident", spread="everywhere", weighting="objectness_squared"),
        Recipe(
            name="mil",
            pick="objectness_label",
            spread="everywhere",
            weighting="posterior",
            mosaic=0.7,
            ratio=(1, 1),
            boxes_first=False,
        ),
        Recipe(name="constant", pick="centre"),
    )
}
"""The named recipes; benchmarks/joint_training.md compares them."""
DEFAULT_RECIPE = "mil"
"""What joint training does unless another recipe is named."""


def find_recipe(recipe: str | Recipe) -> Recipe:
    """A recipe by its name; a :class:`Recipe` is returned as it is.

    Raises
    ------
    Mistake
        If there is none of that name.

    Examples
    --------
    >>> find_recipe("paper").pick
    'label'
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise Mistake(f"`recipe` {recipe!r}: {', '.join(RECIPES)} are known")
    return RECIPES[recipe]
