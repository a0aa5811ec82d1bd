"""How weights move, and what all phases of a run have in common: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from yolo9000.runtime.config import Precision, Settings
from yolo9000.runtime.mistakes import Mistake


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Optimiser and schedule of one phase; the defaults are yolo9000.cfg's.

    Parameters
    ----------
    optimizer : str
        SGD with momentum (darknet) or AdamW (for runs of a few hundred steps).
    learning_rate : float
        Peak rate, for the whole batch's mean loss (darknet: .001).
    momentum : float
        Momentum of SGD, and the first beta of AdamW (darknet: .9).
    weight_decay : float
        Decay of the convolutions' weights; biases and batch norms have none (darknet: .0005).
    schedule : str
        After the burn-in: "constant"; "steps" multiplies the rate by each of `scales` once its share in `milestones`
        of the phase is done; "poly" is ``(1 - batch / total) ** power``; "cosine" falls to `final` of the peak.
    milestones : tuple of float
        Shares of a phase's steps at which the rate falls (yolo9000.cfg and yolov2.cfg: at 80 and 90 percent).
    scales : tuple of float
        Factor on the rate at each of the milestones (darknet: .1).
    power : float
        Exponent of the schedule "poly" (darknet: 4).
    final : float
        Share of the peak at which the schedule "cosine" ends.
    burn_in : int
        Batches of rising rate: ``(batch / burn_in) ** burn_in_power`` (darknet: 1000).
    burn_in_power : float or None
        None is darknet's 4 for SGD, and 1 for AdamW.
    gradient_clip : float
        Largest norm of the whole gradient; 0 never clips (darknet).

    Raises
    ------
    Mistake
        A value makes no schedule.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, arg(name="lr", metavar="RATE")] = 1e-3
    momentum: Annotated[float, arg(metavar="M")] = 0.9
    weight_decay: Annotated[float, arg(metavar="W")] = 5e-4
    schedule: Literal["constant", "steps", "poly", "cosine"] = "steps"
    milestones: Annotated[tuple[float, ...], arg(metavar="SHARE")] = (0.8, 0.9)
    scales: Annotated[tuple[float, ...], arg(metavar="FACTOR")] = (0.1, 0.1)
    power: float = 4.0
    final: Annotated[float, arg(metavar="SHARE")] = 0.01
    burn_in: Annotated[int, arg(metavar="N")] = 1000
    burn_in_power: float | None = None
    gradient_clip: Annotated[float, arg(name="clip", metavar="NORM")] = 0.0

    def __post_init__(self) -> None:
        if len(self.milestones) != len(self.scales):
            raise Mistake(
                f"{len(self.milestones)} `milestones` but {len(self.scales)} `scales`: each milestone has one"
            )
        if self.milestones and max(self.milestones) > 1:
            raise Mistake(f"`milestones` {max(self.milestones)}: a share of the phase's steps is needed, at most 1")
        if not self.learning_rate > 0:
            raise Mistake(f"`learning_rate` {self.learning_rate}: a positive number is needed")
        if not 0 <= self.momentum < 1:
            raise Mistake(f"`momentum` {self.momentum}: from 0 to below 1 is needed")
        if self.burn_in_power is not None and not self.burn_in_power >= 0:
            raise Mistake(f"`burn_in_power` {self.burn_in_power}: 0 or more is needed")
        for name in ("weight_decay", "burn_in", "gradient_clip"):
            if not getattr(self, name) >= 0:
                raise Mistake(f"`{name}` {getattr(self, name)}: 0 or more is needed")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What all phases of a run have in common.

    Parameters
    ----------
    batch_size : int
        Images of one update, over all processes and parts (darknet: 64).
    accumulate : int
        Parts that an update is computed in, to save memory (darknet's subdivisions).
    precision : str or None
        Number format of the forward pass; the loss is float32 always, and float16 scales it. None takes what is
        fastest; bfloat16 only where the hardware multiplies it.
    ema_decay : float
        Decay of the averaged weights, which are evaluated and handed over to the next phase; 0 keeps none.
    log_every : int
        Steps between two rows of ``results.csv``.
    evaluate_every : int
        Steps between two evaluations, besides those at the end of each phase; 0 leaves it at those.
    evaluate_at : tuple of int
        Further steps of a phase after which it is evaluated.
    save_every : int
        Steps between two checkpoints, besides those at the end of each phase; 0 leaves it at those.
    keep : int
        Checkpoints to keep: ``last.pt`` and those before it, ``step-*.pt``, which a damaged one is replaced by.
        ``best.pt`` is kept besides.
    bad_steps : int
        Steps in a row whose loss or gradient is not finite before the run stops. Each of them is left out.
    best_score : str
        The score that picks ``best.pt``: where it is highest, or lowest of a loss (``held_out/detection``). A run says
        so where no evaluation gives it.
    settings : str
        How the net is computed: "auto" tries memory layouts and number formats on it for some seconds at the
        beginning, keeps the fastest in a small file in the user's cache, and in the run for its resume; "unmeasured"
        tries nothing, and nor do several processes or `exact`; or they are named, as
        ``fixed:layout=contiguous,precision=float32``.
    compile : bool
        Compile the models, once for each size of their input. This is for long runs on GPUs; on a CPU steps are
        slower.
    shared_batch_norm : str
        Batch norm where several processes share a batch. "averaged": each normalises its own images, and what is kept
        for prediction is averaged; "first": that of the first process is kept; "synchronised": all normalise over the
        images of all, as one process would (as torch's SyncBatchNorm; on a CPU too).
    exact : int
        Cut each batch into so many shards, which are summed up in their order: any number of processes up to this one
        then trains to the same bits, also if it changes at a resume. Batch norms normalise over a shard. 0 is faster.
    shard_classes : bool
        Each of several processes keeps the class rows of some of the tree's sibling groups, with their momentum and
        average, in place of all: for trees that do not fit on one GPU. A resume may change it.

    Raises
    ------
    Mistake
        The batch cannot be cut into equal parts, a number is out of its range, or the settings are none.
    """

    batch_size: Annotated[int, arg(name="batch", metavar="N")] = 64
    accumulate: Annotated[int, arg(metavar="N")] = 1
    precision: Precision | None = "float32"
    ema_decay: Annotated[float, arg(name="ema", metavar="DECAY")] = 0.9998
    log_every: Annotated[int, arg(metavar="N")] = 10
    evaluate_every: Annotated[int, arg(metavar="N")] = 0
    evaluate_at: Annotated[tuple[int, ...], arg(metavar="N")] = ()
    save_every: Annotated[int, arg(metavar="N")] = 1000
    keep: Annotated[int, arg(metavar="N")] = 2
    bad_steps: Annotated[int, arg(metavar="N")] = 5
    best_score: Annotated[str, arg(metavar="NAME")] = "ap50"
    settings: Annotated[str, arg(metavar="WHICH")] = "auto"
    compile: bool = False
    shared_batch_norm: Literal["averaged", "first", "synchronised"] = "averaged"
    exact: Annotated[int, arg(metavar="SHARDS")] = 0
    shard_classes: bool = False

    def __post_init__(self) -> None:
        if (engine := Settings().changed(self.settings).engine) not in ("torch", "inductor"):
            raise Mistake(f"`settings` {self.settings}: {engine} trains nothing; torch and inductor do")
        for name in ("batch_size", "accumulate", "keep", "bad_steps"):
            if getattr(self, name) < 1:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least 1 is needed")
        if self.batch_size % self.accumulate:
            raise Mistake(f"`batch_size` {self.batch_size} cannot be cut into {self.accumulate} equal parts")
        if not 0 <= self.ema_decay < 1:
            raise Mistake(f"`ema_decay` {self.ema_decay}: at least 0 and below 1 is needed")
        for name in ("log_every", "evaluate_every", "save_every", "exact"):
            if getattr(self, name) < 0:
                raise Mistake(f"`{name}` {getattr(self, name)}: 0 or more is needed")
        part = self.batch_size // self.accumulate
        if self.exact > part:
            raise Mistake(
                f"`exact` {self.exact}: there are {part} images to cut into shards; take a larger `batch_size`"
            )
        if self.exact and self.shared_batch_norm == "synchronised":
            raise Mistake(
                "`exact` normalises over the images of a shard, and `shared_batch_norm` synchronised does not"
            )

        if self.shard_classes:
            self._check_sharded(engine)

    def _check_sharded(self, engine: str) -> None:
        if self.exact:
            raise Mistake("`shard_classes` and `exact`: the order of sums depends on who owns which classes, and so on "
                          "the number of processes; leave one of them out")  # fmt: skip
        if self.compile or engine != "torch":
            raise Mistake("`shard_classes`: a compiled net cannot ask other processes for classes; leave `compile` out")
        if "float16" in (self.precision, Settings().changed(self.settings).precision):
            raise Mistake("`shard_classes`: float16 scales its loss by a gradient that no process has whole; "
                          "take `precision` bfloat16 or float32")  # fmt: skip

    def check_shared_by(self, processes: int) -> None:
        """Raise if so many processes cannot share a batch.

        Raises
        ------
        Mistake
            One of them would have no image.
        """
        part = self.batch_size // self.accumulate
        if processes > part:
            cut = f" in {self.accumulate} parts (`accumulate`)" if self.accumulate > 1 else ""
            raise Mistake(
                f"`batch_size` {self.batch_size}{cut}: {processes} processes cannot share {part} images; "
                f"take `batch_size` {processes * self.accumulate} or more, or fewer processes"
            )
        if self.exact and processes > self.exact:
            raise Mistake(
                f"`exact` {self.exact}: {processes} processes cannot share {self.exact} shards; "
                f"take `exact` {processes} or more, or fewer processes"
            )
