"""YOLO9000: a detector trained jointly on boxes and image labels, over one tree of concepts.

Importing this package is cheap: it loads no torch. The parts are modules of their own, such as
:mod:`yolo9000.models`, :mod:`yolo9000.detection`, and :mod:`wordtree` beside it.

Examples
--------
>>> import yolo9000
>>> yolo9000.__version__
'0.1.0'
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
