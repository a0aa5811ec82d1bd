"""Why a request gets no answer: each reason has a name, a status, and a sentence for the person who asked."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """A request that is not answered.

    Attributes
    ----------
    status : int
        The status of HTTP.
    name : str
        The name of the reason, for programs.
    """

    status: ClassVar[int] = 400
    name: ClassVar[str] = "refused"


class NoSuchThing(Refusal):
    """There is no node, page or photo of that name."""

    status, name = 404, "not_found"


class Ambiguous(Refusal):
    """Several nodes have that name."""

    status, name = 409, "ambiguous_name"


class PhotoGone(Refusal):
    """The photo was let go, as others came after it."""

    status, name = 404, "photo_gone"


class NoNet(Refusal):
    """The tree is served alone, and there is no net to ask."""

    status, name = 409, "no_net"


class SlowUpload(Refusal):
    """The upload took too long."""

    status, name = 408, "slow_upload"


class TooLarge(Refusal):
    """The file has too many bytes, or its picture too many pixels."""

    status, name = 413, "too_large"


class NoImageType(Refusal):
    """The content is not announced as an image, or it is none that we take."""

    status, name = 415, "not_an_image"


class Damaged(Refusal):
    """The image cannot be decoded."""

    status, name = 422, "damaged_image"


class Busy(Refusal):
    """So many photos are before this one that it would wait too long.

    Parameters
    ----------
    message : str
    after : int
        In how many seconds it is worth trying again.
    """

    status, name = 429, "busy"

    def __init__(self, message: str, *, after: int) -> None:
        super().__init__(message)
        self.after = after


class SlowAnswer(Refusal):
    """The net did not come to the photo in time."""

    status, name = 504, "slow_answer"


class WrongHost(Refusal):
    """The request names another host than this one, as it does when a foreign page tries to reach it."""

    status, name = 421, "wrong_host"
