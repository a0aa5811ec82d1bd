"""Which data a run is about, as the user names them."""

from __future__ import annotations

from dataclasses import dataclass

from yolo9000.datasets.box_index import DatasetError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images. Nothing named: the embedded scenes of pictograms.

    Parameters
    ----------
    coco
        Folder in COCO's layout, or an annotation file.
    voc
        Folder in VOC's layout (``VOCdevkit/VOC2007``).
    tiles
        Folder of labelled tiles with boxes: detection scenes and classification images both come from it.
    imagenet
        Folder in ImageNet's layout.
    imagenet_pack
        HDF5 pack made by ``tools/pack_imagenet.py``.
    splits
        Names of the split that is trained on and of the one held out.
    val
        Detection images held out, if they are not a split of `coco`: an annotation file or a folder.
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
        Two sources of one kind are named, or a number is out of its range.
    """

    coco: str | None = None
    voc: str | None = None
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
        boxes = [name for name in ("coco", "voc", "tiles") if getattr(self, name)]
        images = [name for name in ("tiles", "imagenet", "imagenet_pack") if getattr(self, name)]
        for what, named in (("boxes", boxes), ("image labels", images)):
            if len(named) > 1:
                options = " and ".join("--" + name.replace("_", "-") for name in named)
                raise DatasetError(f"{options}: one source of {what} is needed, not {len(named)}")

        if self.boxed and not (self.tiles or self.is_embedded):
            raise DatasetError(
                "--boxed chooses among the classes of scenes and tiles; other data have the boxes they have"
            )
        if self.cluttered and not self.tiles:
            raise DatasetError("--cluttered puts tiles together: name them with --tiles")
        for name, least in (("scenes", 1), ("val_images", 0)):
            if getattr(self, name) < least:
                option = "--" + name.replace("_", "-")
                raise DatasetError(f"{option} {getattr(self, name)}: at least {least} is needed")

    @property
    def has_boxes(self) -> bool:
        """Whether there are images with boxes to train on."""
        return bool(self.coco or self.voc or self.tiles or self.is_embedded)

    @property
    def has_image_labels(self) -> bool:
        """Whether there are images with a label to train on."""
        return bool(self.imagenet or self.imagenet_pack or self.tiles or self.is_embedded)

    @property
    def is_embedded(self) -> bool:
        """Whether no data of the user's are named."""
        return not (self.coco or self.voc or self.tiles or self.imagenet or self.imagenet_pack)
