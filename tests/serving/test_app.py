"""The HTTP interface: what it answers, what it refuses, and what a browser is told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import struct
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.predictor import Predictor
from yolo9000.results.finding import find_in_images
from yolo9000.serving.explorer import Explorer

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="the client of the tests is not installed")

import httpx
from fastapi.testclient import TestClient

from yolo9000.serving.app import create_app
from yolo9000.serving.guard import LOCAL, hosts_of

PNG = {"content-type": "image/png"}
LIONS = WordTree(("n1", "n2", "n3"), ("animal", "lion", "lion"), (-1, 0, 0))


@pytest.fixture
def client(make_app: Callable[..., Any]) -> Iterator[TestClient]:
    with TestClient(make_app(), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def tree_client() -> Iterator[TestClient]:
    with TestClient(create_app(Explorer(LIONS), hosts=LOCAL), base_url="http://localhost") as client:
        yield client


def error_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["message"]
    return response.status_code, error["name"]


# --------------------------------------------------------------------------------------------------------- the tree


def test_the_tree_in_numbers(client: TestClient) -> None:
    found = client.get("/api/tree").json()
    assert (found["nodes"], found["leaves"], found["depth"]) == (6, 3, 2)
    assert [each["name"] for each in found["top"]] == ["animal", "vehicle"]
    assert (found["run"]["boxed"], found["run"]["labelled"], found["run"]["step"]) == (1, 1, 5)
    assert (found["threshold"], found["tree_threshold"]) == (0.24, 0.5)


def test_search_and_node(client: TestClient) -> None:
    found = client.get("/api/search", params={"q": "poo"}).json()
    assert [(each["name"], each["above"]) for each in found["matches"]] == [("poodle", ["animal", "dog"])]
    view = client.get("/api/nodes/3").json()
    assert (view["name"], view["state"], [each["name"] for each in view["siblings"]]) == ("cat", "boxes", ["dog"])
    assert client.get("/api/nodes/0/children", params={"first": 1}).json()["children"][0]["name"] == "cat"
    assert client.get("/api/find", params={"name": "N6"}).json()["name"] == "poodle"
    assert client.get("/api/outline").json()["name"][:2] == ["animal", "vehicle"]
    assert client.get("/api/nodes/0/outline", params={"levels": 1}).json()["node"] == [0, 2, 3]
    never = client.get("/api/classes", params={"state": "labels"}).json()
    assert [each["name"] for each in never["classes"]] == ["car"]


def test_an_ambiguous_name_comes_with_its_meanings(tree_client: TestClient) -> None:
    response = tree_client.get("/api/find", params={"name": "lion"})
    assert error_of(response) == (409, "ambiguous_name")
    assert [each["node"] for each in response.json()["error"]["candidates"]] == [1, 2]


def test_a_tree_alone_has_no_net(tree_client: TestClient, png: bytes) -> None:
    assert tree_client.get("/api/tree").json()["run"] is None
    assert error_of(tree_client.get("/api/classes", params={"state": "boxes"})) == (409, "no_net")
    assert error_of(tree_client.post("/api/photos", content=png, headers=PNG)) == (409, "no_net")
    assert error_of(tree_client.get("/api/photos/x/factors", params={"box": 0, "node": 1})) == (409, "no_net")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/nodes/6", (404, "not_found")),
        ("/api/nodes/-1", (422, "invalid_request")),
        ("/api/nodes/1e3", (422, "invalid_request")),
        ("/api/nodes/99999999999999999999999", (422, "invalid_request")),
        ("/api/nodes/6/outline", (404, "not_found")),
        ("/api/nodes/0/outline?levels=65", (422, "invalid_request")),
        ("/api/nodes/0/children?limit=100000", (422, "invalid_request")),
        ("/api/search", (422, "invalid_request")),
        ("/api/search?q=" + "a" * 101, (422, "invalid_request")),
        ("/api/search?q=dog&limit=51", (422, "invalid_request")),
        ("/api/find?name=tiger", (404, "not_found")),
        ("/api/find?name=%00", (404, "not_found")),
        ("/api/find?name=%ED%A0%80", (404, "not_found")),
        ("/api/classes?state=all", (422, "invalid_request")),
        ("/nothing", (404, "not_found")),
        ("/docs", (404, "not_found")),  # its page would load scripts from another host
    ],
)
def test_a_wrong_question_is_refused_by_name(path: str, expected: tuple[int, str], client: TestClient) -> None:
    assert error_of(client.get(path)) == expected


def test_another_method_is_refused(client: TestClient) -> None:
    assert error_of(client.delete("/api/tree")) == (405, "method_not_allowed")
    assert error_of(client.get("/api/photos")) == (405, "method_not_allowed")


# --------------------------------------------------------------------------------------------------------- a photo


def test_a_photo_gives_the_boxes_that_predict_gives(client: TestClient, png: bytes, predictor: Predictor) -> None:
    """At each pair of thresholds: what the page keeps by hand here is what `find_in_images` finds."""
    found = client.post("/api/photos", content=png, headers=PNG).json()
    assert (found["width"], found["height"], found["never_boxed"]) in [(48, 40, [4]), (48, 40, [])]
    check_that_they_are_those_of_predict(found, png, predictor)


@pytest.mark.parametrize("predictor", [["dog"], ["dog", "car"]], indirect=True)
def test_so_it_does_where_only_some_classes_are_found(client: TestClient, png: bytes, predictor: Predictor) -> None:
    found = client.post("/api/photos", content=png, headers=PNG).json()
    check_that_they_are_those_of_predict(found, png, predictor)
    # never "animal" or "vehicle", which stand above them on every path
    most_general = {box["path"][box["first"]]["name"] for box in found["boxes"]}
    assert most_general <= {predictor.trained.classes.name(node) for node in predictor.trained.classes.kept or ()}
    assert {box["path"][0]["name"] for box in found["boxes"]} <= {"animal", "vehicle"}


def check_that_they_are_those_of_predict(found: Any, png: bytes, predictor: Predictor) -> None:
    assert len(found["boxes"]) > 3
    record = Record(np.asarray(Image.open(io.BytesIO(png))), "noise")
    for threshold in (0.05, 0.1, 0.24, 0.4):
        for tree_threshold in (0.05, 0.3, 0.5, 0.9):
            config = DecodeConfig(threshold=threshold, tree_threshold=tree_threshold)
            (expected,) = find_in_images(predictor, [record], config)
            shown = shown_boxes(found["boxes"], threshold, tree_threshold)
            assert [name for name, _, _ in shown] == list(expected.labels)
            np.testing.assert_allclose([box for _, box, _ in shown], expected.boxes.xyxy.tolist(), atol=1e-3)
            np.testing.assert_allclose([score for _, _, score in shown], expected.boxes.score.tolist(), atol=1e-6)


def shown_boxes(boxes: Sequence[Any], threshold: float, tree_threshold: float) -> list[tuple[str, list[float], float]]:
    """A slow twin of the page's labels.js."""
    rows = []
    for box in boxes:
        path = box["path"][: box["first"] + 1]
        for step in box["path"][box["first"] + 1 :]:
            if step["probability"] <= tree_threshold:
                break
            path.append(step)
        nodes = [step["node"] for step in path]
        rows.append((box, nodes, path[-1]["name"], box["objectness"] * path[-1]["probability"]))

    def related(a: list[int], b: list[int]) -> bool:
        return a[-1] in b or b[-1] in a or a[:-1] == b[:-1]

    kept: list[int] = []
    for row in sorted(range(len(rows)), key=lambda row: -rows[row][3]):
        doubles = (row in rows[other][0]["overlaps"] and related(rows[row][1], rows[other][1]) for other in kept)
        if not any(doubles):
            kept.append(row)
    return [(rows[row][2], rows[row][0]["box_xyxy"], rows[row][3]) for row in kept if rows[row][3] > threshold]


def test_factors_multiply_to_the_probability(client: TestClient, png: bytes) -> None:
    found = client.post("/api/photos", content=png, headers=PNG).json()
    for box, about in enumerate(found["boxes"][:3]):
        last = about["path"][-1]
        answer = client.get(f"/api/photos/{found['photo']}/factors", params={"box": box, "node": last["node"]}).json()
        assert [each["node"] for each in answer["factors"]] == [step["node"] for step in about["path"]]
        product = np.prod([each["probability"] for each in answer["factors"]])
        assert answer["probability"] == pytest.approx(product)
        assert answer["probability"] == pytest.approx(last["probability"], abs=1e-5)


def test_questions_about_what_is_not_kept(make_app: Callable[..., Any], png: bytes) -> None:
    with TestClient(make_app(kept=1), base_url="http://localhost") as client:
        first, second = (client.post("/api/photos", content=png, headers=PNG).json()["photo"] for _ in range(2))
        ask = {"box": 0, "node": 1}
        assert error_of(client.get(f"/api/photos/{first}/factors", params=ask)) == (404, "photo_gone")
        assert client.get(f"/api/photos/{second}/factors", params=ask).status_code == 200
        for wrong, expected in (
            ({"box": 10_000}, (404, "not_found")),
            ({"box": -1}, (422, "invalid_request")),
            ({"node": 6}, (404, "not_found")),
        ):
            assert error_of(client.get(f"/api/photos/{second}/factors", params=ask | wrong)) == expected


def test_a_camera_s_photo_is_turned_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (60, 20), "red").save(file, "JPEG", exif=exif)
    found = client.post("/api/photos", content=file.getvalue(), headers={"content-type": "image/jpeg"}).json()
    assert (found["width"], found["height"]) == (20, 60)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG whose header says whatever it is told."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


BOMB = zlib.compress(bytes(10_000_000), 9)


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "image/png", (415, "not_an_image")),
        (b"hello", "image/png", (415, "not_an_image")),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image/png", (415, "not_an_image")),  # Pillow would start Ghostscript
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", (415, "not_an_image")),
        (b"\x89PNG\r\n\x1a\n", "image/png", (422, "damaged_image")),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg", (422, "damaged_image")),
        (b"GIF89a", "image/gif", (422, "damaged_image")),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp", (422, "damaged_image")),
        (b"II*\0\xff\xff\xff\xff", "image/tiff", (422, "damaged_image")),
        (png_of(20, 20, b"rubbish"), "image/png", (422, "damaged_image")),
        (png_of(8000, 8000, BOMB), "image/png", (413, "too_large")),
        (png_of(20000, 20000, BOMB), "image/png", (413, "too_large")),  # beyond Pillow's own limit
        (png_of(2**31 - 1, 2**31 - 1), "image/png", (413, "too_large")),
        (png_of(0, 5), "image/png", (422, "damaged_image")),
    ],
    ids=["empty", "text", "eps", "svg", "png cut", "jpeg cut", "gif cut", "webp cut", "tiff loop", "rubbish",
         "64 MP", "400 MP", "4 EP", "no pixels"],
)  # fmt: skip
def test_hostile_files_are_refused_by_name(
    content: bytes, kind: str, expected: tuple[int, str], client: TestClient
) -> None:
    begun = time.monotonic()
    assert error_of(client.post("/api/photos", content=content, headers={"content-type": kind})) == expected
    assert time.monotonic() - begun < 5


def test_more_data_than_pixels_is_not_unpacked(client: TestClient) -> None:
    assert client.post("/api/photos", content=png_of(20, 20, BOMB), headers=PNG).json()["width"] == 20


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_a_type_that_a_foreign_page_may_send_unasked_is_refused(
    kind: str | None, client: TestClient, png: bytes
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert error_of(client.post("/api/photos", content=png, headers=headers)) == (415, "not_an_image")


def test_the_limit_of_bytes_announced_or_not(make_app: Callable[..., Any]) -> None:
    with TestClient(make_app(max_megabytes=0.01), base_url="http://localhost") as client:
        content = png_of(20, 20, bytes(20_000))
        assert error_of(client.post("/api/photos", content=content, headers=PNG)) == (413, "too_large")
        in_parts = iter([content[:5000]] * 5)  # chunked: no length is announced
        assert error_of(client.post("/api/photos", content=in_parts, headers=PNG)) == (413, "too_large")


def test_the_limit_of_pixels(make_app: Callable[..., Any]) -> None:
    with TestClient(make_app(max_megapixels=0.002), base_url="http://localhost") as client:
        file = io.BytesIO()
        Image.new("L", (50, 41)).save(file, "PNG")
        assert error_of(client.post("/api/photos", content=file.getvalue(), headers=PNG)) == (413, "too_large")


def test_a_limit_above_what_is_ever_decoded_is_told_as_it_is(make_app: Callable[..., Any]) -> None:
    with TestClient(make_app(max_megapixels=200), base_url="http://localhost") as client:
        assert client.get("/api/tree").json()["photos"]["pixels"] == 89_478_485
        response = client.post("/api/photos", content=png_of(10_000, 9500), headers=PNG)
        assert response.json()["error"]["message"] == "the picture has more than 89.48 million pixels"
        assert response.status_code == 413


# ------------------------------------------------------------------------------------------------- many, and slow ones


@contextlib.asynccontextmanager
async def asking(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
        yield client


def test_when_all_places_are_taken_the_next_photo_is_sent_away(
    make_app: Callable[..., Any], predictor: Predictor, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    sizes: list[int] = []
    find = predictor.find

    def slow_find(records: Sequence[Record], *args: Any, **named: Any) -> Any:
        may_go_on.wait(20)
        sizes.append(len(records))
        return find(records, *args, **named)

    monkeypatch.setattr(predictor, "find", slow_find)
    app = make_app(waiting=5, together=4)

    async def ask() -> list[httpx.Response]:
        async with asking(app) as client:
            tasks = [asyncio.create_task(client.post("/api/photos", content=png, headers=PNG)) for _ in range(9)]
            while sum(task.done() for task in tasks) < 4:  # those that are sent away
                await asyncio.sleep(0.01)
            assert (await client.get("/api/tree")).status_code == 200  # the tree is there all the while
            may_go_on.set()
            return list(await asyncio.gather(*tasks))

    responses = asyncio.run(ask())
    assert sorted(response.status_code for response in responses) == [200] * 5 + [429] * 4
    busy = next(response for response in responses if response.status_code == 429)
    assert error_of(busy) == (429, "busy")
    assert busy.headers["retry-after"] == "1"
    assert busy.headers["x-frame-options"] == "DENY"
    assert (sum(sizes), len(sizes)) == (5, 2)  # what came first, and what waited meanwhile, each together


def test_whoever_comes_too_early_is_sent_away_before_anything_is_read(
    make_app: Callable[..., Any], predictor: Predictor, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are places left, but the photo that is in work has just begun, and a second one would wait too long."""
    began, may_go_on = threading.Event(), threading.Event()
    find = predictor.find

    def slow_find(*args: Any, **named: Any) -> Any:
        began.set()
        may_go_on.wait(20)
        return find(*args, **named)

    app = make_app()
    read: list[str] = []
    sent: list[Any] = []

    async def receive() -> Any:
        read.append("body")
        return {"type": "http.request", "body": png, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        app.app.admission.measure({1: 30.0, 4: 120.0})
        async with asking(app) as client:
            first = asyncio.create_task(client.post("/api/photos", content=png, headers=PNG))
            while not began.is_set():
                await asyncio.sleep(0.01)
            scope = {"type": "http", "method": "POST", "path": "/api/photos", "headers": [(b"host", b"localhost")]}
            await app(scope, receive, send)
            may_go_on.set()
            assert (await first).status_code == 200

    monkeypatch.setattr(predictor, "find", slow_find)
    asyncio.run(ask())
    assert (sent[0]["status"], read) == (429, [])
    assert dict(sent[0]["headers"])[b"retry-after"] == b"8"  # a quarter of what a photo takes: see OVERBOOKED


def test_a_damaged_photo_does_not_spoil_the_others_of_its_batch(make_app: Callable[..., Any], png: bytes) -> None:
    app = make_app(together=8)

    async def ask() -> list[int]:
        async with asking(app) as client:
            contents = [png, png_of(20, 20, b"rubbish"), png, png_of(30, 30, b"rubbish"), png]
            answers = [client.post("/api/photos", content=content, headers=PNG) for content in contents]
            return [response.status_code for response in await asyncio.gather(*answers)]

    assert asyncio.run(ask()) == [200, 422, 200, 422, 200]


def test_a_slow_upload_ends(make_app: Callable[..., Any]) -> None:
    app = make_app(upload_seconds=0.2, waiting=1)

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"\x89"
            await asyncio.sleep(0.05)

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with asking(app) as client:
            slow = await client.post("/api/photos", content=drip(), headers=PNG)
            return slow, await client.post("/api/photos", content=b"x", headers=PNG)

    slow, next_one = asyncio.run(ask())
    assert error_of(slow) == (408, "slow_upload")
    assert error_of(next_one) == (415, "not_an_image")  # its place was given back


def test_a_photo_that_waits_too_long_is_told_so(
    make_app: Callable[..., Any], predictor: Predictor, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = predictor.find
    monkeypatch.setattr(predictor, "find", lambda *args, **named: (time.sleep(0.5), find(*args, **named))[1])
    with TestClient(make_app(answer_seconds=0.1), base_url="http://localhost") as client:
        assert error_of(client.post("/api/photos", content=png, headers=PNG)) == (504, "slow_answer")


def test_a_mistake_of_ours_is_named_and_tells_no_secrets(
    make_app: Callable[..., Any], predictor: Predictor, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise RuntimeError("/secret/path")

    with TestClient(make_app(), base_url="http://localhost", raise_server_exceptions=False) as client:
        monkeypatch.setattr(predictor, "find", fail)
        response = client.post("/api/photos", content=png, headers=PNG)
    assert error_of(response) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


# ----------------------------------------------------------------------------------------------- what the browser gets


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in ("/", "/main.js", "/api/tree", "/nothing", "/api/nodes/x", "/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_no_foreign_page_may_read_or_send(client: TestClient) -> None:
    foreign = {"origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/api/tree", headers=foreign).headers
    preflight = foreign | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = client.options("/api/photos", headers=preflight)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "127.0.0.1.example.org", "", "[::2]:80"])
def test_a_foreign_name_for_this_machine_is_refused(host: str, client: TestClient) -> None:
    response = client.get("/api/tree", headers={"host": host})
    assert error_of(response) == (421, "wrong_host")
    assert response.headers["x-frame-options"] == "DENY"


def test_this_machine_s_names_are_taken(client: TestClient) -> None:
    for host in ("localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/api/tree", headers={"host": host}).status_code == 200
    assert hosts_of("LOCALHOST") == LOCAL
    assert hosts_of("127.0.0.2") == LOCAL | {"127.0.0.2"}
    assert hosts_of("192.168.0.7") is None


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/..%2f..%2fpyproject.toml", "/%2e%2e/app.py", "/page/../app.py", "/.//etc/passwd",
     "/index.html/../../app.py", "//etc/passwd", "/..\\app.py", "/app.py", "/index.html%00.js", "/api/photos/../../x",
     "/api/photos/..%2F..%2Fetc%2Fpasswd/factors?box=0&node=0"],
)  # fmt: skip
def test_no_path_reaches_the_file_system(path: str, make_app: Callable[..., Any]) -> None:
    """Sent as it is: a client would tidy it up."""
    app = make_app()
    raw, _, query = path.partition("?")
    sent: list[Any] = []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": raw.replace("%2f", "/").replace("%2F", "/").replace("%2e", ".").replace("%00", "\0"),
             "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
             "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 404
    assert b'"error"' in sent[1]["body"]


def test_the_page_asks_no_other_host(client: TestClient) -> None:
    from yolo9000.serving.page_files import page_files

    for name, file in page_files().items():
        text = file.content.decode()
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name  # the name of SVG's elements
        assert not re.search(r"\sstyle=|\son\w+=\"|<script>|innerHTML|eval\(", text), name
        assert client.get(f"/{name}").content == file.content
    page = client.get("/")
    assert "<h1>WordTree explorer</h1>" in page.text
    again = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_interface_is_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/tree", "/api/search", "/api/find", "/api/nodes/{node}", "/api/nodes/{node}/children", "/api/outline",
        "/api/nodes/{node}/outline", "/api/classes", "/api/photos", "/api/photos/{photo}/factors",
    }  # fmt: skip
    photos = document["paths"]["/api/photos"]["post"]
    assert set(photos["responses"]) == {"200", "408", "409", "413", "415", "421", "422", "429", "504"}
    assert "image/jpeg" in photos["requestBody"]["content"]


def test_a_net_without_a_tree_is_served_as_a_row_of_classes(png: bytes) -> None:
    """Weights of darknet's, whose classes are flat."""
    from yolo9000.inference.config import OpenConfig
    from yolo9000.serve import ServeConfig, make_app

    golden = Path(__file__).resolve().parents[1] / "golden"
    config = ServeConfig(open=OpenConfig(cfg=str(golden / "net_yolov2tiny_voc20.cfg")))
    app = make_app(str(golden / "net_yolov2tiny_voc20.weights"), config)
    with TestClient(app, base_url="http://localhost") as client:
        found = client.get("/api/tree").json()
        assert (found["nodes"], found["depth"], found["run"]["name"]) == (20, 0, "net_yolov2tiny_voc20.weights")
        photo = client.post("/api/photos", content=png, headers=PNG).json()
        assert {len(box["path"]) for box in photo["boxes"]} <= {1}
        answer = client.get(f"/api/photos/{photo['photo']}/factors", params={"box": 0, "node": 11})
        assert (answer.json()["name"], len(answer.json()["factors"])) == ("dog", 1)
