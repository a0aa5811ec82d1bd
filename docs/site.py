"""Hooks of MkDocs: pages that lie outside docs/ become part of the site, so that each text exists once.

README.md is the first page; CONTRIBUTING.md, CHANGELOG.md and benchmarks/*.md keep their places. Links are written as
they work in the repository, and are turned here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "scripts/README.md", "examples/README.md")


def in_site(markdown: str, page: str) -> str:
    """The text of a page with its links as the site needs them.

    Parameters
    ----------
    markdown : str
    page : str
        Its path in the repository, such as ``docs/ladder.md``.

    Examples
    --------
    >>> in_site("[ladder](docs/ladder.md), [rows](benchmarks/ladder.md)", "README.md")
    '[ladder](ladder.md), [rows](benchmarks/ladder.md)'
    >>> in_site("[rows](../benchmarks/ladder.md) and [home](../README.md)", "docs/ladder.md")
    '[rows](benchmarks/ladder.md) and [home](index.md)'
    >>> in_site("[why](../docs/ladder.md), [here](joint_training.md)", "benchmarks/ladder.md")
    '[why](../ladder.md), [here](joint_training.md)'
    """

    def turn(match: re.Match[str]) -> str:
        target = match[1]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        folder = Path(page).parent
        parts: list[str] = []
        for part in (folder / path).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        there = site_path("/".join(parts))
        here = Path(site_path(page)).parent
        up = len(here.parts)
        shared = 0
        while shared < up and there.split("/")[: shared + 1] == list(here.parts[: shared + 1]):
            shared += 1
        turned = "../" * (up - shared) + "/".join(there.split("/")[shared:])
        return f"]({turned}{'#' + anchor if anchor else ''})"

    return re.sub(r"\]\(([^)\s]+)\)", turn, markdown)


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site.

    Examples
    --------
    >>> site_path("README.md"), site_path("docs/images/demo.png"), site_path("benchmarks/ladder.md")
    ('index.md', 'images/demo.png', 'benchmarks/ladder.md')
    """
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside docs/; called by MkDocs."""
    markdown = ["README.md", *OUTSIDE, *(str(file.relative_to(ROOT)) for file in ROOT.glob("benchmarks/*.md"))]
    for path in markdown:
        content = in_site((ROOT / path).read_text(encoding="utf-8"), path)
        files.append(File.generated(config, site_path(path), content=content))
    for image in ROOT.glob("benchmarks/images/*"):
        files.append(File.generated(config, str(image.relative_to(ROOT)), abs_src_path=str(image)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page of docs/; called by MkDocs."""
    if page.file.generated_by is not None:
        return markdown
    return in_site(markdown, f"docs/{page.file.src_uri}")
