"""All rows of the table, in its order."""

from __future__ import annotations

from benchmarks import average_precision, concept_tree, detecting, front_door, head, pipeline, region_loss, training
from benchmarks.harness import Row


def all_rows() -> list[Row]:
    """Every row that `tools/benchmark.py` knows."""
    return [
        *training.rows(),
        *head.rows(),
        *detecting.rows(),
        *front_door.rows(),
        *region_loss.rows(),
        *pipeline.rows(),
        *average_precision.rows(),
        *concept_tree.rows(),
    ]
