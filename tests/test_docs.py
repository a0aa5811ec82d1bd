"""The documentation's pages: links are turned as the site needs them."""

from __future__ import annotations

import doctest
import importlib.util
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[1] / "docs" / "site.py"


def test_links_are_turned_as_the_examples_say():
    pytest.importorskip("mkdocs", reason="the documentation's tools (mkdocs) are not installed")
    spec = importlib.util.spec_from_file_location("docs_site", SITE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = doctest.testmod(module)
    assert result.attempted >= 4
    assert result.failed == 0
