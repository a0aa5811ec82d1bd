"""What was found in an image, and how sure of what: `python examples/ask_about_boxes.py RUN IMAGE`."""

import sys

from yolo9000 import YOLO9000

run, image = sys.argv[1:]
model = YOLO9000.load(run)
found = model.predict(image, threshold=0.1)[0]
print(found)
for row, label in enumerate(found.labels):
    print(f"{label}: {found.paths[row]}")
    print("   ", found.explain(row, label))
print("as general as depth 2:", found.at_depth(2).labels)
found.save("found.jpg", path=True)
print("drawn in found.jpg")
