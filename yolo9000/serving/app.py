"""The web app: routes to the tree and to photos, errors as named JSON, and the page itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect

from yolo9000 import __version__
from yolo9000.detection.config import DecodeConfig
from yolo9000.serving import answers
from yolo9000.serving.config import PHOTO_TYPES, Limits
from yolo9000.serving.door import PHOTOS, Door
from yolo9000.serving.explorer import Explorer
from yolo9000.serving.guard import Guard
from yolo9000.serving.page_files import PageFile, page_files
from yolo9000.serving.refusals import (
    Ambiguous,
    Busy,
    Damaged,
    NoImageType,
    NoNet,
    NoSuchThing,
    PhotoGone,
    Refusal,
    SlowAnswer,
    SlowUpload,
    TooLarge,
)

if TYPE_CHECKING:  # a tree alone is served without torch
    from yolo9000.serving.photos import Photos

MOST_LISTED, MOST_FOUND = 1000, 50
Node = Annotated[int, Path(description="Number of a node", ge=0, le=10_000_000)]
First = Annotated[int, Query(description="How many to leave out in front", ge=0, le=10_000_000)]


def create_app(explorer: Explorer, photos: Photos | None = None, *, hosts: frozenset[str] | None = None) -> Guard:
    """Make the app.

    Parameters
    ----------
    explorer : Explorer
        The tree.
    photos : Photos, optional
        The net; without it the tree is served alone. It is closed with the app.
    hosts : frozenset of str, optional
        The names that the server answers to, see `yolo9000.serving.guard.hosts_of`; by default all.

    Returns
    -------
    Guard
        An ASGI app. Its OpenAPI document is at ``/openapi.json``.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(lambda: explorer.index)  # the first search is as quick as the others
        if photos is not None:
            await run_in_threadpool(photos.warm_up)
        yield
        if photos is not None:
            await run_in_threadpool(photos.close)

    app = FastAPI(
        title="WordTree explorer",
        version=__version__,
        description="One tree of concepts, and what a detector over it finds in photos. Errors are "
        '`{"error": {"name", "message"}}`.',
        docs_url=None,  # their pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
        responses={code: {"model": answers.Problem} for code in (421, 422)},
    )
    _answer_errors(app, explorer)
    _add_tree(app, explorer, photos)
    _add_photos(app, explorer, photos)
    _add_page(app, page_files())
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    # outermost, as an error of ours is answered outside of all middleware
    return Guard(Door(app, photos.admission) if photos else app, hosts)


def _problems(*kinds: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The part of the OpenAPI document about the refusals of a route."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        before = found.get(kind.status, {}).get("description")
        about = f"{kind.name}: {(kind.__doc__ or '').strip()}"
        found[kind.status] = {"model": answers.Problem, "description": f"{before} {about}" if before else about}
    return found


# ------------------------------------------------------------------------------------------------------------- routes


def _add_tree(app: FastAPI, explorer: Explorer, photos: Photos | None) -> None:
    decode = photos.decode if photos else DecodeConfig()

    @app.get("/api/tree", summary="The tree and the net in numbers")
    def tree() -> answers.Overview:
        return explorer.overview(photos.about if photos else None, decode)

    @app.get("/api/search", summary="Search all names, synsets and wnids")
    def search(
        q: Annotated[str, Query(description="A name, a synset or a wnid, or a part of one", max_length=100)],
        limit: Annotated[int, Query(ge=1, le=MOST_FOUND)] = 12,
    ) -> answers.Search:
        return explorer.search(q, limit)

    @app.get("/api/find", summary="The node of exactly this name", responses=_problems(NoSuchThing, Ambiguous))
    def find(name: Annotated[str, Query(max_length=200)]) -> answers.NodeView:
        return explorer.node(explorer.resolve(name))

    @app.get("/api/nodes/{node}", summary="All that is known about a node", responses=_problems(NoSuchThing))
    def node(node: Node) -> answers.NodeView:
        return explorer.node(node)

    @app.get("/api/nodes/{node}/children", summary="Its children", responses=_problems(NoSuchThing))
    def children(
        node: Node, first: First = 0, limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200
    ) -> answers.Children:
        return explorer.children(node, first, limit)

    @app.get("/api/outline", summary="The tree in columns, for a picture of it", response_model=answers.Outline)
    def outline() -> Response:
        return Response(explorer.outline_json, media_type="application/json")

    @app.get("/api/nodes/{node}/outline", summary="A part of the tree in columns", responses=_problems(NoSuchThing))
    def part(node: Node, levels: Annotated[int, Query(ge=0, le=64)] = 3) -> answers.Outline:
        return explorer.outline(node, levels)

    @app.get("/api/classes", summary="Classes that had boxes, or that never had one", responses=_problems(NoNet))
    def classes(
        state: Annotated[answers.State, Query(description="boxes, or labels for those that never had one")],
        first: First = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 200,
    ) -> answers.Classes:
        if explorer.facts is None:
            raise NoNet("the tree is served alone; start the server with a run to see what trained it")
        return explorer.classes(state, first, limit)


def _add_photos(app: FastAPI, explorer: Explorer, photos: Photos | None) -> None:
    body = {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PHOTO_TYPES},
        "required": True,
    }

    @app.post(
        PHOTOS,
        response_model=answers.Found,
        summary="Find things in a photo",
        description="The body is the image file. `curl --data-binary @photo.jpg -H 'content-type: image/jpeg' ...`",
        openapi_extra={"requestBody": body},
        responses=_problems(SlowUpload, NoNet, TooLarge, NoImageType, Damaged, Busy, SlowAnswer),
    )
    async def find_in_photo(request: Request) -> Response:
        if photos is None:
            raise NoNet("the tree is served alone; start the server with a run to try photos")
        # No other type, for a foreign page may send plain text without asking first, and an image it may not.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in PHOTO_TYPES:
            raise NoImageType(f"the header content-type must be one of {', '.join(PHOTO_TYPES)}")
        place = request.state.place
        try:
            data = await _received(request, photos.limits)
            photo = await run_in_threadpool(photos.check, data)
            future = asyncio.wrap_future(photos.batcher.submit(photo, place))
            try:
                found = await asyncio.wait_for(future, photos.limits.answer_seconds)
            except TimeoutError:
                raise SlowAnswer("the photo waited too long; try again") from None
        finally:
            photos.admission.leave(place)  # before the answer is sent, which may take as long as somebody likes
        return Response(found, media_type="application/json")

    @app.get(
        "/api/photos/{photo}/factors",
        summary="Why a box has its probability for a node",
        responses=_problems(NoSuchThing, NoNet, PhotoGone),
    )
    def factors(
        photo: Annotated[str, Path(max_length=40)],
        box: Annotated[int, Query(ge=0, le=100_000)],
        node: Annotated[int, Query(ge=0, le=10_000_000)],
    ) -> answers.Factors:
        if photos is None:
            raise NoNet("the tree is served alone; start the server with a run to try photos")
        explorer.node(node)
        return photos.factors(photo, box, node, explorer.tree)


async def _received(request: Request, limits: Limits) -> bytes:
    """The body of a request, as long as it comes in time and is not too large."""
    announced = request.headers.get("content-length", "")
    too_large = TooLarge(f"the file is larger than {limits.max_megabytes:g} MB")
    if announced.isdecimal() and int(announced) > limits.max_bytes:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.max_bytes:
                    raise too_large
                parts.append(part)
    except ClientDisconnect:
        raise SlowUpload("the upload ended early") from None
    except TimeoutError:
        raise SlowUpload(f"the upload took more than {limits.upload_seconds:g} seconds") from None
    return b"".join(parts)


def _add_page(app: FastAPI, files: dict[str, PageFile]) -> None:
    def answer(file: PageFile) -> Any:
        async def send(request: Request) -> Response:
            headers = {"etag": file.tag, "cache-control": "no-cache"}
            if request.headers.get("if-none-match") == file.tag:
                return Response(status_code=304, headers=headers)
            return Response(file.content, media_type=file.type, headers=headers)

        return send

    app.add_api_route("/", answer(files["index.html"]), include_in_schema=False)
    for name, file in files.items():
        app.add_api_route(f"/{name}", answer(file), include_in_schema=False)


# ------------------------------------------------------------------------------------------------------------- errors


def _answer_errors(app: FastAPI, explorer: Explorer) -> None:
    def problem(status: int, name: str, message: str, **more: Any) -> JSONResponse:
        # what was sent may hold half a character of two, which no UTF-8 writes
        safe = message.encode("utf-8", "replace").decode()
        reason = answers.Reason(name=name, message=safe, **more)
        return JSONResponse(answers.Problem(error=reason).model_dump(), status)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        candidates = []
        if isinstance(error, Ambiguous):
            candidates = [explorer.named(node) for node in error.args[1]]
        return problem(error.status, error.name, str(error.args[0]), candidates=candidates)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return problem(422, "invalid_request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        names = {404: "not_found", 405: "method_not_allowed"}
        answer = problem(error.status_code, names.get(error.status_code, "refused"), str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "internal_error", "the server made a mistake; its log says which")
