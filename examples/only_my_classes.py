"""A net that knows a few classes: `python examples/only_my_classes.py RUN IMAGE dog cat truck`."""

import sys

from yolo9000 import YOLO9000

run, image, *classes = sys.argv[1:]
model = YOLO9000.load(run)
model.restrict(classes)
print(model.predict(image, threshold=0.1)[0])
model.save("mine.pt")
print("mine.pt is a checkpoint for every command: yolo9000 predict mine.pt", image)
