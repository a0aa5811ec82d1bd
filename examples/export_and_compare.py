"""An ONNX file that finds what the net finds: `python examples/export_and_compare.py RUN IMAGE`.

It needs the extra `export`: pip install "yolo9000[export]".
"""

import sys

import numpy as np

from yolo9000 import YOLO9000

run, image = sys.argv[1:]
model = YOLO9000.load(run)
folder = model.export("onnx", out="exported")
ours = model.predict(image, threshold=0.1)[0]
theirs = YOLO9000.load(folder).predict(image, threshold=0.1)[0]
assert ours.labels == theirs.labels, (ours.labels, theirs.labels)
difference = np.abs(ours.boxes.score - theirs.boxes.score).max(initial=0.0)
print(f"{folder}: the same {len(ours)} boxes; scores differ by at most {difference:.1e}")
