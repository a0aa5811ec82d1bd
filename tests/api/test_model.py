"""The front door from Python: what users of it do, and what it says when they slip."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import yolo9000
from wordtree import UnknownName, WordTree, save_tree
from wordtree.errors import NameResolutionError
from yolo9000 import YOLO9000, Results, evaluate
from yolo9000.api import model as api
from yolo9000.datasets.sample import Unreadable
from yolo9000.experiment.keywords import WrongKeyword
from yolo9000.inference import predictor
from yolo9000.inference.model import describe_model
from yolo9000.inference.pixels import WrongPixels
from yolo9000.inference.sources import NoImages
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from yolo9000.runtime.device import DeviceError
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


def pixels(seed: int = 0, height: int = 48, width: int = 64) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path)
    return path


@pytest.fixture
def model(run: RunFolder) -> YOLO9000:
    """A net of six nodes that finds things anywhere: animal (dog (poodle), cat), vehicle (car)."""
    model = YOLO9000.load(run.path, device="cpu")
    head = model.trained.detector.get_submodule("head")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight, scale in ((head.class_weight, 2.0), (head.box_weight, 0.3)):
            weight.copy_(scale * torch.randn(weight.shape, generator=generator))
        head.box_bias.view(-1, 5)[:, 4] = 0.0
    return model


def same(one: Results, other: Results) -> bool:
    return one.labels == other.labels and np.allclose(one.boxes.score, other.boxes.score, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- the package


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, yolo9000; print(sorted({'torch', 'numpy', 'PIL', 'cv2'} & set(sys.modules)), yolo9000.__all__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['YOLO9000', 'Results', '__version__']"


def test_the_front_door_is_a_name_of_the_package() -> None:
    assert yolo9000.YOLO9000 is YOLO9000
    with pytest.raises(AttributeError, match="module 'yolo9000' has no attribute 'YOLO8000'"):
        yolo9000.YOLO8000  # noqa: B018


# ----------------------------------------------------------------------------------------------------------- opening


def test_a_run_a_checkpoint_and_darknets_weights_are_opened(run: RunFolder) -> None:
    by_folder, by_file = YOLO9000(run.path, device="cpu"), YOLO9000.load(str(run.last), device="cpu")
    for model in (by_folder, by_file):
        assert repr(model) == f"<YOLO9000: {run.last}, tree of 6 nodes, 64 pixels, on cpu>"
        assert model.names == ("animal", "vehicle", "dog", "cat", "car", "poodle")
        assert model.tree is not None
        assert model.path == run.last
    weights, cfg = GOLDEN / "net_yolov2tiny_voc20.weights", GOLDEN / "net_yolov2tiny_voc20.cfg"
    tiny = YOLO9000.load(weights, cfg=cfg, device="cpu")
    assert tiny.names[:2] == ("aeroplane", "bicycle")
    named = YOLO9000.load(weights, cfg=cfg, names=[f"thing {number}" for number in range(20)], device="cpu")
    assert named.names[19] == "thing 19"


def test_what_cannot_be_opened_says_what_is_there(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent: no such run or checkpoint"):
        YOLO9000.load(tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=r"looked for last.pt, found notes.txt"):
        YOLO9000(tmp_path)
    with pytest.raises(CheckpointError, match="which net is it of"):
        YOLO9000(GOLDEN / "net_yolov2tiny_voc20.weights")
    with pytest.raises(DeviceError, match="`device` tpu: not a device"):
        YOLO9000(run.path, device="tpu")
    with pytest.raises(Mistake, match="`size` 50: .* cells of 32 pixels"):
        YOLO9000(run.path, size=50)
    with pytest.raises(WrongKeyword, match="load: imgsz: did you mean size"):
        YOLO9000(run.path, imgsz=64)
    with pytest.raises(WrongKeyword, match="from_pretrained: imgsz: did you mean size"):
        YOLO9000.from_pretrained("OWNER/NAME", imgsz=64)
    with pytest.raises(WrongKeyword, match="of: devise: did you mean device"):
        YOLO9000.of(YOLO9000(run.path, device="cpu").trained, devise="cpu")
    with pytest.raises(WrongKeyword, match="load: devise: did you mean device"):
        YOLO9000(run.path, devise="cpu")
    with pytest.raises(Mistake, match="which net do `device` belong to"):
        YOLO9000(device="cpu")
    empty = YOLO9000()
    for ask in (lambda: empty.predict(pixels()), empty.evaluate, lambda: empty.names, lambda: empty.restrict("dog")):
        with pytest.raises(Mistake, match="there is no net yet"):
            ask()


# -------------------------------------------------------------------------------------------------------- predicting


def test_images_come_from_anywhere(model: YOLO9000, tmp_path: Path) -> None:
    file = photo(tmp_path / "photos" / "a.png")
    image = Image.open(file)
    of_file = model.predict(str(file), threshold=0.05)
    assert len(of_file) == 1
    assert len(of_file[0]) > 2
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    mixed = [
        file,
        image,
        array,
        tensor,
        tensor / 255,
        array / 255,
        str(tmp_path / "photos"),
        f"{tmp_path}/photos/*.png",
    ]
    found = model(mixed, threshold=0.05, batch=3)
    assert [each.path for each in found] == [
        str(file), str(file), "image2", "image3", "image4", "image5", str(file), str(file)
    ]  # fmt: skip
    for each in found:
        assert np.array_equal(each.image, array)
        np.testing.assert_allclose(each.boxes.score, of_file[0].boxes.score, atol=1e-5)
        np.testing.assert_allclose(each.boxes.xyxy, of_file[0].boxes.xyxy, atol=1e-2)
    assert same(model.predict(np.stack([array, array]), threshold=0.05)[1], found[2])


def test_a_photograph_is_turned_upright(model: YOLO9000, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(0, 32, 80)).save(tmp_path / "lying.jpg", exif=exif)
    from_file, from_pil = model.predict([tmp_path / "lying.jpg", Image.open(tmp_path / "lying.jpg")], threshold=0.05)
    assert from_file.size == from_pil.size == (32, 80)
    assert same(from_file, from_pil)
    assert from_file.boxes.xyxy[:, 2].max() <= 32


def test_results_stream_as_they_are_computed(model: YOLO9000) -> None:
    given: list[int] = []

    def camera() -> Iterator[Any]:
        for number in range(1000):
            given.append(number)
            yield pixels(number)

    stream = model.predict(camera(), stream=True, batch=2, threshold=0.05)
    first, second, third = next(stream), next(stream), next(stream)
    assert [first.path, second.path, third.path] == ["image0", "image1", "image2"]
    assert len(given) <= 4
    few = model.predict((pixels(number) for number in range(3)), threshold=0.05)
    assert [same(one, other) for one, other in zip(few, (first, second, third), strict=True)] == [True] * 3


def test_what_is_no_image_in_a_stream_is_told_when_its_turn_comes(model: YOLO9000) -> None:
    stream = model.predict(iter([pixels(), None]), stream=True, batch=1)
    assert next(stream).path == "image0"
    with pytest.raises(Mistake, match="`source`: a NoneType is no image, .*; cv2.imread gives None for a file"):
        next(stream)


def test_the_threshold_cuts_the_number_that_is_shown(model: YOLO9000) -> None:
    everything = model.predict(pixels(), threshold=0.0, nms_iou=1.0)[0]
    np.testing.assert_allclose(everything.boxes.score, everything.boxes.objectness * everything.boxes.probability)
    middle = float(np.median(everything.boxes.score))
    above = model.predict(pixels(), threshold=middle, nms_iou=1.0)[0]
    assert 0 < len(above) == int((everything.boxes.score > middle).sum()) < len(everything)
    assert same(above, everything.above(middle))
    assert len(model.predict(pixels(), threshold=0.0, nms_iou=1.0, max_boxes=2)[0]) == 2


def test_the_net_is_prepared_once(model: YOLO9000, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Any] = []
    prepare = predictor.prepare_with

    def counted(*values: Any, **options: Any) -> Any:
        prepared.append(values)
        return prepare(*values, **options)

    monkeypatch.setattr(predictor, "prepare_with", counted)
    for size in (None, 96, 64):
        model.predict(pixels(), size=size)
    list(model.predict([pixels()], stream=True, tree_threshold=0.9))
    assert len(prepared) == 1
    model.restrict("dog").predict(pixels())
    assert len(prepared) == 2


def test_wrong_keywords_and_numbers_are_named(model: YOLO9000) -> None:
    for wrong, meant in {
        "conf": "threshold",
        "imgsz": "size",
        "tree_treshold": "tree_threshold",
        "iou": "nms_iou",
    }.items():
        with pytest.raises(WrongKeyword, match=f"predict: {wrong}: did you mean {meant}"):
            model.predict(pixels(), **{wrong: 0.5})
    with pytest.raises(TypeError):  # what Python raises for a wrong keyword
        model.predict(pixels(), conf=0.5)
    for options, message in [
        ({"threshold": 25}, "`threshold` 25: a number from 0 to 1"),
        ({"tree_threshold": -1}, "`tree_threshold` -1"),
        ({"threshold": "high"}, "`threshold` 'high': a number from 0 to 1"),
        ({"batch": 0}, "`batch` 0: a whole number from 1"),
        ({"batch": True}, "`batch` True: a whole number from 1"),
        ({"threshold": True}, "`threshold` True: a number from 0 to 1"),
        ({"max_boxes": 2.5}, "`max_boxes` 2.5: a whole number"),
        ({"size": 100}, "`size` 100: .* cells of 32 pixels"),
        ({"size": "big"}, "`size` big: a whole number"),
        ({"nms": "tre"}, r"`nms` tre: did you mean tree\? \(tree, class, all\)"),
    ]:
        with pytest.raises(Mistake, match=message):
            model.predict(pixels(), **options)  # type: ignore[call-overload]


def test_what_is_no_image_is_an_error_with_a_name(model: YOLO9000, tmp_path: Path) -> None:
    for source, error, message in [
        ([], NoImages, "no images were named"),
        (tmp_path / "absent.jpg", NoImages, r"absent.jpg \(no such file\)"),
        (tmp_path, NoImages, "a folder without images"),
        (f"{tmp_path}/*.jpg", NoImages, "fits the pattern"),
        (np.zeros((4, 5, 2), np.uint8), WrongPixels, r"image0: an array of shape \(4, 5, 2\)"),
        (np.full((4, 5, 3), 9.5), WrongPixels, "image0: floats from 9.5 to 9.5; floats are from 0 to 1"),
        (None, Mistake, "a NoneType is no image"),
        (b"bytes of a file", Mistake, "a bytes is no image"),
        ([pixels(), {"image": 1}], Mistake, "a dict is no image"),
    ]:
        with pytest.raises(error, match=message):
            model.predict(source)  # type: ignore[arg-type]
    torn = photo(tmp_path / "torn.png")
    torn.write_bytes(torn.read_bytes()[:2000])
    with pytest.raises(Unreadable, match="torn.png"):
        model.predict(torn)


def test_a_file_that_cannot_be_read_costs_no_other(
    model: YOLO9000, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    photo(tmp_path / "c.png")
    with caplog.at_level(logging.WARNING):
        found = model.predict(tmp_path)
    assert [Path(each.path).name for each in found] == ["a.png", "c.png"]
    assert "b.png" in caplog.text


def test_what_was_found_is_drawn_and_written(model: YOLO9000, tmp_path: Path) -> None:
    file = photo(tmp_path / "a.png")
    for result in (model.predict(file, threshold=0.05)[0], model.predict(file, threshold=1.0)[0]):
        assert result.plot(enlarge=False).shape == (48, 64, 3)
        for name in ("out.png", "out.jpg", "again.webp"):
            result.save(tmp_path / name, enlarge=False)
            with Image.open(tmp_path / name) as picture:
                assert picture.size == (64, 48)
        shown = result._repr_html_()
        assert '<img src="data:image/jpeg;base64,' in shown
        assert shown.count("<tr>") == (len(result) + 1 if len(result) else 0)
        assert result.to_json()["width"] == 64
        assert len(result.to_coco()["annotations"]) == len(result.to_txt().splitlines()) == len(result)
        assert len(result.to_csv().splitlines()) == len(result) + 1
        assert len(result.save_crops(tmp_path / "crops")) <= len(result)
        before = file.read_bytes()
        with pytest.raises(FileExistsError, match="is the image itself"):
            result.save(file)
        assert file.read_bytes() == before
        with pytest.raises(Mistake, match="no picture's format ends in .doc"):
            result.save(tmp_path / "out.doc")


def test_a_name_that_is_html_is_shown_as_text(model: YOLO9000) -> None:
    result = replace(model.predict(pixels(), threshold=0.05)[0], path="<script>.png")
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;.png (64 x 48)" in result._repr_html_()


# --------------------------------------------------------------------------------------------------- only my classes


def test_only_my_classes(model: YOLO9000) -> None:
    whole = model.predict(pixels(), threshold=0.0, nms_iou=1.0, max_boxes=1000)[0]
    returned = model.restrict(["poodle", "cat"])
    assert returned is model
    assert repr(model).endswith("only poodle, cat, 64 pixels, on cpu>")
    found = model.predict(pixels(), threshold=0.0, nms_iou=1.0, max_boxes=1000)[0]
    assert set(found.labels) <= {"poodle", "cat"}
    order, before = np.lexsort(found.boxes.xyxy.T), np.lexsort(whole.boxes.xyxy.T)
    for name in ("poodle", "cat", "dog"):
        np.testing.assert_allclose(found.prob(name)[order], whole.prob(name)[before], atol=1e-6)
    with pytest.raises(NameResolutionError, match="2 names lead to no class"):
        model.restrict(["pooodle", "ca"])
    with pytest.raises(UnknownName, match="None is no name; a text or the number of a class"):
        model.restrict([None])  # type: ignore[list-item]
    assert (
        model.restrict("dog").predict(pixels(), threshold=0.0)[0].where("dog", 0.0).labels
    )  # from the whole net again
    assert model.restrict(None).predict(pixels(), threshold=0.0, nms_iou=1.0, max_boxes=1000)[0].labels == whole.labels


def test_darknets_decoding_knows_no_restriction(run: RunFolder) -> None:
    as_darknet = YOLO9000.load(run.path, device="cpu", decoding="darknet")
    assert as_darknet.predict(pixels(), threshold=0.001)[0].labels
    with pytest.raises(Mistake, match="`decoding` darknet: a net that is restricted"):
        as_darknet.restrict("dog").predict(pixels(), threshold=0.001)


def test_a_restricted_net_is_saved_and_opened(model: YOLO9000, tmp_path: Path) -> None:
    model.restrict(["dog", "car"])
    expected = model.predict(pixels(), threshold=0.05)[0]
    assert model.save(tmp_path / "mine.pt") == tmp_path / "mine.pt"
    loaded = YOLO9000(tmp_path / "mine.pt", device="cpu")
    assert same(loaded.predict(pixels(), threshold=0.05)[0], expected)
    assert loaded.trained.step == 5
    with pytest.raises(FileExistsError, match="is there already"):
        model.save(tmp_path / "mine.pt")
    with pytest.raises(FileNotFoundError, match="no/mine.pt: there is no folder"):
        model.save(tmp_path / "no" / "mine.pt")
    with pytest.raises(Mistake, match=r"a restricted net is not trained further; lift .* with restrict\(None\)"):
        model.train(steps=1)


def test_a_net_that_was_saved_restricted_has_no_other_classes(
    model: YOLO9000, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = YOLO9000(model.restrict(["dog", "car"]).save(tmp_path / "mine.pt"), device="cpu")
    loaded.restrict("dog")
    with caplog.at_level(logging.WARNING):
        loaded.restrict(None)
    assert repr(loaded).endswith("only dog, car, 64 pixels, on cpu>")
    way_out = "mine.pt holds no other classes, so load the run that it was restricted from"
    assert way_out in caplog.text
    with pytest.raises(Mistake, match=f"a restricted net is not trained further; .*{way_out}"):
        loaded.train(steps=1)


# ---------------------------------------------------------------------------------------------- training, evaluating

TREE = WordTree(
    ("n00015388", "n04524313", "n02121620", "n02958343"),
    ("animal", "vehicle", "cat", "car"),
    (-1, -1, 0, 1),
    rest="only_child",
    label_maps={"coco": {"cat": 2, "car": 3}},
)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images to train on and two held out, and the tree of their labels."""
    root = tmp_path_factory.mktemp("coco")
    for split, count in (("train2017", 4), ("val2017", 2)):
        images, annotations = [], []
        for i in range(count):
            photo(root / split / f"{i}.png", i)
            images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
            box = [4 + i, 5, 20 + 3 * i, 12 + 2 * i]
            annotations.append({"id": i + 1, "image_id": i, "category_id": 1 + i % 2, "bbox": box, "iscrowd": 0})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "car"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    save_tree(TREE, root / "tree.json")
    return root


SMALL: dict[str, Any] = {"size": 64, "width": 0.05, "stride": 32, "batch": 2, "priors": 2, "val_images": 2}
SMALL |= {"optimizer": "adamw", "schedule": "cosine", "burn_in": 1, "device": "cpu", "threads": 1, "evaluate_every": 0}
SMALL |= {"precision": "float32"}


def test_a_net_is_trained_evaluated_and_trained_further(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = YOLO9000()
    trained = first.train(coco=coco, tree=coco / "tree.json", out=tmp_path / "first", steps=2, **SMALL)
    assert trained is first
    assert first.names == TREE.names
    assert first.path == tmp_path / "first" / "last.pt"
    assert first.trained.step == 2
    first.predict(coco / "val2017", threshold=0.001)

    assert first.device == torch.device("cpu")
    assert not {"tally", "best", "optimizer"} & set(load_checkpoint(first.save(tmp_path / "mine.pt")))

    report = first.evaluate(coco=coco, batch=2, out=tmp_path / "report.json")
    assert report["boxed"]["classes"] == 2
    assert json.loads((tmp_path / "report.json").read_text())["boxed"]["classes"] == 2
    assert evaluate.main([str(tmp_path / "first"), "--coco", str(coco), "--device", "cpu", "--batch", "2"]) == 0
    of_command = json.loads((tmp_path / "first" / "evaluation.json").read_text())
    assert of_command["boxed"] == report["boxed"]
    assert of_command["held_out_loss"]["detection"] == pytest.approx(report["held_out_loss"]["detection"])

    # from its own weights, in a net of its own form, which need not be said again
    further = {name: value for name, value in SMALL.items() if name not in ("size", "width", "stride", "priors")}
    first.train(coco=coco, tree=coco / "tree.json", out=tmp_path / "second", steps=1, **further)
    config = json.loads((tmp_path / "second" / "config.json").read_text())["config"]
    assert config["net"]["init"] == str(tmp_path / "first" / "last.pt")
    assert config["net"]["detector"]["width"] == 0.05
    assert config["plan"]["size"] == 64
    assert first.path == tmp_path / "second" / "last.pt"

    first.train(resume=tmp_path / "second", steps=2)
    assert first.trained.step == 2


def test_an_export_is_trained_further_if_it_holds_the_weights_of_a_net_of_ours(coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="needs the extra export")
    further = {name: value for name, value in SMALL.items() if name not in ("size", "width", "stride", "priors")}
    options: dict[str, Any] = {**further, "coco": coco, "tree": coco / "tree.json", "steps": 1, "lr": 1e-9}
    start = YOLO9000().train(**{**options, **SMALL}, out=tmp_path / "start")
    again = YOLO9000.load(start.export("safetensors", out=tmp_path / "export"), device="cpu")
    again.train(**options, out=tmp_path / "further")
    config = json.loads((tmp_path / "further" / "config.json").read_text())["config"]
    assert config["net"]["init"] == str(tmp_path / "export" / "model.safetensors")
    assert again.path == tmp_path / "further" / "last.pt"
    weights = again.trained.detector.get_submodule("head").class_weight
    torch.testing.assert_close(weights, start.trained.detector.get_submodule("head").class_weight)
    for format, message in (("darknet", "model.weights"), ("torchscript", "model.torchscript")):
        other = YOLO9000.load(start.export(format, out=tmp_path / format), device="cpu")
        with pytest.raises(Mistake, match=f"{message} is an export, and only one of format safetensors of a net of"):
            other.train(**options, out=tmp_path / "never")
    with pytest.raises(Mistake, match="`init` .*torchscript: a training starts from an export of format safetensors"):
        YOLO9000().train(**{**options, **SMALL}, init=tmp_path / "torchscript", out=tmp_path / "never")


def test_options_of_training_are_checked_before_anything_is_done(coco: Path, tmp_path: Path) -> None:
    for options, error, message in [
        ({"imagnet": "DIR"}, WrongKeyword, "train: imagnet: did you mean imagenet"),
        ({"learning_rate": 0.1}, WrongKeyword, "train: learning_rate: did you mean lr"),
        ({"batch_size": 4}, WrongKeyword, "train: batch_size: did you mean batch"),
        ({"presets": "scenes"}, WrongKeyword, "train: presets: did you mean preset"),
        ({"epochs": 3}, WrongKeyword, "train: epochs: "),
        ({"steps": "many"}, Mistake, "train: steps: Input should be a valid integer"),
        ({"steps": -1}, Mistake, "steps -1: 0 or more is needed"),
        ({"size": 50}, Mistake, "size 50: a multiple of 32 is needed"),
        ({"coco": 5}, Mistake, "`coco` 5: the path of a data set is needed"),
        ({"recipe": "papr"}, Mistake, "`recipe` 'papr': mil, paper"),
        ({"preset": "smal"}, Mistake, "`preset` smal: "),
    ]:
        with pytest.raises(error, match=message):
            YOLO9000().train(**{"coco": coco, "out": tmp_path / "never", **options})
    assert not (tmp_path / "never").exists()


def test_options_of_an_evaluation_are_checked(model: YOLO9000, coco: Path) -> None:
    for options, message in [
        ({"cooc": coco}, "evaluate: cooc: did you mean coco"),
        ({"batch_size": 4}, "evaluate: batch_size: did you mean batch"),
        ({"tree": "coco"}, r"evaluate: tree: it is said when the net is loaded, as YOLO9000.load\(.., tree=..\)"),
        ({"weights": "x"}, "evaluate: weights: is for the command alone"),
    ]:
        with pytest.raises(WrongKeyword, match=message):
            model.evaluate(**options)


def test_figures_that_could_not_be_written_are_not_computed(
    model: YOLO9000, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "evaluate_trained", lambda *_, **__: pytest.fail("evaluated all the same"))
    (tmp_path / "there.json").write_text("figures")
    for out, error, message in [
        (tmp_path / "there.json", FileExistsError, "there.json: is there already; name another file"),
        (tmp_path / "no" / "such.json", FileNotFoundError, "such.json: there is no folder"),
        (tmp_path / "there.json" / "e.json", FileNotFoundError, "e.json: there is no folder"),
    ]:
        with pytest.raises(error, match=message):
            model.evaluate(out=out)
    assert (tmp_path / "there.json").read_text() == "figures"


def test_a_side_that_fits_the_cells_of_the_net_is_taken_by_all_methods(coco: Path, tmp_path: Path) -> None:
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(TREE))
    net = Detector(DetectorConfig(width=0.05, stride=16), region)
    content = {
        **describe_model(net, size=64),
        "image_labels": {},
        "position": {"step": 0},
        "net": net.description,
        "average": None,
        "model": net.state_dict(),
    }
    save_checkpoint(tmp_path / "fine.pt", content)
    model = YOLO9000(tmp_path / "fine.pt", device="cpu", size=80)
    assert len(model.predict(pixels())) == 1
    assert model.evaluate(coco=coco, images=2, batch=2)["step"] == 0
    assert len(model.predict(pixels(), size=48)) == 1
    for size in (72, -16):
        with pytest.raises(Mistake, match=f"`size` {size}: .*fine.pt has cells of 16 pixels; take a multiple"):
            YOLO9000(tmp_path / "fine.pt", device="cpu", size=size)


def test_the_whole_net_is_untouched_by_predictions(model: YOLO9000) -> None:
    detector = model.trained.detector
    assert isinstance(detector, Detector)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    model.predict(pixels())
    model.restrict("cat").predict(pixels())
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
