"""What was found, as a table, as JSON and as a page of pictures."""

from __future__ import annotations

import html
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from yolo9000.checking.counts import Counts
from yolo9000.checking.findings import KINDS, Finding, ImageFile, Part
from yolo9000.datasets.errors import Unreadable
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.image_facts import read_part
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.mistakes import printable
from yolo9000.runtime.output_folder import OutputFolder

REPORT, PAGE = "check.json", "index.html"
_SHOWN, _SIDE, _NODES = 24, 240, 30


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of looking through data.

    Parameters
    ----------
    parts : list of Part
    counts : Counts
    size, stride : int
        What a small box was measured by.
    """

    parts: list[Part]
    counts: Counts
    size: int
    stride: int

    @property
    def findings(self) -> list[Finding]:
        """All of them, the gravest kinds first."""
        order = {kind: place for place, kind in enumerate(KINDS)}
        found = [finding for part in self.parts for finding in part.findings]
        return sorted(found, key=lambda each: (order[each.kind], each.source, each.split, each.file, each.line or 0))


def as_table(report: Report) -> str:
    """The report for a terminal: a line for each kind with the first place, and counts."""
    counts = report.counts
    lines = [
        f"{part.source} ({part.split}): {len(part.images):,} images, {len(part.boxes):,} boxes" for part in report.parts
    ]
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        by_kind[finding.kind].append(finding)
    if by_kind:
        width = max(len(KINDS[kind].title) for kind in by_kind)
        lines += ["", f"{'found':{width}}  {'number':>7}  {'a training':10}  the first"]
        for kind, found in by_kind.items():
            about, first = KINDS[kind], found[0]
            text = first.text.split("\n")[0]
            does = {"refuse": "refuses", "skip": "skips", "clip": "clips", "keep": "keeps"}.get(about.does, "ignores")
            where = f"{printable(first.place)}: {printable(text)}"
            lines.append(f"{about.title:{width}}  {len(found):7,}  {does:10}  {where}")
    else:
        lines += ["", "nothing is wrong"]
    if counts.tree is not None and counts.nodes:
        lines += ["", *(counts.sentence(node) for node in counts.nodes[:_NODES])]
        if len(counts.nodes) > _NODES:
            lines.append(f"and {len(counts.nodes) - _NODES:,} more classes")
    notes = _notes(report)
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _notes(report: Report) -> list[str]:
    """What is worth knowing and no flaw."""
    counts, found = report.counts, []
    if counts.never_boxed and counts.tree is not None:
        names = [counts.tree.names[node] for node in counts.never_boxed]
        found.append(f"never boxed, only labelled: {_some(names)}")
    if counts.without_boxes:
        found.append(f"declared and never boxed: {_some([name for _, name in counts.without_boxes])}")
    if small := sum(counts.small.values()):
        found.append(
            f"{small:,} of {sum(counts.boxes.values()):,} boxes are smaller than a cell ({report.stride} pixels of "
            f"{report.size})"
        )
    found += [f"{each}; if so, say it in a table for `yolo9000 tree build --categories`" for each in counts.senses]
    return [printable(line) for line in found]


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    counts = report.counts
    kinds = Counter(finding.kind for finding in report.findings)
    nodes = [
        {
            "node": node,
            "wnid": counts.tree.wnids[node],
            "name": counts.tree.names[node],
            "boxes": counts.boxes[node],
            "images": counts.images[node],
            "small_boxes": counts.small[node],
        }
        for node in counts.nodes
        if counts.tree is not None
    ]
    return {
        "sets": [
            {"set": part.source, "split": part.split, "images": len(part.images), "boxes": len(part.boxes)}
            for part in report.parts
        ],
        "kinds": {kind: {"found": kinds[kind], **about._asdict()} for kind, about in KINDS.items() if kinds[kind]},
        "findings": [{**asdict(finding), "does": KINDS[finding.kind].does} for finding in report.findings],
        "nodes": nodes,
        "never_boxed": counts.never_boxed,
        "declared_and_never_boxed": counts.without_boxes,
        "senses": [asdict(each) for each in counts.senses],
        "cell": {"size": report.size, "stride": report.stride, "smaller": sum(counts.small.values())},
    }


def write_page(report: Report, folder: OutputFolder) -> None:
    """Write ``index.html`` and the pictures that it shows, some of each kind of flaw.

    Parameters
    ----------
    report : Report
    folder : OutputFolder
    """
    images = {(part.source, part.split, image.key): (image, part) for part in report.parts for image in part.images}
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        by_kind[finding.kind].append(finding)
    sections, pictures = [], 0
    with LeanChild() as child:
        for kind, found in by_kind.items():
            about = KINDS[kind]
            cells = []
            for finding in found[:_SHOWN]:
                shows = images.get((finding.source, finding.split, finding.image))
                picture = _picture(child, *shows, finding) if shows is not None else None
                name = f"pictures/{pictures}.jpg"
                if picture is not None:
                    write_atomically(folder.file(name), picture)
                    pictures += 1
                shown = f'<img src="{name}" alt="">' if picture is not None else ""
                place = html.escape(printable(finding.place))
                cells.append(f"<figure>{shown}<figcaption><code>{place}</code><br>{html.escape(printable(finding.text))}"
                             "</figcaption></figure>")  # fmt: skip
            more = f"<p>and {len(found) - _SHOWN:,} more in {REPORT}</p>" if len(found) > _SHOWN else ""
            sections.append(
                f"<h2>{html.escape(about.title)} ({len(found):,})</h2><p>A training does this: <b>{about.does}</b>; "
                f"{html.escape(about.meaning)}.</p><div>{''.join(cells)}</div>{more}"
            )
    counted = [report.counts.sentence(node) for node in report.counts.nodes]
    counted += _notes(report)
    items = "".join(f"<li>{html.escape(printable(line))}</li>" for line in counted)
    page = _PAGE.format(body="".join(sections) or "<p>Nothing is wrong.</p>", counts=items)
    write_atomically(folder.file(PAGE), page.encode("utf-8", "replace"))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Data</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:75rem}}div{{display:flex;flex-wrap:wrap;gap:1rem}}
figure{{margin:0;width:15rem;overflow-wrap:anywhere}}img{{max-width:100%}}figcaption{{font-size:.85rem}}</style>
<h1>What was found in the data</h1>{body}<h2>What each class is trained on</h2><ul>{counts}</ul></html>
"""


def _picture(child: LeanChild, image: ImageFile, part: Part, finding: Finding) -> bytes | None:
    """The image of a finding as its boxes refer to it, small, with the box; None if it cannot be shown."""
    try:
        place = {"path": image.path, "offset": image.offset, "size": image.size, "key": image.key}
        data = read_part(place) if image.read is None else image.read()
        pixels = child.decode(data, image.key, upright=part.upright)
        height, width = pixels.shape[:2]
        if image.stated == (height, width) != (width, height):  # as `BoxIndex.record` turns it
            pixels = child.decode(data, image.key, upright=True)
    except Unreadable:
        return None
    picture = Image.fromarray(np.asarray(pixels))
    scale = _SIDE / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    if finding.box_xyxy is not None:
        limits = (picture.width - 1, picture.height - 1) * 2
        edges = [min(max(value * scale, 0), most) for value, most in zip(finding.box_xyxy, limits, strict=True)]
        if edges[2] >= edges[0] and edges[3] >= edges[1]:
            ImageDraw.Draw(picture).rectangle(tuple(edges), outline=(255, 0, 0), width=2)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()


def files_of(parts: Sequence[Part]) -> list[Path]:
    """The image files of all parts, none of which is written over."""
    return [image.path for part in parts for image in part.images if isinstance(image.path, Path)]
