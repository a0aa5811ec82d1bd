"""YOLOv1's nets: their layers by hand, darknet's own numbers of a whole net, and cfgs that are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yolo9000.darknet import (
    CfgError,
    DarknetHeader,
    DarknetNet,
    WeightsError,
    from_cfg,
    load_darknet_weights,
    parse_cfg,
    save_darknet_weights,
)
from yolo9000.darknet.connected import Connected, Local
from yolo9000.darknet.layers import Crop
from yolo9000.darknet.weights import count_floats
from yolo9000.detection import Target, yolov1_loss
from yolo9000.models import FlatClasses, GridLossConfig, GridOutput, GridSpec, Yolov1
from yolo9000.models.config import DetectorConfig
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.optimiser import build_optimizer

GOLDEN = Path(__file__).parents[1] / "golden"
CONVOLUTIONS, LOCAL, CONNECTED = (0, 2, 4), 5, (6, 8)  # of net_yolov1_a


def golden_net(name: str = "net_yolov1_a") -> DarknetNet:
    net = from_cfg(GOLDEN / "net_yolov1_a.cfg")
    load_darknet_weights(net, GOLDEN / f"{name}.weights")
    return net


@pytest.fixture(scope="module")
def z() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / "net_yolov1_a.npz") as file:
        return dict(file)


def targets(truth: NDArray[np.float32]) -> list[Target]:
    """Rows (B, 9, 1 + 4 + 4) of 3 x 3 cells -> boxes of the image."""
    found = []
    for image in truth:
        cells = np.flatnonzero(image[:, 0])
        rows = image[cells].astype(np.float64)
        centres = (np.stack([cells % 3, cells // 3], axis=1) + rows[:, 5:7]) / 3
        boxes = np.concatenate([centres, rows[:, 7:]], axis=1)
        found.append(Target(torch.tensor(boxes).reshape(-1, 4), torch.tensor(rows[:, 1:5].argmax(axis=1))))
    return found


@torch.no_grad()
def test_every_layer_gives_darknets_numbers(z: dict[str, Any]) -> None:
    net = golden_net().eval()
    x = torch.tensor(z["input"])
    for number, layer in enumerate(net.layers):
        x = layer(x)
        np.testing.assert_allclose(x.numpy(), z[f"L{number}_output"], rtol=0, atol=1e-5, err_msg=str(number))
        assert x[0].numel() == np.prod(net.shapes[number])
    output = net(torch.tensor(z["input"]))
    assert isinstance(output, GridOutput)
    np.testing.assert_allclose(output.raw.numpy(), z["L9_output"], rtol=0, atol=1e-5)
    assert net.detection == GridSpec(classes=FlatClasses(4, "linear"), num=2, loss=GridLossConfig(rescore=True))
    assert (net.region, net.classes, net.stride, net.is_fixed) == (None, FlatClasses(4, "linear"), 16, True)


def gradients(net: DarknetNet, number: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Those of the weights, the biases, and the batch norm's scales."""
    layer = net.layers[number]
    if isinstance(layer, Local):
        weight, bias, scale = layer.weight.grad, layer.bias.grad, None
    elif isinstance(layer, Connected):
        weight, bias, scale = layer[1].weight.grad, layer[1].bias.grad, None  # type: ignore[union-attr]
    else:
        weight, bias, scale = layer[0].weight.grad, layer[1].bias.grad, layer[1].weight.grad  # type: ignore[index]
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight, bias, scale  # type: ignore[return-value]


def step(net: DarknetNet, z: dict[str, Any]) -> Tensor:
    """A forward and a backward pass in training mode; the raw numbers."""
    assert net.detection is not None
    raw: Tensor = net.train()(torch.tensor(z["input"])).raw
    torch.stack(list(yolov1_loss(raw, targets(z["truth"]), net.detection).values())).sum().backward()
    return raw.detach()


def check_gradients(net: DarknetNet, z: dict[str, Any], prefix: str) -> None:
    for number in (*CONVOLUTIONS, LOCAL, *CONNECTED):
        for ours, name in zip(gradients(net, number), ("dW", "db", "dscale"), strict=True):
            expected = z.get(f"{prefix}_L{number}_{name}")
            if expected is not None:
                assert ours is not None
                largest = float(np.abs(expected).max())
                np.testing.assert_allclose(ours.numpy(), -expected, rtol=0, atol=1e-4 * largest, err_msg=str(number))


@pytest.mark.parametrize(
    ("prefix", "limit", "after"), [("train", None, "_after_step"), ("trainclip", 1.0, "_after_step_clip")]
)
def test_a_training_step_is_darknets(
    z: dict[str, Any], tmp_path: Path, prefix: str, limit: float | None, after: str
) -> None:
    """As on its processor, and with the clipped deltas of its GPU."""
    net = golden_net()
    net.layers[7].p = 0.0
    net.clip_connected_deltas(limit)
    raw = step(net, z)
    np.testing.assert_allclose(raw.numpy(), z["train_raw"], rtol=0, atol=1e-5)
    check_gradients(net, z, prefix)
    for number in CONVOLUTIONS:
        norm = net.layers[number][1]  # type: ignore[index]
        np.testing.assert_allclose(norm.running_mean.numpy(), z[f"train_L{number}_rmean"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(norm.running_var.numpy(), z[f"train_L{number}_rvar"], rtol=1e-5)
    for parameter in net.parameters():
        assert parameter.grad is not None
        parameter.grad /= 3  # images of a batch
    config = OptimiserConfig(learning_rate=0.01, momentum=0.9, weight_decay=0.0005)
    build_optimizer(net, config).step()
    save_darknet_weights(net, tmp_path / "stepped.weights", images_seen=6400)
    ours, darknets = tmp_path / "stepped.weights", GOLDEN / f"net_yolov1_a{after}.weights"
    assert ours.read_bytes()[:20] == darknets.read_bytes()[:20]
    values = [np.fromfile(file, "<f4", offset=20) for file in (ours, darknets)]
    np.testing.assert_allclose(*values, rtol=0, atol=1e-5)


def test_the_gradient_at_the_raw_numbers_is_darknets(z: dict[str, Any]) -> None:
    net = golden_net()
    assert net.detection is not None
    raw = torch.tensor(z["train_raw"], requires_grad=True)
    torch.stack(list(yolov1_loss(raw, targets(z["truth"]), net.detection).values())).sum().backward()
    assert raw.grad is not None
    np.testing.assert_allclose(raw.grad.numpy(), -z["train_delta"], rtol=1e-4, atol=1e-6)


def test_dropout_is_darknets(z: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With its random numbers in the place of torch's: what is kept is scaled, so that evaluation changes nothing."""

    def dropped(x: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
        assert (p, training, inplace) == (0.5, True, False)
        return x * (torch.tensor(z["drop_rand"]) >= p) / (1 - p)

    monkeypatch.setattr("torch.nn.functional.dropout", dropped)
    net = golden_net()
    raw = step(net, z)
    np.testing.assert_allclose(raw.numpy(), z["drop_raw"], rtol=0, atol=1e-5)
    check_gradients(net, z, "drop")


def test_torchs_dropout_scales_likewise() -> None:
    net = DarknetNet(parse_cfg("[net]\ninputs=1000\n[dropout]\nprobability=.2\n"))
    x = net.train()(torch.ones(1, 1000)).raw
    assert set(x.unique().tolist()) == {0.0, 1.25}
    assert torch.equal(net.eval()(torch.ones(1, 1000)).raw, torch.ones(1, 1000))


def test_darknets_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    save_darknet_weights(golden_net(), tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == (GOLDEN / "net_yolov1_a.weights").read_bytes()


# 2 inputs -> 3 outputs with batch norm (3 biases, 6 weights, 3 x 3 statistics), 3 -> 1 (1 bias, 3 weights)
VECTORS = """[net]
inputs=2
[connected]
output=3
batch_normalize=1
activation=relu
[connected]
activation=linear
"""


@pytest.mark.parametrize(
    ("header", "first_row", "size"),
    [(struct.pack("<iiiQ", 0, 2, 0, 7), [3, 4], 20), (struct.pack("<iiiI", 0, 1001, 0, 7), [3, 6], 16)],
)
def test_floats_of_fully_connected_layers(tmp_path: Path, header: bytes, first_row: list[int], size: int) -> None:
    """Batch norm's numbers come after the weights; a version above 1000 has these transposed."""
    (tmp_path / "a.weights").write_bytes(header + np.arange(22, dtype="<f4").tobytes())
    net = DarknetNet(parse_cfg(VECTORS))
    load_darknet_weights(net, tmp_path / "a.weights")
    _, linear, norm, _ = net.layers[0]  # type: ignore[misc]
    assert norm.bias.tolist() == [0, 1, 2]
    assert linear.weight[0].tolist() == first_row
    assert linear.weight[2, 1] == 8
    assert norm.weight.tolist() == [9, 10, 11]
    assert norm.running_mean.tolist() == [12, 13, 14]
    assert norm.running_var.tolist() == [15, 16, 17]
    last = net.layers[1][1]  # type: ignore[index]
    assert (last.bias.tolist(), last.weight.tolist()) == ([18], [[19, 20, 21]])
    save_darknet_weights(net, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == (tmp_path / "a.weights").read_bytes()
    assert len(header) == size


def test_floats_of_a_local_layer_and_what_it_computes(tmp_path: Path) -> None:
    """2 x 2 places, 2 filters of 1 channel and 1 x 1: 8 biases [filter][row][column], 8 weights [place][filter]."""
    text = "[net]\nwidth=2\nheight=2\nchannels=1\n[local]\nfilters=2\nactivation=linear\n"
    net = DarknetNet(parse_cfg(text))
    (tmp_path / "a.weights").write_bytes(DarknetHeader().to_bytes() + np.arange(16, dtype="<f4").tobytes())
    load_darknet_weights(net, tmp_path / "a.weights")
    answer = net(torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])).raw
    # filter 0: biases 0 1 2 3, weights 8 10 12 14 of the four places; filter 1: biases 4 5 6 7, weights 9 11 13 15
    assert answer.tolist() == [[[[8, 101], [1202, 14003]], [[13, 115], [1306, 15007]]]]


@torch.no_grad()
def test_a_local_layer_is_a_loop_over_places() -> None:
    torch.manual_seed(0)
    layer = Local((3, 7, 5), 4, 3, 2, 1, nn.LeakyReLU(0.1))
    layer.bias.normal_()
    x = torch.randn(2, 3, 7, 5)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    answer = layer(x)
    assert answer.shape == (2, 4, 4, 3)
    for row in range(4):
        for column in range(3):
            window = padded[:, :, row * 2 : row * 2 + 3, column * 2 : column * 2 + 3]
            sums = torch.einsum("bcij,fcij->bf", window, layer.weight[row * 3 + column])
            sums += layer.bias.view(4, 4, 3)[:, row, column]
            torch.testing.assert_close(answer[:, :, row, column], torch.where(sums > 0, sums, 0.1 * sums))


def test_new_weights_are_drawn_as_darknets() -> None:
    """Uniform to sqrt(2 / inputs); the filters of all places, which darknet forgets."""
    torch.manual_seed(0)
    net = DarknetNet(
        parse_cfg(
            "[net]\nwidth=8\nheight=8\nchannels=2\n[local]\nsize=3\npad=1\nfilters=8\nactivation=leaky\n"
            "[connected]\noutput=50\nactivation=leaky\n"
        )
    )
    local, connected = net.layers[0], net.layers[1]
    for weight, inputs in ((local.weight, 18), (connected[1].weight, 512)):  # type: ignore[index]
        bound = (2 / inputs) ** 0.5
        assert weight.abs().max() <= bound  # type: ignore[union-attr,operator]
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)  # type: ignore[union-attr,operator]
    assert (local.weight.flatten(1).std(dim=1) > 0).all()  # type: ignore[union-attr,operator]
    assert [parameter.dim() for parameter in net.parameters()] == [5, 1, 2, 1]  # one axis: no weight decay


def test_crop_takes_the_middle_or_a_random_part() -> None:
    crop = Crop(2, 3, flip=True)
    x = torch.rand(2, 3, 5, 4)
    assert torch.equal(crop.eval()(x), 2 * x[:, :, 1:3, 0:3] - 1)  # 3 / 2 and 1 / 2, rounded down
    assert torch.equal(Crop(2, 3, adjust=False).eval()(x), x[:, :, 1:3, 0:3])
    torch.manual_seed(0)
    parts = [2 * x[:, :, top : top + 2, left : left + 3] - 1 for top in range(4) for left in range(2)]
    parts += [part.flip(-1) for part in parts]
    crop.train()
    seen = set()
    for _ in range(300):
        cropped = crop(x)
        seen.add(next(n for n, part in enumerate(parts) if torch.equal(part, cropped)))
    assert seen == set(range(16))


@pytest.mark.parametrize(
    ("name", "floats", "numbers", "side"),
    [
        ("yolov1", 197_328_243, 1715, 448), ("yolov1-tiny", 27_099_950, 1470, 448),
        ("extraction", 23_455_400, 1000, 224), ("yolov1-paper", 271_703_550, 1470, 448),
    ],
)  # fmt: skip
def test_built_in_nets_have_darknets_weights(name: str, floats: int, numbers: int, side: int) -> None:
    with torch.device("meta"):
        net = from_cfg(name)
        assert count_floats(net) == floats
        assert net(torch.zeros(1, 3, side, side)).raw.shape == (1, numbers)
    assert (net.detection is None) == (name == "extraction")


def test_the_built_in_classifier_is_the_beginning_of_yolov1() -> None:
    """So that extraction.conv.weights, of 22,430,400 floats, fills its first 24 layers."""
    with torch.device("meta"):
        yolo, extraction = from_cfg("yolov1"), from_cfg("extraction")
    assert sum(count_floats(layer) for layer in yolo.layers[:24]) == 22_430_400
    assert [layer.state_dict().keys() for layer in yolo.layers[:24]] == [
        layer.state_dict().keys() for layer in extraction.layers[:24]
    ]
    paper = [section.name for section in from_meta("yolov1-paper").cfg.layers]
    assert paper[0] == "crop"
    assert paper[-4:] == ["connected", "dropout", "connected", "detection"]


def from_meta(name: str) -> DarknetNet:
    with torch.device("meta"):
        return from_cfg(name)


@pytest.mark.parametrize("name", ["small.conv.5", "small.conv.weights"])
def test_the_first_layers_can_be_filled_alone(z: dict[str, Any], tmp_path: Path, name: str) -> None:
    whole = (GOLDEN / "net_yolov1_a.weights").read_bytes()
    net = golden_net()
    held = sum(count_floats(layer) for layer in net.layers[:5])
    (tmp_path / name).write_bytes(whole[: 20 + 4 * held])
    fresh = from_cfg(GOLDEN / "net_yolov1_a.cfg")
    left = load_darknet_weights(fresh, tmp_path / name).not_filled
    assert [each.split(" ")[2] for each in left] == ["([local]", "([connected]", "([connected]"]
    assert torch.equal(fresh.layers[4][0].weight, net.layers[4][0].weight)  # type: ignore[index]
    (tmp_path / name).write_bytes(whole[: 20 + 4 * (held + 72 + 28)])  # its 72 biases, and some weights
    with pytest.raises(WeightsError, match="28 of 10,368 floats into the weights of layer 5"):
        load_darknet_weights(fresh, tmp_path / name)


def test_our_own_net_of_yolov1_goes_through_a_weights_file(tmp_path: Path) -> None:
    form = DetectorConfig(width=0.05, stride=32, head="connected")
    grid = GridSpec(classes=FlatClasses(3, "linear"))
    ours, other = Yolov1(form, grid, size=64).eval(), Yolov1(form, grid, size=64).eval()
    save_darknet_weights(ours, tmp_path / "a.weights", images_seen=0)
    load_darknet_weights(other, tmp_path / "a.weights")
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x).raw, other(x).raw)


NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
GRID = "[detection]\ncoords=4\nside=2\nclasses=2\nnum=1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NET + "[connected]\noutput=28\n[detection]\nside=2\n", r"cfg:7: \[detection\] coords=4 is missing"),
        (NET + GRID.replace("coords=4", "coords=1"), r"coords=1 is not supported, only coords=4"),
        (NET + "[connected]\noutput=27\n" + GRID, r"2 x 2 x \(2 \+ 5 x 1\) = 28 numbers, the layer before gives 27"),
        (NET + "[connected]\noutput=28\n" + GRID + "forced=1\n", r"`forced` chooses between predictors 0 and 1"),
        (NET + "[connected]\noutput=28\n" + GRID + "[connected]\n", r"comes after the \[detection\] layer"),
        (NET + "[local]\nsize=3\npad=2\n", r"\[local\] pad=2: darknet reads beside its windows"),
        (NET + "[local]\nsize=9\n", r"size=9 is too large for an image of 8 x 8"),
        (NET + "[connected]\nactivation=loggy\n", r"activation=loggy: leaky, linear"),
        (NET + "[connected]\noutput=2000000000\n", r"output=2000000000: a whole number is due"),
        (NET + "[connected]\noutput=99999999\n", r"makes a net of more than 1,073,741,824 weights"),
        (NET + "[connected]\noutput=4\n[maxpool]\nsize=2\n", r"\[maxpool\] needs an image, and the layer before gives"),
        (NET + "[connected]\noutput=4\n[route]\nlayers=0,-1\n", None),
        (NET + "[avgpool]\n[connected]\noutput=4\n[route]\nlayers=0,1\n", r"images and vectors cannot be joined"),
        (NET + "[dropout]\nprobability=1\n", r"probability=1: 0 <= probability < 1 is needed"),
        (NET + "[crop]\ncrop_height=9\n", r"9 x 1 is larger than the image of 8 x 8"),
        ("[net]\ninputs=4\n[convolutional]\n", r"\[convolutional\] needs an image"),
        ("[net]\ninputs=4\nwidth=3\n[connected]\n", r"\[net\] height= is missing"),
    ],
)  # fmt: skip
def test_cfgs_that_make_no_net(text: str, message: str | None) -> None:
    if message is None:
        assert DarknetNet(parse_cfg(text)).shapes[-1] == (8, 1, 1)
        return
    with pytest.raises(CfgError, match=message):
        DarknetNet(parse_cfg(text))


def test_images_of_another_size_are_refused() -> None:
    net = DarknetNet(parse_cfg(NET + "[connected]\noutput=28\n" + GRID))
    with pytest.raises(ValueError, match="images of 8 x 8 are needed, got .16, 16.: a layer of the net has weights"):
        net(torch.zeros(1, 3, 16, 16))
    vectors = DarknetNet(parse_cfg("[net]\ninputs=28\n" + GRID))
    with pytest.raises(ValueError, match=r"\(B, 28\) is needed, got \(1, 27\)"):
        vectors(torch.zeros(1, 27))


@pytest.mark.parametrize("case", ["detection_s3n2c4", "detection_s3n3c5_softmax"])
def test_a_cfg_of_one_detection_layer(case: str) -> None:
    net = from_cfg(GOLDEN / f"{case}.cfg").eval()
    with np.load(GOLDEN / f"{case}.npz") as z:
        output = net(torch.tensor(z["input"]))
        assert isinstance(output, GridOutput)
        np.testing.assert_array_equal(output.raw.numpy(), z["input"])
        classes = output.cell_classes
        if case == "detection_s3n2c4":
            assert net.detection == GridSpec(classes=FlatClasses(4, "linear"))
        else:
            loss = GridLossConfig(object_scale=2, noobject_scale=0.7, class_scale=1.5, coord_scale=3, rescore=False)
            flat = FlatClasses(5, "softmax")
            assert net.detection == GridSpec(classes=flat, num=3, square_root=False, loss=loss)
        assert net.classes is not None
        ours = torch.cat([net.classes.conditionals(classes).flatten(1), output.raw[:, classes[0].numel() :]], dim=1)
        np.testing.assert_allclose(ours.numpy(), z["output_test"], rtol=0, atol=1e-6)


def test_darknets_defaults_of_a_detection_layer() -> None:
    text = "[net]\ninputs=294\n[detection]\ncoords=4\n"  # 7 x 7 x (1 + 5)
    grid = DarknetNet(parse_cfg(text)).detection
    loss = GridLossConfig(object_scale=1, noobject_scale=1, class_scale=1, coord_scale=1, rescore=False)
    assert grid == GridSpec(classes=FlatClasses(1, "linear"), num=1, square_root=False, loss=loss)


def test_a_random_predictor_in_training_is_no_reason_to_refuse_a_net(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        net = DarknetNet(parse_cfg(NET + "[connected]\noutput=28\n" + GRID + "random=1\n"))
    assert net.detection is not None
    assert "[detection] random=1: the best predictor learns here" in caplog.text
