"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch._subclasses.fake_tensor import FakeTensorMode

# An example may take as long as the processor needs, and so may its drawing.
settings.register_profile("any processor", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any processor")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images, darknet's numbers and tree facts that may lie beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder.name}/ beside the repository")
    return folder


@pytest.fixture(scope="session")
def fake_cuda() -> None:
    """Skip where CUDA cannot be faked: torch 2.6 and 2.7 ask its driver to copy some fake tensors as well."""
    with FakeTensorMode():
        try:
            torch.empty(2, device="cuda").copy_(torch.empty(2, device="cuda"))
        except RuntimeError:
            pytest.skip(f"torch {torch.__version__} needs a GPU's driver for fake CUDA tensors")
