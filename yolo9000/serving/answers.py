"""The shapes of all answers. The OpenAPI document is made from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

State = Literal["boxes", "labels", "none"]
"""What data trained a node by name: boxes, labels of whole images alone, or none."""


class Named(BaseModel):
    """A node, named."""

    node: int = Field(description="Number of the node in this tree")
    name: str
    state: State = "none"


class Reason(BaseModel):
    """Why there is no answer."""

    name: str = Field(description="The reason, for programs", examples=["too_large"])
    message: str = Field(description="The reason, for people")
    candidates: list[Named] = Field(default=[], description="The nodes that an ambiguous name may mean")


class Problem(BaseModel):
    """What is sent in place of an answer."""

    error: Reason


class Run(BaseModel):
    """The trained net that is asked."""

    name: str
    step: int = Field(description="Steps of training")
    sources: list[str] = Field(description="The kinds of data that it was trained on")
    boxed: int = Field(description="Classes that had boxes in training")
    labelled: int = Field(description="Classes that only labels of whole images taught")
    scored: int = Field(description="Classes with an average precision")


class PhotoLimits(BaseModel):
    """What a photo may be."""

    bytes: int
    pixels: int
    boxes: int = Field(description="Most boxes of one photo")
    types: list[str]


class Overview(BaseModel):
    """The tree and the net."""

    tree: str = Field(description="Where the tree is from")
    nodes: int
    leaves: int
    depth: int
    root: str | None = Field(description="The implied root, which is no node")
    named_by: dict[str, int] = Field(description="Data sets whose classes the tree knows, and how many")
    top: list[Named]
    run: Run | None = Field(description="None where the tree is served alone")
    photos: PhotoLimits | None
    threshold: float = Field(description="Score from which a box is shown, as `predict` has it")
    tree_threshold: float = Field(description="P above which a label goes one step deeper, as `predict` has it")


class FoundNode(Named):
    """A node that a search found."""

    matched: str = Field(description="The name that fits")
    how: Literal["exact", "beginning", "word", "inside", "context", "alike"]
    synset: str | None
    wnid: str
    above: list[str] = Field(description="The nearest names above it, from the top")
    children: int


class Search(BaseModel):
    """What a search found, the likeliest first."""

    query: str
    alike: bool = Field(description="No name holds the text; these are spelled like it")
    matches: list[FoundNode]


class Below(BaseModel):
    """How much is under a node, at any depth."""

    nodes: int
    leaves: int
    boxes: int = Field(description="Nodes with boxes in training")
    labels: int = Field(description="Nodes that only labels of whole images taught")


class Child(Named):
    """A child or a sibling."""

    children: int


class Children(BaseModel):
    """Some of the children of a node."""

    total: int
    first: int
    children: list[Child]


class NodeScore(BaseModel):
    """How well a class was found, by the run's own evaluation."""

    ap50: float
    boxes: int = Field(description="Its boxes in the images that were evaluated")


class TrainingData(BaseModel):
    """How much data taught a class by name."""

    boxes: int | None = Field(description="Boxes; None where they are not known")
    images: int | None = Field(description="Whole images with its label; None where they are not known")
    about: bool = Field(description="Whether the images are as many as chance gives, as scenes are drawn by chance")


class NodeView(Named):
    """All that is known about a node."""

    wnid: str
    synset: str | None
    also: list[str] = Field(description="Further names")
    depth: int = Field(description="The number of nodes above it")
    path: list[Named] = Field(description="From the top to the node itself")
    siblings: list[Child] = Field(description="The other children of its parent; the first of them")
    siblings_total: int
    children: list[Child] = Field(description="The first of them; the others at /api/nodes/{node}/children")
    children_total: int
    below: Below
    classes: dict[str, str] = Field(description="Data set -> what it calls the node")
    score: NodeScore | None
    taught: TrainingData | None


class Outline(BaseModel):
    """A part of the tree in columns: one entry a node, parents first."""

    node: list[int]
    parent: list[int] = Field(description="Place of the parent in these columns; -1 for the first ones")
    name: list[str]
    leaves: list[int] = Field(description="Leaves under the node, 1 for a leaf")
    children: list[int]
    state: str = Field(description="One letter a node: b had boxes, l labels of whole images alone, n nothing by name")
    cut: bool = Field(description="Whether there is more below than asked for")


class ScoredClass(Child):
    """A class that the run was trained on."""

    parent: str | None
    ap50: float | None


class Classes(BaseModel):
    """Classes that had boxes, or that never had one."""

    total: int
    classes: list[ScoredClass]


class Step(BaseModel):
    """One node on the way down the tree."""

    node: int
    name: str
    probability: float = Field(description="P(node), given that there is a thing")
    children: int
    colour: str = Field(description="The colour that drawings give it, as #rrggbb")


class Box(BaseModel):
    """A box, and the way down the tree along the best child of each node, to a leaf."""

    box_xyxy: tuple[float, float, float, float] = Field(description="Corners in pixels of the upright photo")
    objectness: float = Field(description="How sure the net is that there is a thing")
    path: list[Step]
    first: int = Field(description="Place in the path of the most general label; 0 unless only some classes are found")
    overlaps: list[int] = Field(description="The other boxes that overlap it enough to be the same thing")


class Found(BaseModel):
    """What was found in a photo, before both thresholds.

    The label at a threshold t is the node of the path at `first`, and each next one while its P is above t. The score
    is objectness times P(label). Boxes above the threshold of the score are taken in the order of their scores, and
    one that overlaps a better one is dropped if their labels are the same, siblings, or one above the other.
    """

    photo: str = Field(description="Name of the photo for further questions")
    width: int
    height: int
    boxes: list[Box]
    floor: float = Field(description="Boxes of a score below this were not kept")
    cut: bool = Field(description="Whether there were more boxes than are kept")
    most: int = Field(description="Most boxes that `predict` shows")
    never_boxed: list[int] = Field(description="Nodes on these paths that never had a box in training")
    seconds: float


class Choice(BaseModel):
    """One choice on the way down: P(name | given)."""

    node: int
    name: str
    given: str | None
    probability: float


class Factors(BaseModel):
    """Why a box has its probability for a name: the product of the choices."""

    node: int
    name: str
    factors: list[Choice] = Field(description="From the top")
    probability: float
