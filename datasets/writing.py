"""Data sets that are written for others to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Source


def write_yolo(
    folder: str | Path,
    splits: Mapping[str, Source],
    names: Sequence[str],
    *,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Write images with boxes in YOLO's layout, as PNG.

    Parameters
    ----------
    folder : str or Path
        It is made, and must not be there.
    splits : mapping of str to Source
        ``train`` and ``val``: images with boxes, whose labels are places in `names`.
    names : sequence of str
        The names of the classes.
    progress : callable
        It is called after each image.

    Raises
    ------
    DatasetError
        The folder exists.
    """
    import yaml

    folder = _new(folder)
    for split, source in splits.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(len(source)):
            record = source.read(number)
            height, width = record.image.shape[:2]
            stem = f"{number:06}"
            Image.fromarray(record.image).save(images / f"{stem}.png")
            lines = []
            for label, (x0, y0, x1, y1) in zip(record.labels.tolist(), record.boxes_xyxy.tolist(), strict=True):
                numbers = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
                lines.append(" ".join([str(label), *(f"{value:.6f}" for value in numbers)]))
            (labels / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            progress()
    content = {"path": ".", **{split: f"images/{split}" for split in splits}, "names": list(names)}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_label_folders(
    folder: str | Path,
    splits: Mapping[str, Source],
    names: Sequence[str],
    *,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Write images with a label in ImageNet's layout, a folder for each class, as PNG.

    Parameters
    ----------
    folder : str or Path
        It is made, and must not be there.
    splits : mapping of str to Source
        ``train`` and ``val``: images with a label, which is a place in `names`.
    names : sequence of str
        The names of the classes.
    progress : callable
        It is called after each image.

    Raises
    ------
    DatasetError
        The folder exists.
    """
    folder = _new(folder)
    for split, source in splits.items():
        for number in range(len(source)):
            record = source.read(number)
            assert record.image_label is not None
            of_class = folder / split / names[record.image_label]
            of_class.mkdir(parents=True, exist_ok=True)
            Image.fromarray(record.image).save(of_class / f"{number:06}.png")
            progress()


def _new(folder: str | Path) -> Path:
    folder = Path(folder)
    if folder.exists():
        raise DatasetError(f"{folder}: exists; name another folder")
    return folder
