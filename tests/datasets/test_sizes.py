"""Sizes of images, from as little of their files as it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets import decode
from yolo9000.datasets.decode import image_header, size_of_file, upright_size_of_file


@pytest.mark.parametrize(
    ("suffix", "icc_bytes", "reads"),
    [
        ("jpg", 0, [1 << 16]),
        ("png", 0, [1 << 16]),
        ("jpg", 200_000, [1 << 16, None]),  # the size stands behind a long profile
        ("webp", 0, [None]),  # of other formats the whole file is read
    ],
)
def test_a_size_is_read_from_the_beginning_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, icc_bytes: int, reads: list[int | None]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    file = tmp_path / f"a.{suffix}"
    more = {"icc_profile": bytes(icc_bytes)} if icc_bytes else {}
    Image.fromarray(pixels).save(file, exif=exif, quality=95, **more)
    whole, seen = file.stat().st_size, []
    assert whole > 1 << 16

    def noting(data: bytes, key: str) -> tuple[int, int, int]:
        seen.append(len(data))
        return image_header(data, key)

    monkeypatch.setattr(decode, "image_header", noting)
    assert upright_size_of_file(file) == (300, 400)
    assert seen == [each or whole for each in reads]
    assert size_of_file(file) == (400, 300)


def test_a_file_that_is_no_image_has_a_size_that_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + bytes(100_000))
    assert upright_size_of_file(tmp_path / "a.jpg") == upright_size_of_file(tmp_path / "absent.jpg") == (1, 1)
