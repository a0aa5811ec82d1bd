"""What can be asked of a prediction afterwards."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wordtree import AmbiguousName, UnknownName, WordTree, load_tree
from wordtree.softmax import log_probs
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect, score_nodes
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.predictor import Found, Predictor
from yolo9000.models import BoxCoding, DenseRegionOutput, Detector, DetectorConfig, FlatClasses, RegionSpec, TreeClasses
from yolo9000.models.classes import Classes
from yolo9000.results.boxes import Boxes
from yolo9000.results.finding import find_in_images, results_of
from yolo9000.results.results import Results
from yolo9000.runtime.mistakes import Mistake

# thing > animal > dog > poodle, pug; animal > cat; thing > person
TREE = WordTree(
    tuple(f"n{i}" for i in range(7)),
    ("thing", "animal", "person", "dog", "cat", "poodle", "pug"),
    (-1, 0, 0, 1, 1, 3, 3),
    synsets=tuple(f"{name}.n.01" for name in ("thing", "animal", "person", "dog", "cat", "poodle", "pug")),
)
THING, ANIMAL, PERSON, DOG, CAT, POODLE, PUG = range(7)
SURE = 12.0
CPU = torch.device("cpu")


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def results(boxes: list[tuple[float, dict[int, float]]], classes: Classes | None = None, **options: Any) -> Results:
    """One image of 100 x 100; each box: objectness, logits of nodes. They lie on the diagonal, the first one first."""
    classes = classes or TreeClasses(TREE)
    raw = torch.zeros(1, 5 + classes.number, 10, 10)
    raw[:, 4] = -20
    for place, (objectness, logits) in enumerate(boxes):
        raw[0, 4, place, place] = logit(objectness)
        for node, value in logits.items():
            raw[0, 5 + node, place, place] = value
    output = DenseRegionOutput(raw, BoxCoding(((1.0, 1.0),)))
    config = DecodeConfig(**{"threshold": 0.01, **options})
    (found,) = detect(output, classes, config)
    record = Record(np.zeros((100, 100, 3), np.uint8), "a.jpg")
    placed = torch.cat([found.boxes_cxcywh[:, :2] - 0.05, found.boxes_cxcywh[:, :2] + 0.05], dim=1) * 100
    return results_of(Found(record, found, placed, output), classes, threshold=config.threshold, never_boxed=[PUG])


# P(animal) = .95, P(dog) = .855, P(poodle) = .513
A_DOG = {ANIMAL: logit(0.95), DOG: logit(0.9), POODLE: logit(0.6)}
A_PERSON = {PERSON: logit(0.9), CAT: logit(0.7), PUG: logit(0.8)}


def test_what_was_found() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON)])
    assert len(found) == 2
    assert found.labels == ("person", "poodle")
    assert found.path == "a.jpg"
    assert found.size == (100, 100)
    np.testing.assert_allclose(found.boxes.objectness, [0.5, 0.8], rtol=1e-5)
    np.testing.assert_allclose(found.boxes.probability, [0.9, 0.513], rtol=1e-5)
    np.testing.assert_allclose(found.boxes.score, [0.45, 0.4104], rtol=1e-5)
    np.testing.assert_allclose(found.boxes.xyxy, [[10, 10, 20, 20], [0, 0, 10, 10]], atol=1e-4)
    np.testing.assert_allclose(found.boxes.xywh, [[15, 15, 10, 10], [5, 5, 10, 10]], atol=1e-4)
    assert str(found.paths[1]) == "thing 1.00 > animal 0.95 > dog 0.85 > poodle 0.51"
    assert [step.node for step in found.paths[1]] == [THING, ANIMAL, DOG, POODLE]
    assert repr(found) == "<Results: a.jpg, 100 x 100, 2 boxes: person 0.45, poodle 0.41>"
    assert str(found).splitlines()[2] == (
        "  1  poodle  score 0.41 = 0.80 * 0.51  at 0 0 10 10  thing 1.00 > animal 0.95 > dog 0.85 > poodle 0.51"
    )


def test_the_probability_of_any_node_can_be_asked() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON)])
    for name, expected in {
        "dog": [0.1 * 0.3, 0.855],
        "DOG": [0.1 * 0.3, 0.855],
        "n3": [0.1 * 0.3, 0.855],
        "dog.n.01": [0.1 * 0.3, 0.855],
        DOG: [0.1 * 0.3, 0.855],
        "pug": [0.1 * 0.3 * 0.8, 0.855 * 0.4],
        "cat": [0.1 * 0.7, 0.095],
        "thing": [1, 1],
    }.items():
        np.testing.assert_allclose(found.prob(name), expected, rtol=1e-5)
    np.testing.assert_allclose(found.probs()[:, PUG], [0.1 * 0.3 * 0.8, 0.855 * 0.4], rtol=1e-5)
    np.testing.assert_allclose(found.probs()[:, [ANIMAL, PERSON]].sum(axis=1), 1)


def test_a_box_is_explained_as_a_product() -> None:
    found = results([(0.8, A_DOG)])
    assert str(found.explain(0)) == (
        "Pr(poodle|dog)=0.60 * Pr(dog|animal)=0.90 * Pr(animal|thing)=0.95 * Pr(thing)=1.00 = 0.51"
    )
    cat = found.explain(-1, "cat")
    assert cat.probability == pytest.approx(0.095, rel=1e-5)
    assert [(factor.name, factor.given) for factor in cat.factors][:2] == [("cat", "animal"), ("animal", "thing")]
    with pytest.raises(IndexError, match="box 1: there are 1 boxes"):
        found.explain(1)


def test_names_that_lead_nowhere_are_errors_with_candidates() -> None:
    found = results([(0.8, A_DOG)])
    with pytest.raises(UnknownName, match="'poodel' is no name .*close to it: poodle"):
        found.prob("poodel")
    with pytest.raises(UnknownName, match="99 is no node"):
        found.where(99)
    twice = WordTree(("a", "b"), ("crane", "crane"), (-1, -1))
    with pytest.raises(AmbiguousName, match="'crane' is the name of 2 nodes"):
        results([(0.8, {})], TreeClasses(twice)).explain(0, "crane")


def test_boxes_of_a_kind() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON), (0.3, {ANIMAL: logit(0.4), CAT: SURE})])
    assert found.labels == ("person", "poodle", "person")
    assert found.where("animal").labels == ("poodle",)
    assert found.where("animal.n.01", 0.3).labels == ("poodle", "person")  # the second is rather a person
    assert len(found.where("pug", 0.9)) == 0
    with pytest.raises(Mistake, match="`threshold` 30: a number from 0 to 1"):
        found.where("dog", 30)


def test_another_threshold_of_the_tree() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON)])
    careful = found.relabel(0.6)
    assert careful.labels == ("person", "dog")
    np.testing.assert_allclose(careful.boxes.score, [0.45, 0.8 * 0.855], rtol=1e-5)  # the rows stay in their places
    assert found.relabel(0.9).labels == ("thing", "animal")
    assert found.relabel(0.99).labels == ("thing", "thing")
    assert careful.relabel(0.5).labels == found.labels
    assert found.labels == ("person", "poodle")  # a prediction is never changed


def test_the_score_is_cut_after_the_fact_but_never_lowered() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON)], threshold=0.1)
    assert found.above(0.42).labels == ("person",)
    assert found.above(0.1).labels == found.labels
    assert found.relabel(0.6).above(0.5).labels == ("dog",)
    with pytest.raises(Mistake, match=r"`threshold` 0.05: boxes below 0.1 were not kept; predict with a lower one"):
        found.above(0.05)
    with pytest.raises(Mistake, match=r"`threshold` 0.2: boxes below 0.42"):
        found.above(0.42).above(0.2)


def test_names_at_one_depth() -> None:
    found = results([(0.8, A_DOG), (0.5, A_PERSON)])
    assert found.at_depth(0).labels == ("thing", "thing")
    assert found.at_depth(1).labels == ("person", "animal")
    assert found.at_depth(2).labels == ("person", "dog")  # nothing lies below a person
    assert found.at_depth(9).labels == ("person", "poodle")
    np.testing.assert_allclose(found.at_depth(2).boxes.score, [0.45, 0.8 * 0.855], rtol=1e-5)
    unsure = results([(0.8, {PERSON: -SURE, DOG: logit(0.9), POODLE: logit(0.6)})], tree_threshold=0.99)
    assert unsure.labels == ("animal",)
    assert unsure.at_depth(3).labels == ("poodle",)  # asked for its breed, it is named however unsure that is
    assert unsure.at_depth(3).boxes.probability[0] == pytest.approx(0.54, rel=1e-4)
    with pytest.raises(Mistake, match="the top has depth 0"):
        found.at_depth(-1)


def test_some_of_the_boxes() -> None:
    found = results([(0.9, A_PERSON), (0.8, A_DOG), (0.1, A_DOG)])
    chosen = (1, slice(1, 3), [0, 2], [], [True, False, True], found.prob("dog") > 0.5)
    assert [len(found[rows]) for rows in chosen] == [1, 2, 2, 0, 2, 2]
    assert [each.labels[0] for each in found] == ["person", "poodle", "poodle"]
    assert found[[2, 0]].prob("dog") == pytest.approx(found.prob("dog")[[2, 0]])
    assert found[-1].boxes.objectness[0] == pytest.approx(0.1)
    assert found[1].explain(0).probability == pytest.approx(0.513, rel=1e-5)
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(TypeError, match=r"where\('dog'\) gives the boxes of a kind"):
        found["dog"]  # type: ignore[index]
    with pytest.raises(TypeError, match=r"as in explain\(0, 'dog'\)"):
        found.explain("dog")  # type: ignore[arg-type]


def test_no_boxes_are_no_special_case() -> None:
    for none in (results([]), results([(0.8, A_DOG)])[[]]):
        assert (len(none), none.labels, none.paths) == (0, (), ())
        assert none.prob("dog").shape == (0,)
        assert none.probs().shape == (0, 7)
        for same in (none.relabel(0.3), none.at_depth(1), none.where("dog"), none.above(0.5), none[[]]):
            assert len(same) == 0
            assert same.boxes.xyxy.shape == (0, 4)
        assert list(none) == []
        assert none.boxes.xywh.shape == (0, 4)
        assert repr(none) == "<Results: a.jpg, 100 x 100, 0 boxes>"
        assert str(none) == "a.jpg (100 x 100): nothing"
        with pytest.raises(IndexError, match="there are 0 boxes"):
            none.explain(0)


@pytest.mark.parametrize("over", ["softmax", "sigmoid"])
def test_classes_without_a_tree_are_asked_by_name_too(over: Any) -> None:
    found = results([(0.8, {1: 2.0})], FlatClasses(3, over, names=("cat", "dog", "traffic light")))
    wanted = math.exp(2) / (math.exp(2) + 2) if over == "softmax" else 1 / (1 + math.exp(-2))
    assert found.labels == ("dog",)
    assert found.prob("Dog")[0] == pytest.approx(wanted)
    assert found.prob("traffic_light")[0] == pytest.approx(1 / (math.exp(2) + 2) if over == "softmax" else 0.5)
    assert str(found.explain(0)) == f"Pr(dog)={wanted:.2f} = {wanted:.2f}"
    assert str(found.paths[0]) == f"dog {wanted:.2f}"
    assert found.relabel(0.1).labels == ("dog",)
    assert found.probs().shape == (1, 3)
    with pytest.raises(Mistake, match="the net has no tree"):
        found.at_depth(0)
    with pytest.raises(UnknownName, match="'trafic light' is none of the 3 classes; close to it: traffic light"):
        found.prob("trafic light")


def test_a_net_that_decodes_inside_answers_what_its_paths_say() -> None:
    whole = results([(0.8, A_DOG)])
    found = Results(whole.image, whole.path, whole.boxes, whole.nodes, whole.paths, whole.classes)
    assert found.prob("dog")[0] == pytest.approx(0.855, rel=1e-5)
    assert str(found.explain(0, "animal")) == str(whole.explain(0, "animal"))
    assert found.at_depth(1).labels == ("animal",)
    assert found.where("animal", 0.9).labels == ("poodle",)
    for ask in (lambda: found.prob("pug"), lambda: found.relabel(0.9), found.probs, lambda: found.explain(0, "cat")):
        with pytest.raises(Mistake, match="the net decodes inside"):
            ask()
    general = found.at_depth(2)
    with pytest.raises(Mistake, match="the net decodes inside"):
        general.at_depth(3)


# --------------------------------------------------------------------------------- as from all class numbers of a net


def random_detector(tree: WordTree, *, shared: bool = False, seed: int = 0, spread: float = 0.6) -> TrainedModel:
    torch.manual_seed(seed)
    region = RegionSpec(coding=BoxCoding(((0.5, 0.5), (1.0, 1.5))), classes=TreeClasses(tree))
    net = Detector(DetectorConfig(width=0.05, share_class_rows=shared), region).eval()
    with torch.no_grad():
        net.head.class_weight.normal_(std=spread)
        net.head.box_bias.view(2, 5)[:, 4] = 0.0
        net.head.box_weight.normal_(std=0.3)
    return TrainedModel(net, 96, (), (), 0, {}, Path("random"))


def photo(seed: int, width: int = 90, height: int = 70) -> Record:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Record(pixels, f"{seed}.png")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["coco", "yolo9000"])
def test_probabilities_equal_those_of_the_dense_head(name: str, shared: bool) -> None:
    tree = load_tree(name)
    predictor = Predictor(random_detector(tree, shared=shared), device=CPU)
    found = predictor.find([photo(0), photo(1)], DecodeConfig(threshold=0.05))
    wanted = ["dog", "person", "truck", "chair", 0, len(tree) - 1]
    for each in found:
        assert len(each.detections) > 3
        ours = results_of(each, TreeClasses(tree))
        assert each.detections.places is not None
        dense = DenseRegionOutput(each.output.raw, predictor.trained.spec.coding)  # type: ignore[attr-defined, union-attr]
        theirs = log_probs(dense.class_logits(each.detections.places).double(), tree).exp().numpy()
        for node in map(tree.node, wanted):
            np.testing.assert_allclose(ours.prob(node), theirs[:, node], rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.probs(), theirs, rtol=0, atol=1e-6)
        # of its own label a box says the same number everywhere
        own = [ours[row].prob(int(node))[0] for row, node in enumerate(ours.nodes)]
        np.testing.assert_allclose(own, ours.boxes.probability, rtol=0, atol=1e-6)
        np.testing.assert_allclose([ours.explain(row).probability for row in range(len(ours))], own, rtol=1e-9)


def test_probabilities_equal_those_that_average_precision_scores() -> None:
    tree = load_tree("coco")
    predictor = Predictor(random_detector(tree, seed=3), device=CPU)
    (found,) = predictor.find([photo(2)], DecodeConfig(threshold=0.05, nms_iou=1.0, max_detections=1000))
    ours = results_of(found, TreeClasses(tree))
    nodes = [tree.node("dog"), tree.node("truck")]
    (scored,) = score_nodes(found.output, TreeClasses(tree), nodes, threshold=0.0, nms_iou=1.0, max_detections=10_000)
    by_box = {
        (node, tuple(box)): probability
        for node, box, probability in zip(
            scored.nodes.tolist(), scored.boxes_cxcywh.tolist(), scored.probabilities.tolist(), strict=True
        )
    }
    compared = 0
    for node in nodes:
        for box, probability in zip(found.detections.boxes_cxcywh.tolist(), ours.prob(node), strict=True):
            assert probability == pytest.approx(by_box[node, tuple(box)], abs=1e-6)
            compared += 1
    assert compared > 10


@given(tree_threshold=st.floats(0, 1), seed=st.integers(0, 100))
@settings(max_examples=8)
@example(tree_threshold=0.25, seed=75)
def test_other_labels_afterwards_are_those_of_another_prediction(tree_threshold: float, seed: int) -> None:
    """As far as rounding lets them be; nothing is suppressed, so both have all boxes."""
    tree = load_tree("coco")
    predictor = Predictor(random_detector(tree, seed=seed), device=CPU)
    options = {"threshold": 0.0, "nms_iou": 1.0, "max_detections": 1000}
    first, second = (
        next(find_in_images(predictor, [photo(seed)], DecodeConfig(tree_threshold=threshold, **options)))
        for threshold in (0.5, tree_threshold)
    )
    again = first.relabel(tree_threshold)
    # two boxes that are cut at the edges of the image may be the same, but are not equally sure of an object
    ours, theirs = (np.column_stack([each.boxes.xyxy, each.boxes.objectness]) for each in (again, second))
    wanted = np.abs(ours[:, None] - theirs).max(2).argmin(1)
    assert sorted(wanted) == list(range(len(theirs)))
    nearly = np.array([np.abs(probs - tree_threshold).min() < 1e-5 for probs in again.probs()])
    assert (again.nodes == second.nodes[wanted])[~nearly].all()
    np.testing.assert_allclose(again.boxes.score[~nearly], second.boxes.score[wanted][~nearly], atol=1e-5)


def test_images_come_out_in_their_order_whatever_the_batches_are() -> None:
    predictor = Predictor(random_detector(load_tree("coco")), device=CPU)
    photos = [photo(seed, 60 + 10 * seed) for seed in range(5)]
    whole = list(find_in_images(predictor, photos, batch_size=5))
    apart = list(find_in_images(predictor, iter(photos), batch_size=2))
    assert [each.path for each in whole] == [each.path for each in apart] == [f"{seed}.png" for seed in range(5)]
    assert [each.size for each in whole] == [(60 + 10 * seed, 70) for seed in range(5)]
    for one, other in zip(whole, apart, strict=True):
        assert one.labels == other.labels
        np.testing.assert_allclose(one.boxes.xyxy, other.boxes.xyxy, atol=1e-3)
        assert (one.boxes.xyxy >= 0).all()
        assert (one.boxes.xyxy <= np.array(one.size * 2)).all()
    assert list(find_in_images(predictor, [])) == []


def test_images_are_read_as_they_are_asked_for() -> None:
    read: list[int] = []

    def photos() -> Any:
        for seed in range(6):
            read.append(seed)
            yield photo(seed)

    stream = find_in_images(Predictor(random_detector(TREE), device=CPU), photos(), batch_size=2)
    assert read == []
    next(stream)
    assert read == [0, 1]


def test_a_result_keeps_nothing_of_the_rest_of_its_batch() -> None:
    predictor = Predictor(random_detector(load_tree("yolo9000")), device=CPU)
    result = next(find_in_images(predictor, [photo(0)], DecodeConfig(threshold=0.05, max_detections=4)))
    assert result.kept is not None
    assert len(result) == 4
    features = result.kept.output._features  # type: ignore[attr-defined]
    assert features.untyped_storage().nbytes() == 4 * features.shape[1] * 4


def test_a_notebook_shows_a_file_whose_name_is_no_utf_8() -> None:
    found = dataclasses.replace(results([(0.5, {0: 2.0})]), path="caf\udce9 <b>.jpg")
    assert b"<p>caf\\udce9 &lt;b&gt;.jpg (" in found._repr_html_().encode("utf-8")


def test_boxes_are_a_table_of_their_own() -> None:
    boxes = Boxes(np.zeros((2, 4), np.float32), *(np.array([value, 0.5], np.float32) for value in (0.1, 0.2, 0.3)))
    assert len(boxes) == 2
    assert boxes[1].score.tolist() == boxes[[False, True]].score.tolist() == [0.5]
