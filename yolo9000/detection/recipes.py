"""What a classification image teaches: recipes are data.

A classification image (or a region of a mosaic) says *what* is somewhere in it, not *where*. A recipe says which
predicted boxes take the label, with what weight, and what happens to objectness. It never teaches a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image label becomes a loss.

    Parameters
    ----------
    name
        As given to ``--recipe``.
    pick
        The box that takes the label: highest P(label) ("label"), highest objectness x P(label)
        ("objectness_label"), or the largest among those whose objectness exceeds half the region's maximum
        ("largest_confident").
    spread
        Who shares the loss: the picked box only ("picked"), or also every box of the region that overlaps it with
        an IoU above 0.5 ("overlapping").
    weighting
        Among those who share: equal parts, or parts in proportion to objectness. The parts add up to one.
    objectness
        "none": no objectness loss. "floor": the picked box is pulled up to 0.3 if it is below (paper, section 4: a
        box is assumed to overlap the unknown truth by an IoU of at least .3). "background": every box but the picked
        one is pulled to 0 (darknet, region_layer.c).
    class_weight
        Factor on the region's class_scale.
    """

    name: str
    pick: Literal["label", "objectness_label", "largest_confident"]
    spread: Literal["picked", "overlapping"] = "picked"
    weighting: Literal["equal", "objectness"] = "equal"
    objectness: Literal["none", "floor", "background"] = "none"
    class_weight: float = 1.0


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="paper", pick="label", objectness="floor"),
        Recipe(name="darknet", pick="objectness_label", objectness="background"),
        Recipe(name="overlap", pick="largest_confident", spread="overlapping", weighting="objectness"),
    )
}
"""The named recipes; "overlap" is the default of joint training."""


def find_recipe(recipe: str | Recipe) -> Recipe:
    """A recipe by its name; a :class:`Recipe` is returned as it is.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> find_recipe("paper").pick
    'label'
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"recipe: {', '.join(RECIPES)} are known, got {recipe!r}")
    return RECIPES[recipe]
