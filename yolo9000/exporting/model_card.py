"""The README.md of a folder on the Hugging Face Hub, filled from a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from typing import Any

from yolo9000.exporting.folder import last_name, name_of
from yolo9000.inference.model import TrainedModel
from yolo9000.models.classes import Classes
from yolo9000.runtime.output_folder import latest_file
from yolo9000.runtime.run_folder import RunFolder

Counts = Mapping[int, tuple[int, int]]
"""Node or class -> the boxes of it, and the images with its label, that the net was trained on."""

LICENCES = {
    "coco": "annotations CC BY 4.0; each photograph has the terms that its owner chose on Flickr",
    "voc": "photographs from Flickr under its terms of use; the set names no licence of its own",
    "imagenet": "non-commercial research and education, by ImageNet's terms of access",
    "imagenet_det": "non-commercial research and education, by ImageNet's terms of access",
    "imagenet_pack": "non-commercial research and education, by ImageNet's terms of access",
    "scenes": "drawn from OpenMoji's pictograms, CC BY-SA 4.0",
}
"""Layout -> what its publishers say. Your own data in such a layout have your terms, and the card says so."""

MOST_ROWS = 300
"""Classes in the table of counts; the others are summed up."""


def model_card(trained: TrainedModel, *, license: str | None = None, counts: Counts | None = None) -> str:
    """What a net is, what it was trained on, how well it does, and where it ends: Markdown with the Hub's header.

    Parameters
    ----------
    trained : TrainedModel
    license : str, optional
        The identifier that the Hub knows, such as ``cc-by-sa-4.0``. The data's licences may forbid what it allows.
    counts : mapping, optional
        The training labels of each class.

    Returns
    -------
    str
        Scores are those of the last evaluation beside the checkpoint, or the last ones of ``results.csv``.
    """
    folder = RunFolder(trained.path.parent)
    data = trained.content.get("data")
    layouts = [layout for layout, _ in (data or {}).get("sets", ())] or (["scenes"] if data is not None else [])
    parts = [
        _header(license),
        f"# {name_of(trained.path)}\n\n{_what(trained)}",
        _USE,
        f"## Data and their licences\n\n{_data(data, layouts, license)}",
        f"## Training\n\n{_training(trained)}",
        f"## Scores\n\n{_scores(folder)}",
        f"## Training labels by class\n\n{_counts(trained.classes, trained, counts)}",
        f"## Limits\n\n{_limits(trained)}",
    ]
    return "\n\n".join(parts) + "\n"


_USE = """## Use

```python
from yolo9000 import YOLO9000

model = YOLO9000.from_pretrained("OWNER/NAME")  # or a folder
result = model.predict("photo.jpg")[0]
print(result.labels, result.boxes.score)
```

The same folder is a RUN for the commands: `python -m yolo9000.predict FOLDER photo.jpg`. The weights are safetensors,
and nothing in the folder is executed when it is read."""


def _header(license: str | None) -> str:
    """What the Hub reads. It names no data sets: a set in COCO's layout need not be COCO."""
    lines = ["---", "library_name: yolo9000", "pipeline_tag: object-detection"]
    lines.append(f"license: {json.dumps(license)}" if license else "license: unknown")
    lines += ["tags:", *(f"- {tag}" for tag in ("yolo9000", "yolov2", "wordnet", "hierarchical-classification"))]
    return "\n".join([*lines, "---"])


def _what(trained: TrainedModel) -> str:
    classes = trained.classes
    meaning = "flat classes" if classes.tree is None else "nodes of a tree of concepts (`tree.json`)"
    parameters = sum(parameter.numel() for parameter in trained.detector.parameters())
    boxed, never = len(trained.boxed), len(trained.never_boxed)
    taught = f"{boxed} of them had boxes in training"
    if never:
        taught += f", and {never} were only labels of whole images"
    return (
        f"A YOLO9000 detector of {classes.number:,} {meaning}; {taught}. It has {parameters / 1e6:.1f} M weights, and "
        f"takes images of {trained.size} pixels, letterboxed. `config.json` has its form."
    )


def _data(data: Mapping[str, Any] | None, layouts: list[str], license: str | None) -> str:
    stated = f"This model's licence: {license}." if license else "No licence was chosen for this model yet."
    if data is None:
        return f"The checkpoint does not say which data it was trained on: fill this in.\n\n{stated}"
    rows = ["| set | name | terms |", "| --- | --- | --- |"]
    names = [last_name(path) for _, path in data.get("sets", ())] or ["scenes drawn as they are read"]
    for layout, name in zip(layouts, names, strict=True):
        rows.append(f"| {layout} | {_cell(name)} | {LICENCES.get(layout, 'your own: fill this in')} |")
    own = "" if layouts == ["scenes"] else (
        " The terms are those of the published sets; data of your own in the same layout have yours: correct the table."
    )  # fmt: skip
    return "\n".join(rows) + f"\n\n{stated}{own}"


def _training(trained: TrainedModel) -> str:
    content = trained.content
    phases = ", ".join(f"{name} {steps:,} steps" for name, steps in content.get("phases", ()))
    seen = content.get("position", {}).get("images_seen")
    lines = [f"It was trained for {trained.step:,} steps{f' ({phases})' if phases else ''}."]
    if "batch_size" in content:
        lines.append(f"A batch had {content['batch_size']} images.")
    if seen:
        lines.append(f"The last phase showed {seen:,} images.")
    if labels := content.get("image_labels"):
        said = ", ".join(f"{key} {value}" for key, value in labels.items())
        lines.append(f"Labels of whole images taught boxes by the rule: {said}.")
    return " ".join(lines)


def _scores(folder: RunFolder) -> str:
    file = latest_file(folder.path / "evaluation.json")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _last_scores(folder)
    rows = ["| classes | number | AP50 | AP50:95 |", "| --- | --- | --- | --- |"]
    for key, name in (("boxed", "with boxes in training"), ("never_boxed", "that never had a box")):
        part = report.get(key) or {}
        if part.get("classes"):
            rows.append(f"| {name} | {part['classes']} | {_number(part.get('ap50'))} | {_number(part.get('ap'))} |")
    return "\n".join(rows) + f"\n\nThey are those of `{file.name}`, on images held out from training."


def _last_scores(folder: RunFolder) -> str:
    wanted = ("ap50", "ap50_boxed", "ap50_never_boxed")
    last: dict[str, str] = {}
    try:
        with folder.results.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                last |= {key: row[key] for key in ("step", *wanted) if row.get(key)}
    except (OSError, csv.Error, UnicodeDecodeError):
        pass
    if not any(key in last for key in wanted):
        return "It was not evaluated: `python -m yolo9000.evaluate RUN` does, and the next export fills this in."
    rows = ["| figure | value |", "| --- | --- |", *(f"| {key} | {last[key]} |" for key in wanted if key in last)]
    return "\n".join(rows) + "\n\nThey are the last of the training's own evaluations, on a few held-out images."


def _counts(classes: Classes, trained: TrainedModel, counts: Counts | None) -> str:
    if counts is None:
        return (
            f"The labels were not counted. Boxes of {len(trained.boxed)} classes and labels of "
            f"{len(trained.never_boxed)} others were trained on; `config.json` lists both."
        )
    rows = ["| class | id | boxes | images with the label |", "| --- | --- | --- | --- |"]
    seen = sorted((n for n, pair in counts.items() if any(pair)), key=lambda n: (-sum(counts[n]), n))
    for node in seen[:MOST_ROWS]:
        boxes, images = counts[node]
        identity = classes.identity(node).get("id", str(node))
        rows.append(f"| {_cell(classes.name(node))} | {identity} | {boxes:,} | {images:,} |")
    rest = seen[MOST_ROWS:]
    if rest:
        boxes, images = (sum(counts[node][place] for node in rest) for place in (0, 1))
        rows.append(f"| {len(rest):,} more | | {boxes:,} | {images:,} |")
    return "\n".join(rows) + f"\n\nThe other {classes.number - len(seen):,} of {classes.number:,} classes had no label."


def _limits(trained: TrainedModel) -> str:
    lines = [
        "- Probabilities were learnt from the data above, and carry over to other images as far as these are alike.",
        "- It knows its own classes alone: a thing that is none of them is left out, or named as the nearest of them.",
    ]
    if trained.classes.tree is not None:
        lines.append('- Where it is not sure of a kind it gives the broader name, such as "dog" for a terrier.')
    if trained.never_boxed:
        lines.append(
            f"- {len(trained.never_boxed)} classes never had a box in training (`never_boxed` in config.json): where "
            "their boxes end was learnt from other things, and their scores are lower."
        )
    lines.append("- It is not made for decisions about people, or where an error does harm.")
    return "\n".join(lines)


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "not measured"


def _cell(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
