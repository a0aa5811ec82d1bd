"""Which data a run is about, as the user names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from yolo9000.datasets.errors import DatasetError

Layout: TypeAlias = Literal["coco", "voc"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images. Nothing named: the embedded scenes of pictograms.

    Parameters
    ----------
    coco
        Folder in COCO's layout, or an annotation file; or several, which are joined.
    voc
        Folder in VOC's layout (``VOCdevkit/VOC2007``); or several. Joined with those of `coco`, if there are any.
    tiles
        Folder of labelled tiles with boxes: detection scenes and classification images both come from it.
    imagenet
        Folder in ImageNet's layout.
    imagenet_pack
        HDF5 pack made by ``tools/pack_imagenet.py``.
    splits
        Names of the split that is trained on and of the one held out.
    val
        Detection images held out, if they are not a split of the first set: an annotation file or a folder.
    boxed
        Which classes of scenes and tiles have boxes in training, in place of the data's own choice: a JSON file with
        their names (scenes) or wnids (tiles) in the list ``boxed``, or ``"all"``, or ``"own"``, which is as None.
    cluttered
        Labelled images of tiles hold several things off centre, one of which the label names.
    size
        Side in pixels of drawn scenes.
    scenes
        How many different training scenes of each kind are drawn before they come again.
    val_images
        Detection and classification images that are held out for the evaluations during training, at most.
    seed
        Of drawn scenes.

    Raises
    ------
    DatasetError
        A set is named twice, two sources of a kind that are not joined are named, or a number is out of its range.

    Examples
    --------
    >>> DataConfig(coco=("coco", "farm/instances_fields.json"), voc="VOCdevkit/VOC2007").box_sets
    (('coco', 'coco'), ('coco', 'farm/instances_fields.json'), ('voc', 'VOCdevkit/VOC2007'))
    """

    coco: str | tuple[str, ...] | None = None
    voc: str | tuple[str, ...] | None = None
    tiles: str | None = None
    imagenet: str | None = None
    imagenet_pack: str | None = None
    splits: tuple[str, str] = ("train", "val")
    val: str | None = None
    boxed: str | None = None
    cluttered: bool = False
    size: int = 96
    scenes: int = 20_000
    val_images: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        boxes = [layout for layout in ("coco", "voc") if self.tiles and getattr(self, layout)]
        boxes += ["tiles"] if self.tiles else []
        images = [name for name in ("tiles", "imagenet", "imagenet_pack") if getattr(self, name)]
        for what, named in (("boxes", boxes), ("image labels", images)):
            if len(named) > 1:
                fields = " and ".join(f"`{name}`" for name in named)
                raise DatasetError(f"{fields}: one source of {what} is needed, not {len(named)}")

        if self.boxed and not (self.tiles or self.is_embedded):
            raise DatasetError(
                "`boxed` chooses among the classes of scenes and tiles; other data have the boxes they have"
            )
        if self.cluttered and not self.tiles:
            raise DatasetError("`cluttered` puts tiles together: name them with `tiles`")
        sets = self.box_sets
        if twice := sorted({root for layout, root in sets if sets.count((layout, root)) > 1}):
            raise DatasetError(f"{', '.join(twice)}: named twice; each set of boxes is named once")
        for name, least in (("scenes", 1), ("val_images", 0)):
            if getattr(self, name) < least:
                raise DatasetError(f"`{name}` {getattr(self, name)}: at least {least} is needed")

    @property
    def box_sets(self) -> tuple[tuple[Layout, str], ...]:
        """Layout and path of each set of photographs with boxes: COCO's first, else in the order they were named in.

        The first one's held-out split is what is evaluated.
        """
        return (*(("coco", root) for root in _paths(self.coco)), *(("voc", root) for root in _paths(self.voc)))

    @property
    def has_boxes(self) -> bool:
        """Whether there are images with boxes to train on."""
        return bool(self.box_sets or self.tiles or self.is_embedded)

    @property
    def has_image_labels(self) -> bool:
        """Whether there are images with a label to train on."""
        return bool(self.imagenet or self.imagenet_pack or self.tiles or self.is_embedded)

    @property
    def is_embedded(self) -> bool:
        """Whether no data of the user's are named."""
        return not (self.box_sets or self.tiles or self.imagenet or self.imagenet_pack)


def _paths(named: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if named is None:
        return ()
    return (named,) if isinstance(named, str) else tuple(named)
