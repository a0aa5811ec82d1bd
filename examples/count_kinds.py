"""How many things of a kind are in a folder: `python examples/count_kinds.py RUN FOLDER vehicle.n.01`."""

import sys

from yolo9000 import YOLO9000

run, folder, concept = sys.argv[1:]
total = 0
for found in YOLO9000.load(run).predict(folder, threshold=0.1, stream=True):
    kind = found.where(concept, 0.5)  # P(concept) > .5, whatever the label is
    total += len(kind)
    print(f"{found.path}: {len(kind)} of {len(found)} boxes")
print(f"{concept}: {total}")
