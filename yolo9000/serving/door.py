"""The door for photos: who cannot be answered soon is sent away before anything of the request is read."""

from __future__ import annotations

from yolo9000.serving.admission import Admission
from yolo9000.serving.guard import App, Receive, Scope, Send, send_refusal
from yolo9000.serving.refusals import Busy

PHOTOS = "/api/photos"
"""Where photos are sent."""


class Door:
    """Around the app: a photo gets a place first, which is in ``request.state.place`` from then on.

    Sending somebody away passes by routes, checks and compression, as it happens most when there is most to do.

    Parameters
    ----------
    app : ASGI app
    admission : Admission
    """

    def __init__(self, app: App, admission: Admission) -> None:
        self.app = app
        self.admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PHOTOS:
            await self.app(scope, receive, send)
            return
        try:
            place = self.admission.enter()
        except Busy as busy:
            await send_refusal(send, busy, {"retry-after": str(busy.after)})
            return
        try:
            scope.setdefault("state", {})["place"] = place
            await self.app(scope, receive, send)
        finally:
            self.admission.leave(place)
