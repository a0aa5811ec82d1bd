"""Which images and boxes of a batch a loss that is not finite comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.training.phases import Loss


@dataclass(frozen=True)
class Culprit:
    """An image whose loss is not finite, and why as far as that is known.

    Parameters
    ----------
    image : int
        Its number in the batch.
    why : str
        The terms that are not finite, or what is wrong with the image.
    boxes : tuple of int
        Those of its boxes that bring it about, each alone; empty if it is the image itself or its label.
    """

    image: int
    why: str
    boxes: tuple[int, ...] = ()


def not_finite(terms: Mapping[str, Tensor]) -> list[str]:
    """The names of the terms that are not finite.

    Examples
    --------
    >>> not_finite({"box": torch.tensor(1.0), "class": torch.tensor(float("nan"))})
    ['class']
    """
    return [name for name, term in terms.items() if not bool(torch.isfinite(term).all())]


def find_culprits(
    net: Callable[[Tensor], Any], loss: Loss, images: Tensor, targets: Sequence[Any], images_seen: int
) -> list[Culprit]:
    """Look for the images behind a loss that is not finite: in pixels, boxes, what the net answers, and the loss.

    Parameters
    ----------
    net : callable
        Images -> what `loss` reads.
    loss : Loss
    images : Tensor (B, 3, S, S)
        Floats.
    targets : sequence
        One an image; the boxes of a `Target` are looked at one by one.
    images_seen : int

    Returns
    -------
    list of Culprit
        Empty where each image alone has a finite loss.

    Examples
    --------
    >>> def loss(output, targets, images_seen):
    ...     return {"log": sum(torch.log(row.mean() - target) for row, target in zip(output, targets))}
    >>> find_culprits(torch.clone, loss, torch.ones(3, 3, 2, 2), [0.0, 2.0, 0.5], 3)
    [Culprit(image=1, why='log', boxes=())]
    """
    found = [
        Culprit(number, "pixels that are not finite")
        for number, image in enumerate(images)
        if not bool(torch.isfinite(image).all())
    ]
    for number, target in enumerate(targets):
        if isinstance(target, Target):
            wrong = (~torch.isfinite(target.boxes_cxcywh).all(-1)).nonzero().flatten().tolist()
            found += [Culprit(number, "numbers that are not finite", tuple(wrong))] if wrong else []
    if found:
        return found
    with torch.no_grad():
        output = net(images)
        if found := [Culprit(i, "the net's answer to it") for i in _bad_answers(output)]:
            return found
        for number, target in enumerate(targets):
            if why := not_finite(_alone(loss, output, targets, number, target, images_seen)):
                boxes = tuple(
                    box
                    for box, only in _single_boxes(target)
                    if set(not_finite(_alone(loss, output, targets, number, only, images_seen))) & set(why)
                )
                found.append(Culprit(number, ", ".join(why), boxes))
    # where every image is named, none is
    return found if len(found) < len(targets) or len(targets) == 1 else []


def _bad_answers(output: Any) -> list[int]:
    numbers = output if isinstance(output, Tensor) else torch.cat(
        [output.objectness.flatten(1), output.boxes_cxcywh.flatten(1)], 1
    )  # fmt: skip
    bad: list[int] = (~torch.isfinite(numbers.flatten(1)).all(1)).nonzero().flatten().tolist()
    return bad if len(bad) < len(numbers) else []  # batch norms spread what one image has


_NO_BOXES = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def _alone(
    loss: Loss, output: Any, targets: Sequence[Any], number: int, target: Any, images_seen: int
) -> dict[str, Tensor]:
    """The loss of one image alone: the others are cut off, or have no boxes where an output cannot be cut."""
    if isinstance(output, Tensor):
        return loss(output[number : number + 1], [target], images_seen)
    return loss(output, [target if i == number else _NO_BOXES for i in range(len(targets))], images_seen)


def _single_boxes(target: Any) -> Iterable[tuple[int, Any]]:
    if not isinstance(target, Target):
        return []
    return [
        (box, dataclasses.replace(target, boxes_cxcywh=target.boxes_cxcywh[[box]], labels=target.labels[[box]]))
        for box in range(len(target.labels))
    ]


def describe(culprits: Sequence[Culprit], targets: Sequence[Any], keys: Sequence[str]) -> str:
    """Name images and boxes for a person.

    Examples
    --------
    >>> target = Target(torch.tensor([[0.5, 0.5, 0.0, 0.2]]), torch.tensor([3]))
    >>> describe([Culprit(0, "box", (0,))], [target], ["a.jpg"])
    'a.jpg (box), box 0 of label 3 at 0.5 0.5 0 0.2'
    """
    if not culprits:
        shown = ", ".join(keys[:3]) + f" and {len(keys) - 3} more" * (len(keys) > 3)
        return f"no image alone brings it about; they were {shown}"
    said = []
    for each in culprits[:5]:
        text = f"{keys[each.image]} ({each.why})"
        for box in each.boxes[:3]:
            place = " ".join(f"{number:.4g}" for number in targets[each.image].boxes_cxcywh[box].tolist())
            text += f", box {box} of label {int(targets[each.image].labels[box])} at {place}"
        said.append(text)
    return "; ".join(said) + f"; and {len(culprits) - 5} more" * (len(culprits) > 5)
