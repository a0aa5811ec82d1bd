"""The [net] section of a cfg as numbers: input size and how darknet trains the net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from yolo9000.darknet.cfg import Section

Policy = Literal["constant", "step", "exp", "poly", "steps", "sigmoid", "random"]


@dataclass(frozen=True, kw_only=True)
class NetOptions:
    """What ``[net]`` says; the defaults are darknet's.

    Parameters
    ----------
    width, height, channels : int
        The size of the input for which the net is checked. Other heights and widths run as well, unless a layer is
        fully connected. All are 0 in a net that takes vectors.
    inputs : int
        The length of the vectors that a net without images takes; 0 in a net that takes images.
    batch : int
        The number of images of an update.
    subdivisions : int
        The number of parts in which a batch goes through the net.
    learning_rate, momentum, decay : float
        The constants of the update; `decay` holds for convolution weights only.
    policy : {"constant", "step", "exp", "poly", "steps", "sigmoid", "random"}
        How the rate falls: "steps" multiplies it by each of `scales` from the batch in `steps` on, "poly" is
        ``(1 - batch / max_batches) ** power``, "constant" leaves it; the others are darknet's too.
    burn_in : int
        The number of batches with a rising rate: ``(batch / burn_in) ** power``.
    power : float
        The exponent of burn-in and poly.
    max_batches : int
        The number of updates of the training.
    steps : tuple of int
        The batches at which the policy "steps" changes the rate.
    scales : tuple of float
        The factor at each of them.
    angle, aspect, saturation, exposure, hue : float
        The ranges of the augmentation: the angle is in degrees, the hue a share of the circle, and the others are a
        factor or its inverse.
    """

    width: int
    height: int
    channels: int
    inputs: int = 0
    batch: int = 1
    subdivisions: int = 1
    learning_rate: float = 0.001
    momentum: float = 0.9
    decay: float = 0.0001
    policy: Policy = "constant"
    burn_in: int = 0
    power: float = 4.0
    max_batches: int = 0
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    angle: float = 0.0
    aspect: float = 1.0
    saturation: float = 1.0
    exposure: float = 1.0
    hue: float = 0.0


def net_options(section: Section) -> NetOptions:
    """Read ``[net]``.

    Parameters
    ----------
    section : Section
        The first section of a cfg.

    Returns
    -------
    NetOptions
        Its values; where a key is missing, darknet's default.

    Raises
    ------
    CfgError
        If the input size is missing, a value is no number, or steps and scales do not pair.

    Examples
    --------
    >>> from yolo9000.darknet.cfg import parse_cfg
    >>> cfg = parse_cfg("[net]\\nwidth=64\\nheight=32\\nchannels=3\\npolicy=steps\\nsteps=-1,100\\nscales=.1,10\\n")
    >>> options = net_options(cfg.net)
    >>> options.width, options.policy, options.steps, options.scales
    (64, 'steps', (-1, 100), (0.1, 10.0))
    """
    of_image = ("width", "height", "channels")
    takes_vectors = "inputs" in section.options and not any(key in section.options for key in of_image)
    for key in () if takes_vectors else of_image:
        if key not in section.options:
            raise section.error(f"{key}= is missing")
    policy = section.text("policy", "constant")
    if policy not in get_args(Policy):
        raise section.error(f"{policy}: {', '.join(get_args(Policy))} are known", "policy")
    steps, scales = section.integers("steps"), section.reals("scales")
    if policy == "steps" and (not steps or len(steps) != len(scales)):
        raise section.error(f"policy=steps needs as many scales as steps; there are {len(scales)} and {len(steps)}")
    return NetOptions(
        width=section.integer("width", 0, at_least=1),
        height=section.integer("height", 0, at_least=1),
        channels=section.integer("channels", 0, at_least=1),
        inputs=section.integer("inputs", 0, at_least=1) if takes_vectors else 0,
        batch=section.integer("batch", 1, at_least=1),
        subdivisions=section.integer("subdivisions", 1, at_least=1),
        learning_rate=section.real("learning_rate", 0.001),
        momentum=section.real("momentum", 0.9),
        decay=section.real("decay", 0.0001),
        policy=cast(Policy, policy),
        burn_in=section.integer("burn_in", 0, at_least=0),
        power=section.real("power", 4.0),
        max_batches=section.integer("max_batches", 0, at_least=0),
        steps=steps,
        scales=scales,
        angle=section.real("angle", 0.0),
        aspect=section.real("aspect", 1.0),
        saturation=section.real("saturation", 1.0),
        exposure=section.real("exposure", 1.0),
        hue=section.real("hue", 0.0),
    )
