"""Everything that `tools/darknet_parity.py` compares stays within the tolerances of darknet's float32."""

from __future__ import annotations

from pathlib import Path

from benchmarks.darknet_parity import compare_golden

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCES = {  # of the difference relative to 1 + the value; the order of a sum changes with processor and threads
    "raw_gpubn": 1e-4,
    "train_raw": 1e-4,
    "train_output": 1e-4,
    "net_yolov2tiny_voc20: output": 1e-4,  # tw and th in it are raw numbers
    "delta_out": 1e-4,  # float32 numbers, divided by slopes of sigmoids
    "boxes": 1e-4,  # of a whole net: its raw numbers differ first
    "logits": 1e-4,
    "top_conditional": 0,
}
OTHERS = 1e-5


def check(folder: Path) -> set[str]:
    found = compare_golden(folder)
    for row in found:
        tolerance = next((t for name, t in TOLERANCES.items() if name in row.array), OTHERS)
        assert row.relative <= tolerance, row
    return {row.array for row in found}


def test_the_golden_files_here() -> None:
    arrays = check(GOLDEN)
    assert len(arrays) >= 50
    assert {"region_tree40: delta_in_seen6400", "net_yolov2tiny_voc20: img*_th*_nms_prob", "lr: darknet19"} <= arrays
