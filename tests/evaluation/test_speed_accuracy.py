"""The picture of speed and accuracy can be drawn of one point, of several, and of none that is right."""

from __future__ import annotations

from pathlib import Path

from yolo9000.evaluation.speed_accuracy import SpeedPoint, draw_speed_accuracy


def test_the_picture(tmp_path: Path) -> None:
    points = [
        SpeedPoint(
            method=method,
            size=size,
            ap50=ap50,
            images_per_second=100 / size,
            images=3,
            precision="float32",
            machine="a machine",
        )
        for method, size, ap50 in (("a", 320, 0.0), ("b", 320, 0.5), ("b", 288, 0.4))
    ]
    for number in (1, 3):
        draw_speed_accuracy(points[:number], tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")
