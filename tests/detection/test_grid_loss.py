"""YOLOv1's loss: typed by hand on a grid of 2 x 2, a loop twin on random cases, and darknet's own numbers."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.datasets.sample import Placement, Record
from yolo9000.datasets.transforms import target_in_input
from yolo9000.detection import Target, yolov1_loss
from yolo9000.detection.grid_targets import pack_grid_targets
from yolo9000.models import FlatClasses, GridLossConfig, GridOutput, GridSpec
from yolo9000.runtime.mistakes import Mistake

GOLDEN = Path(__file__).parents[1] / "golden"
spec = importlib.util.spec_from_file_location("yolov1_twin", Path(__file__).parent / "yolov1_twin.py")
assert spec is not None
assert spec.loader is not None
twin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(twin)

TWO = GridSpec(classes=FlatClasses(2, "linear"))  # two classes, two predictors, roots, the paper's constants

# cell by cell: row 0 column 0, row 0 column 1, row 1 column 0, row 1 column 1
CLASSES = [0.2, 0.7, 0.5, 0.5, 9.0, 9.0, 9.0, 9.0]
CONFIDENCES = [0.8, 0.3, 0.4, 0.2, 0.1, -0.2, 0.0, 0.5]
BOXES = [
    [0.6, 0.5, 0.6, 0.5], [0.5, 0.5, 0.1, 0.1],  # the first overlaps the truth by .694, the second by .0016
    [2.5, 0.5, 0.1, 0.1], [1.5, 0.5, 0.1, 0.1],  # neither meets the truth; the second is nearer
    [7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0],
    [7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0],
]  # fmt: skip
RAW = torch.tensor([[*CLASSES, *CONFIDENCES, *itertools.chain(*BOXES)]])
TRUTH = Target(torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.75, 0.25, 0.16, 0.04]]), torch.tensor([1, 0]))


def values(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: term.item() for name, term in terms.items()}


def test_equation_3_as_it_is_printed() -> None:
    # Truth 1: in cell 0 at (.5, .5), roots (.5, .5). Predictor 0 has w .36 and h .25 around it, so IoU = .0625 / .09.
    #   box (.5 - .6)^2 + 0 + (.5 - .6)^2 + 0 = .02; confidence (.0625/.09 - .8)^2 = .0111420
    # Truth 2: in cell 1 at (.5, .5), roots (.4, .2). No box meets it: the first predictor answers, IoU 0.
    #   box (.5 - 2.5)^2 + 0 + (.4 - .1)^2 + (.2 - .1)^2 = 4.10; confidence (0 - .4)^2 = .16
    # background: cell 0 .3^2, cell 1 .2^2, cells 2 and 3 .1^2 + .2^2 + 0 + .5^2: .09 + .04 + .30 = .43
    # classes: (0 - .2)^2 + (1 - .7)^2 = .13 and (1 - .5)^2 + (0 - .5)^2 = .5
    expected = {"box": 5 * 4.12, "objectness": 0.0111420 + 0.16, "background": 0.5 * 0.43, "class": 0.63}
    assert values(yolov1_loss(RAW, [TRUTH], TWO, form="paper")) == pytest.approx(expected, rel=1e-5)


def test_what_darknet_does() -> None:
    # Of cell 1 the second predictor answers, which is nearer:
    #   box (.5 - 1.5)^2 + 0 + (.4 - .1)^2 + (.2 - .1)^2 = 1.10; confidence (0 - .2)^2 = .04; background .4^2
    # and everything is halved.
    expected = {"box": 2.5 * 1.12, "objectness": 0.5 * 0.0511420, "background": 0.25 * 0.55, "class": 0.5 * 0.63}
    assert values(yolov1_loss(RAW, [TRUTH], TWO, form="darknet")) == pytest.approx(expected, rel=1e-5)
    assert values(yolov1_loss(RAW, [TRUTH], TWO)) == pytest.approx(expected, rel=1e-5)  # the default of the spec


def test_the_specs_form_is_the_default() -> None:
    paper = replace(TWO, loss=GridLossConfig(form="paper"))
    assert values(yolov1_loss(GridOutput(RAW, paper), [TRUTH], paper))["box"] == pytest.approx(20.6)


def test_forced_chooses_by_size() -> None:
    """Both truths are below a tenth of the image, so predictor 1 answers: (.5-.5)^2, (.5-.1)^2 twice; and 1.10."""
    forced = replace(TWO, loss=GridLossConfig(forced=True))
    assert values(yolov1_loss(RAW, [TRUTH], forced))["box"] == pytest.approx(2.5 * (0.32 + 1.10))
    large = Target(torch.tensor([[0.25, 0.25, 0.36, 0.36]]), torch.tensor([1]))  # .1296: predictor 0
    assert values(yolov1_loss(RAW, [large], forced))["box"] == pytest.approx(
        2.5 * (0.01 + 0.01)
    )  # x, and the root of h


def test_without_rescore_a_confidence_is_taught_1() -> None:
    certain = replace(TWO, loss=GridLossConfig(rescore=False))
    expected = 0.5 * (0.2**2 + 0.8**2)  # (1 - .8)^2 of cell 0, (1 - .2)^2 of cell 1
    assert values(yolov1_loss(RAW, [TRUTH], certain))["objectness"] == pytest.approx(expected)


def test_an_object_of_no_class_pulls_all_classes_to_nothing() -> None:
    for label in (-1, 2, 999_999):
        target = Target(TRUTH.boxes_cxcywh[:1], torch.tensor([label]))
        terms = values(yolov1_loss(RAW, [target], TWO, form="paper"))
        assert terms["class"] == pytest.approx(0.2**2 + 0.7**2)
        assert terms["box"] == pytest.approx(5 * 0.02)
    soft = replace(TWO, classes=FlatClasses(2, "softmax"))
    raw = RAW.clone().requires_grad_()
    yolov1_loss(raw, [target], soft, form="darknet")["class"].backward()
    probability = 1 / (1 + np.exp(0.5))
    assert raw.grad is not None
    assert raw.grad[0, :3].tolist() == pytest.approx([probability, 1 - probability, 0.0])


def test_of_two_truths_in_a_cell_the_first_one_counts() -> None:
    second = torch.tensor([[0.3, 0.4, 0.2, 0.2]])
    both = Target(torch.cat([TRUTH.boxes_cxcywh, second]), torch.tensor([1, 0, 0]))
    for form in ("darknet", "paper"):
        assert values(yolov1_loss(RAW, [both], TWO, form=form)) == values(yolov1_loss(RAW, [TRUTH], TWO, form=form))


@pytest.mark.parametrize("form", ["darknet", "paper"])
@pytest.mark.parametrize("entry", range(4))
def test_a_box_with_nan_in_any_number_is_a_loss_that_is_not_finite(
    entry: int, form: Literal["darknet", "paper"]
) -> None:
    boxes = TRUTH.boxes_cxcywh.clone()
    boxes[0, entry] = float("nan")
    target = Target(boxes, TRUTH.labels)
    assert not np.isfinite(values(yolov1_loss(RAW, [target], TWO, form=form))["box"])


def test_darknet_drops_what_is_small_and_the_paper_does_not() -> None:
    """Such a box takes no cell either: the next one in its cell counts."""
    small = torch.tensor([[0.25, 0.25, 0.004, 0.25]])
    target = Target(torch.cat([small, TRUTH.boxes_cxcywh]), torch.tensor([0, 1, 0]))
    assert values(yolov1_loss(RAW, [target], TWO)) == values(yolov1_loss(RAW, [TRUTH], TWO))
    alone = values(yolov1_loss(RAW, [Target(small, torch.tensor([0]))], TWO, form="paper"))
    assert alone["class"] == pytest.approx(0.8**2 + 0.7**2)


def test_without_roots_equation_3_takes_those_of_the_predictions() -> None:
    plain = replace(TWO, num=1, square_root=False)
    raw = torch.zeros(1, 2, 2, 7)[0].flatten()[None]  # 28 numbers: 8 classes, 4 confidences, 4 boxes
    raw[0, 12:16] = torch.tensor([0.5, 0.5, 0.04, -0.25])  # the signed roots are .2 and -.5
    raw.requires_grad_()
    truth = Target(torch.tensor([[0.25, 0.25, 0.25, 0.36]]), torch.tensor([1]))
    term = yolov1_loss(raw, [truth], plain, form="paper")["box"]
    assert term.item() == pytest.approx(5 * ((0.5 - 0.2) ** 2 + (0.6 + 0.5) ** 2))
    zero = torch.zeros_like(raw, requires_grad=True)
    yolov1_loss(zero, [truth], plain, form="paper")["box"].backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()
    assert (zero.grad[0, 14:16] < 0).all()  # even a width of exactly 0 grows


def test_no_truth_at_all() -> None:
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    terms = values(yolov1_loss(RAW, [nothing], TWO, form="paper"))
    squares = 0.8**2 + 0.3**2 + 0.4**2 + 0.2**2 + 0.3
    assert terms == pytest.approx({"box": 0.0, "objectness": 0.0, "background": 0.5 * squares, "class": 0.0})
    joined = values(yolov1_loss(RAW.repeat(2, 1), [nothing, TRUTH], TWO, form="paper"))
    alone = values(yolov1_loss(RAW, [TRUTH], TWO, form="paper"))
    assert joined == pytest.approx({name: terms[name] + alone[name] for name in terms})


def test_a_box_in_an_ignored_area_is_not_background() -> None:
    """Predictor 1 of cell 1 is at (1.25, .25) with a side of .01; the area holds it, but not predictor 0 at 1.75."""
    area = torch.tensor([[1.25, 0.25, 0.1, 0.1]])
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), ignore_boxes_cxcywh=area)
    squares = 0.8**2 + 0.3**2 + 0.4**2 + 0.3
    assert values(yolov1_loss(RAW, [nothing], TWO, form="paper"))["background"] == pytest.approx(0.5 * squares)


def test_labels_go_through_the_map() -> None:
    mapped = replace(TWO, classes=FlatClasses(2, "linear", map=(0, 1, 1)))
    expected = values(yolov1_loss(RAW, [TRUTH], TWO))
    assert values(yolov1_loss(RAW, [replace(TRUTH, labels=torch.tensor([2, 0]))], mapped)) == expected
    of_none = values(yolov1_loss(RAW, [replace(TRUTH, labels=torch.tensor([3, -1]))], mapped, form="paper"))
    assert of_none["class"] == pytest.approx(0.2**2 + 0.7**2 + 0.5)


def test_what_cannot_be_taught_is_refused() -> None:
    with pytest.raises(Mistake, match="image 1 has an image label, from which YOLOv1's output cannot learn"):
        yolov1_loss(RAW.repeat(2, 1), [TRUTH, Target.of_image(1)], TWO)
    with pytest.raises(ValueError, match="1 targets for 2 images"):
        yolov1_loss(RAW.repeat(2, 1), [TRUTH], TWO)
    with pytest.raises(ValueError, match="47 numbers an image, which is not S x S x 12"):
        yolov1_loss(RAW[:, :-1], [TRUTH], TWO)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 3))
    return {
        "seed": draw(st.integers(0, 2**31)), "side": draw(st.integers(1, 5)), "n": n, "c": draw(st.integers(1, 4)),
        "sqrt": draw(st.booleans()), "softmax": draw(st.booleans()), "rescore": draw(st.booleans()),
        "forced": n > 1 and draw(st.booleans()),
        "scales": tuple(draw(st.sampled_from([0.5, 1.0, 2.0, 5.0])) for _ in range(4)),
    }  # fmt: skip


def random_batch(rng: np.random.Generator, side: int, n: int, c: int) -> tuple[NDArray[np.float64], list[Any]]:
    numbers = rng.normal(0.4, 0.5, size=(3, side * side * (c + 5 * n)))
    rows = []
    for count in (rng.integers(1, 8), 0, rng.integers(1, 4)):
        centres, sizes = rng.uniform(0, 0.999, (count, 2)), rng.uniform(0.001, 0.9, (count, 2))
        sizes[rng.uniform(size=count) < 0.2] = 0.003
        labels = rng.integers(-1, c + 1, count)
        rows.append([(*xy, *wh, int(k)) for xy, wh, k in zip(centres, sizes, labels, strict=True)])
    return numbers, rows


def targets_of_rows(rows: list[Any]) -> list[Target]:
    tensors = [torch.tensor(image, dtype=torch.float64).reshape(-1, 5) for image in rows]
    return [Target(t[:, :4], t[:, 4].long()) for t in tensors]


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(cases())
def test_darknets_form_has_the_gradient_of_a_loop_twin(case: dict[str, Any]) -> None:
    seed = case.pop("seed")
    side, n, c, scales = case["side"], case["n"], case["c"], case["scales"]
    numbers, rows = random_batch(np.random.default_rng(seed), side, n, c)
    of_object, of_none, of_class, of_box = scales
    loss = GridLossConfig(
        object_scale=of_object, noobject_scale=of_none, class_scale=of_class, coord_scale=of_box,
        rescore=case["rescore"], forced=case["forced"],
    )  # fmt: skip
    classes = FlatClasses(c, "softmax" if case["softmax"] else "linear")
    grid = GridSpec(classes=classes, num=n, square_root=case["sqrt"], loss=loss)
    raw = torch.tensor(numbers, requires_grad=True)
    torch.stack(list(yolov1_loss(raw, targets_of_rows(rows), grid, form="darknet").values())).sum().backward()
    expected = [twin.detection_delta(x, r, **case) for x, r in zip(numbers, rows, strict=True)]
    assert raw.grad is not None
    np.testing.assert_allclose(raw.grad.numpy(), -np.stack(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_equation_3_is_that_of_a_loop_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    side, n, c = int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    numbers, rows = random_batch(rng, side, n, c)
    grid = GridSpec(classes=FlatClasses(c, "linear"), num=n)
    terms = values(yolov1_loss(torch.tensor(numbers), targets_of_rows(rows), grid, form="paper"))
    expected = [twin.equation_3(x, r, side=side, n=n, c=c) for x, r in zip(numbers, rows, strict=True)]
    assert terms == pytest.approx({name: sum(each[name] for each in expected) for name in terms}, rel=1e-9)


@pytest.mark.parametrize("form", ["darknet", "paper"])
@pytest.mark.parametrize("over", ["linear", "softmax"])
@pytest.mark.parametrize("square_root", [True, False])
def test_gradients_are_those_of_the_values(
    form: Literal["darknet", "paper"], over: Literal["linear", "softmax"], square_root: bool
) -> None:
    grid = GridSpec(classes=FlatClasses(2, over), square_root=square_root, loss=GridLossConfig(rescore=False))
    raw = (RAW.double() + 0.01).requires_grad_()

    def loss(numbers: torch.Tensor) -> torch.Tensor:
        return torch.stack(list(yolov1_loss(numbers, [TRUTH], grid, form=form).values()))

    assert torch.autograd.gradcheck(loss, (raw,))


def targets_of_cells(truth: NDArray[np.float32], classes: int, dtype: type[np.floating[Any]]) -> list[Target]:
    """Darknet's rows (S*S, 1 + C + 4) -> boxes of the image."""
    side, targets = round(truth.shape[1] ** 0.5), []
    for image in truth:
        cells = np.flatnonzero(image[:, 0])
        rows = image[cells].astype(dtype)
        centres = (np.stack([cells % side, cells // side], axis=1).astype(dtype) + rows[:, -4:-2]) / dtype(side)
        of_none = ~rows[:, 1 : 1 + classes].any(axis=1)
        labels = np.where(of_none, -1, rows[:, 1 : 1 + classes].argmax(axis=1))
        boxes = np.concatenate([centres, rows[:, -2:]], axis=1)
        targets.append(Target(torch.tensor(boxes), torch.tensor(labels)))
    return targets


SOFTMAX_SCALES = GridLossConfig(object_scale=2, noobject_scale=0.7, class_scale=1.5, coord_scale=3, rescore=False)
CASES = {
    "detection_s3n2c4": GridSpec(classes=FlatClasses(4, "linear")),
    "detection_s3n3c5_softmax": GridSpec(
        classes=FlatClasses(5, "softmax"), num=3, square_root=False, loss=SOFTMAX_SCALES
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_is_darknets_own(case: str, dtype: type[np.floating[Any]]) -> None:
    z = np.load(GOLDEN / f"{case}.npz")
    targets = targets_of_cells(z["truth"], CASES[case].classes.number, dtype)
    raw = torch.tensor(z["input"], requires_grad=True)
    torch.stack(list(yolov1_loss(raw, targets, CASES[case], form="darknet").values())).sum().backward()
    assert raw.grad is not None
    np.testing.assert_allclose(raw.grad.numpy(), -z["delta"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(raw.grad.square().sum(), z["cost"], rtol=1e-5)  # what darknet calls the cost


@pytest.mark.parametrize("case", [0, 1, 2])
def test_truths_go_into_darknets_cells(case: int) -> None:
    """Nine boxes, moved as by an augmentation: some share a cell, some are small, and one is of no class of the 20."""
    z = np.load(GOLDEN / "detection_truth.npz")
    dx, dy, sx, sy, flip = map(float, z[f"args{case}"])
    boxes = z["boxes"].astype(np.float64)
    corners = np.concatenate([boxes[:, 1:3] - boxes[:, 3:] / 2, boxes[:, 1:3] + boxes[:, 3:] / 2], axis=1)
    record = Record(np.zeros((1, 1, 3), np.uint8), "", corners.astype(np.float32), boxes[:, 0].astype(np.int64))
    target = target_in_input(record, Placement(1, 1, sx, sy, -dx, -dy, 1, flipped=bool(flip)))
    side, classes = map(int, z["side_classes"])
    grid = GridSpec(classes=FlatClasses(classes, "linear"))
    truths = pack_grid_targets([target], grid, side, torch.device("cpu"), least_side=0.005)
    expected = z[f"truth{case}"]
    np.testing.assert_array_equal(truths.present[0].numpy(), expected[:, 0] == 1)
    one_hot = truths.labels[0][:, None].numpy() == np.arange(classes)
    np.testing.assert_array_equal(one_hot, expected[:, 1 : 1 + classes] == 1)
    np.testing.assert_allclose(truths.boxes[0].numpy(), expected[:, -4:], rtol=0, atol=2e-6)


def test_a_centre_on_a_border_belongs_to_the_cell_behind_it() -> None:
    """k / S * S is k again in the precision of the box; and the image's own border belongs to the last cell."""
    for side in range(1, 20):
        for dtype in (torch.float32, torch.float64):
            centres = torch.arange(side + 1, dtype=dtype) / side
            boxes = torch.stack(
                [centres, centres.new_full((side + 1,), 0.5)] + [centres.new_full((side + 1,), 0.1)] * 2
            )
            targets = [Target(box[None], torch.tensor([0])) for box in boxes.T]
            truths = pack_grid_targets(targets, TWO, side, torch.device("cpu"))
            column = truths.present.long().argmax(dim=1) % side
            assert column.tolist() == [*range(side), side - 1]
