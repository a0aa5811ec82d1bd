"""The front door from Python: the class `YOLO9000`. It is imported as ``from yolo9000 import YOLO9000``."""
