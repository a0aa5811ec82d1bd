"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import setuptools  # noqa: F401  # torch's compiler imports it, and refuses to if a test has brought distutils in before


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images, darknet's numbers and tree facts that may lie beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder.name}/ beside the repository")
    return folder
