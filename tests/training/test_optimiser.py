"""Learning rates as darknet's, weight decay where it belongs, the averaged weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from yolo9000.darknet import NetOptions, parse_cfg
from yolo9000.darknet.net_options import net_options
from yolo9000.experiment.schedule import optimiser_of_cfg
from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.optimiser import (
    ModelAverage,
    build_optimizer,
    learning_rate,
)

LR = json.loads((Path(__file__).parents[1] / "golden" / "lr.json").read_text())


def rates_of_cfg(name: str, batches: list[int]) -> list[float]:
    """Rates by the [net] options that darknet had for its table."""
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n" + LR["net_options"][name]
    options = net_options(parse_cfg(text).net)
    return [learning_rate(optimiser_of_cfg(options), batch, options.max_batches) for batch in batches]


@pytest.mark.parametrize("name", ["yolo9000", "darknet9000", "darknet19"])
def test_rates_of_darknet(name: str) -> None:
    assert len(LR["batch_num"]) == 22
    # darknet computes in float32: the base of a fourth power near 0 has lost its digits (1e-23 against .1)
    assert rates_of_cfg(name, LR["batch_num"]) == pytest.approx(LR["rate"][name], rel=1e-5, abs=1e-20)


def test_rates_of_tiny_voc_are_what_its_cfg_means() -> None:
    """steps=-1,100,20000,30000 scales=.1,10,.1,.1: darknet never passes its own first step, and answers .001 for ever.

    There -1 is compared as an unsigned number, the largest of all.
    """
    assert set(LR["rate"]["yolov2-tiny-voc"]) == {0.0010000000474974513}
    rates = rates_of_cfg("yolov2-tiny-voc", [0, 99, 100, 19_999, 20_000, 29_999, 30_000, 40_000])
    assert rates == pytest.approx([1e-4, 1e-4, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_rates_by_hand() -> None:
    config = OptimiserConfig(milestones=(0.8, 0.9), scales=(0.1, 0.1))
    rates = [learning_rate(config, n, 500_000) for n in (500, 1000, 399_999, 400_000, 450_000)]
    assert rates == pytest.approx([1e-3 / 16, 1e-3, 1e-3, 1e-4, 1e-5])


def test_policies_that_no_cfg_of_yolov2_has() -> None:
    with pytest.raises(ValueError, match="policy=exp is not supported"):
        optimiser_of_cfg(NetOptions(width=32, height=32, channels=3, policy="exp"))


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"momentum": -0.1}, {"burn_in_power": -1.0}])
def test_numbers_that_no_optimiser_takes(wrong: dict[str, float]) -> None:
    with pytest.raises(Mistake, match=f"`{next(iter(wrong))}` "):
        OptimiserConfig(**wrong)  # type: ignore[arg-type]


def test_steps_of_a_cfg_are_shares_of_its_batches() -> None:
    options = NetOptions(width=32, height=32, channels=3, policy="steps", steps=(5, 8, 20), scales=(0.5, 0.1, 0.1))
    config = optimiser_of_cfg(dataclasses.replace(options, max_batches=10))
    assert (config.milestones, config.scales) == ((0.5, 0.8), (0.5, 0.1))  # the last one is after the end
    with pytest.raises(Mistake, match="policy=steps needs max_batches"):
        optimiser_of_cfg(options)


def test_cosine_starts_at_the_peak_and_ends_at_the_final_part() -> None:
    config = OptimiserConfig(schedule="cosine", learning_rate=2.0, burn_in=10, burn_in_power=1, final=0.1)
    assert [round(learning_rate(config, n, 110), 6) for n in (1, 5, 10, 60, 110)] == [0.2, 1.0, 2.0, 1.1, 0.2]


def test_impossible_schedules() -> None:
    with pytest.raises(ValueError, match="2 `milestones` but 1 `scales`"):
        OptimiserConfig(milestones=(0.5, 0.6), scales=(0.1,))
    with pytest.raises(ValueError, match="learning_rate"):
        OptimiserConfig(learning_rate=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_only_convolution_weights_decay(optimizer: str) -> None:
    net = Detector(DetectorConfig(width=0.05), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=FlatClasses(3)))
    config = OptimiserConfig(optimizer=optimizer, weight_decay=0.25)  # type: ignore[arg-type]
    decays = {id(p): g["weight_decay"] for g in build_optimizer(net, config).param_groups for p in g["params"]}
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert decays[id(module.weight)] == 0.25
            assert module.bias is None or decays[id(module.bias)] == 0
        if isinstance(module, nn.BatchNorm2d):
            assert decays[id(module.weight)] == decays[id(module.bias)] == 0
    assert len(decays) == len(list(net.parameters()))


def test_one_sgd_step_is_darknets() -> None:
    # U = .9 U - (gradient + decay w) lr: two steps by hand
    net = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(net, OptimiserConfig(learning_rate=0.1, weight_decay=0.5))
    with torch.no_grad():
        net.weight.fill_(1.0)
    for expected in (1 - 0.1 * (2 + 0.5), 0.75 - 0.1 * (0.9 * 2.5 + 2 + 0.5 * 0.75)):
        net.weight.grad = torch.tensor([[2.0]])
        optimizer.step()
        assert net.weight.item() == pytest.approx(expected)


def test_average_keeps_its_own_statistics_and_leaves_the_model_alone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = ModelAverage(net, decay=0.75)
    norm, averaged = net[1], average.model[1]
    before = averaged.running_mean.clone()
    net(torch.randn(4, 1, 3, 3) + 5)
    assert torch.equal(averaged.running_mean, before)
    for _ in range(50):
        average.update(net)
    torch.testing.assert_close(averaged.running_mean, norm.running_mean)
    assert averaged.num_batches_tracked == 1
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())
    assert all(p.requires_grad for p in net.parameters())


def test_average_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0.0)
    average = ModelAverage(net, decay=0.25)  # (1 + n) / (10 + n) is 2/11, then 3/12: both at most .25
    with torch.no_grad():
        net.weight.fill_(1.0)
    average.update(net)
    assert average.model.weight.item() == pytest.approx(9 / 11)
    average.update(net)
    assert average.model.weight.item() == pytest.approx(9 / 11 + 0.75 * 2 / 11)
    again = ModelAverage(net, decay=0.25)
    again.load_state_dict(average.state_dict())
    assert (again.updates, again.model.weight.item()) == (2, average.model.weight.item())


def test_average_shares_the_tree_with_the_model() -> None:
    net = Detector(DetectorConfig(width=0.05), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=FlatClasses(3)))
    assert ModelAverage(net, 0.9).model.region is net.region


def test_a_skipped_first_step_leaves_no_trace() -> None:
    """A loss scaler skips steps until it has found its scale; the momentum of the next one starts from nothing."""
    weight = nn.Parameter(torch.ones(2, 2))
    net = nn.Module()
    net.register_parameter("weight", weight)
    optimizer = build_optimizer(net, OptimiserConfig(learning_rate=0.5, weight_decay=0.0), scaled=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    for gradient in (torch.inf, 1.0):
        scaler.scale((weight * gradient).sum()).backward()
        scaler.step(optimizer)
        scaler.update(1.0)
        optimizer.zero_grad()
    assert weight.tolist() == [[0.5, 0.5]] * 2
