"""Training and evaluation from Python, on drawn scenes: `python examples/train_and_evaluate.py OUT [STEPS]`.

With data of yours give `coco=`, `voc=`, `yolo=`, `csv=` or `imagenet=`, as the options of `yolo9000 train`.
"""

import sys

from yolo9000 import YOLO9000

out, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 800
model = YOLO9000()
model.train(joint=True, out=out, classification_steps=max(1, steps // 3), steps=steps)
report = model.evaluate(images=50)
for kind in ("boxed", "never_boxed"):
    print(f"{kind}: AP50 {report[kind]['ap50']:.3f}")
