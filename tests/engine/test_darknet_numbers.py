"""Everything that `tools/darknet_parity.py` compares stays within the tolerances of darknet's float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo9000.engine.darknet_parity import compare_golden

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCES = {  # of the difference relative to 1 + the value
    "raw_gpubn": 1e-4,
    "train_raw": 1e-4,
    "train_output": 1e-4,
    "delta_out": 1e-5,  # float32 numbers, divided by slopes of sigmoids
    "boxes": 1e-4,  # of a whole net: its raw numbers differ first
    "logits": 1e-5,
    "output": 1e-5,
    "top_conditional": 0,
    "letterbox": 1e-6,
    "resize": 1e-6,
}


def check(folder: Path) -> set[str]:
    found = compare_golden(folder)
    for row in found:
        tolerance = next((t for name, t in TOLERANCES.items() if name in row.array), 2e-6)
        assert row.relative <= tolerance, row
    return {row.array for row in found}


def test_the_golden_files_here() -> None:
    arrays = check(GOLDEN)
    assert len(arrays) >= 50
    assert {"region_tree40: delta_in_seen6400", "net_yolov2tiny_voc20: img*_th*_nms_prob", "lr: darknet19"} <= arrays


def test_the_golden_files_beside_the_repository(shared: Path) -> None:
    if not (shared / "golden").is_dir():
        pytest.skip("needs golden/ in the shared folder")
    check(shared / "golden")
