"""Devices and interrupts."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from yolo9000.runtime.device import DeviceError, autocast, pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.interrupt import StopRequest


def test_huge_pages_are_asked_for_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    use_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    use_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_wrong_devices() -> None:
    with pytest.raises(DeviceError, match="`device` gpu: not a device"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="sees no GPU here"):
            pick_device("cuda")
        assert pick_device() == torch.device("cpu")


def test_precision_on_the_cpu() -> None:
    cpu = torch.device("cpu")
    assert pick_precision(cpu) in ("float32", "bfloat16")
    with autocast(cpu, "bfloat16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(cpu, "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(DeviceError, match="float16 is for GPUs"):
        autocast(cpu, "float16")


def test_the_first_interrupt_asks_and_the_second_aborts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest(quiet=True) as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_terminate_asks_too(capsys: pytest.CaptureFixture[str]) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # an impatient supervisor does not lose the checkpoint
        assert stop.requested
    assert "Ctrl-C again aborts" in capsys.readouterr().err
