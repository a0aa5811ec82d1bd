"""The page in a real browser: five tasks of somebody who never heard of WordNet, errors, keyboard, accessibility.

The pictures of the tasks in docs/images are made by

  PAGE_RUN=runs/demo/joint PAGE_PHOTO=runs/demo/scenes/00.png PAGE_PICTURES=docs/images \
      python -m pytest -m slow tests/serving/test_page.py -k task
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wordtree import load_tree
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.results.finding import find_in_images
from yolo9000.serving.config import ServeConfig
from yolo9000.serving.explorer import Explorer

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

import uvicorn
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from yolo9000.serve import make_app as app_of_run
from yolo9000.serving.app import create_app
from yolo9000.serving.guard import LOCAL
from yolo9000.serving.training_facts import Taught

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES, RUN, PHOTO = (os.environ.get(f"PAGE_{name}") for name in ("PICTURES", "RUN", "PHOTO"))
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # a camera that shows a pattern, and is allowed
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


def serving(app: Any) -> Iterator[str]:
    """The address of an app that is served in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def tree_url() -> Iterator[str]:
    """The bundled tree of 9,418 concepts, without a net."""
    yield from serving(create_app(Explorer(load_tree("yolo9000"), origin="yolo9000"), hosts=LOCAL))


@pytest.fixture
def net_url(make_app: Callable[..., Any]) -> Iterator[str]:
    """The net of the tests, or the one that the pictures shall be of."""
    yield from serving(app_of_run(RUN, ServeConfig()) if RUN else make_app())


@pytest.fixture
def photo(png: bytes, tmp_path: Path) -> Path:
    (tmp_path / "photo.png").write_bytes(png)
    return Path(PHOTO) if PHOTO else tmp_path / "photo.png"


class Visit:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser: Browser, url: str, *, scheme: Any = "light", size: Any = None, path: str = "") -> None:
        self.context = browser.new_context(viewport=size or DESKTOP, color_scheme=scheme, reduced_motion="reduce")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = url
        self.page.goto(url + path)
        self.page.wait_for_selector("body[data-ready]")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()
        if error[0] is None:
            assert self.errors == []
            assert [url for url in self.asked if not url.startswith((self.url, "blob:"))] == []

    def send(self, photo: Path) -> None:
        self.page.click("#tab-photo")
        self.page.set_input_files("#file", photo)
        expect(self.page.locator("#result")).to_be_visible()

    def slide(self, slider: str, value: float) -> None:
        self.page.eval_on_selector(
            f"#{slider}", "(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", str(value)
        )

    def picture(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture for the documentation, in few colours, as drawings need no more."""
        if PICTURES is None:
            return
        file = Path(PICTURES, f"serve_{name}.png")
        self.page.screenshot(path=file, full_page=whole, animations="disabled")
        with Image.open(file) as image:
            image.convert("RGB").quantize(160, dither=Image.Dither.NONE).save(file, optimize=True)


# -------------------------------------------------------------------------------------------------------- five tasks


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_task_1_find_crane_the_bird(size: Any, scheme: str, browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url, size=size, scheme=scheme) as visit:
        page = visit.page
        page.fill("#search", "crane")
        options = page.locator("#search-list [role=option]")
        expect(options.nth(1)).to_contain_text("a kind of wading bird, under bird › aquatic bird")
        expect(options.nth(0)).to_contain_text("a kind of lifting device")
        if size == DESKTOP:
            visit.picture("task1_crane", whole=False)
        options.nth(1).click()
        expect(page.locator("#node-title")).to_have_text("crane")
        expect(page.locator("#node-body")).to_contain_text("A kind of wading bird")
        assert page.url.endswith("#n02012849")
        if size == PHONE:
            visit.picture("phone_dark", whole=False)


def test_task_2_what_else_is_a_sibling_of_norfolk_terrier(browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url) as visit:
        page = visit.page
        page.fill("#search", "norfolk")
        expect(page.locator("#search-list [role=option]").first).to_contain_text("Norfolk terrier")
        page.keyboard.press("Enter")
        expect(page.locator("#node-body h3").first).to_have_text("Other kinds of terrier (its siblings, 23)")
        siblings = page.locator("#node-body .chips").first.locator("button").all_inner_texts()
        assert len(siblings) == 23
        assert {"Norwich terrier", "Yorkshire terrier", "Boston bull"} <= set(siblings)
        visit.picture("task2_siblings")
        page.locator("#node-body .chips button", has_text="Norwich terrier").click()
        expect(page.locator("#node-title")).to_have_text("Norwich terrier")
        page.go_back()
        expect(page.locator("#node-title")).to_have_text("Norfolk terrier")


def test_task_3_why_is_this_box_not_named_more_exactly(browser: Browser, net_url: str, photo: Path) -> None:
    with Visit(browser, net_url) as visit:
        page = visit.page
        visit.send(photo)
        visit.slide("threshold", 0.15 if RUN else 0.05)
        visit.slide("tree-threshold", 0.9)
        boxes = page.locator("#box-list button")
        for box in range(boxes.count()):  # the first one that is not named to a leaf
            boxes.nth(box).click()
            if "stops at" in page.locator("#box-body").inner_text():
                break
        expect(page.locator("#box-title")).to_contain_text("Why “")
        expect(page.locator("#box-body")).to_contain_text("stops at")
        name = page.locator(".bars li.label button").inner_text().rstrip("*")
        assert name in page.locator("#box-title").inner_text()
        numbers = [int(re.sub(r"\D", "", text)) for text in page.locator(".bars .number").all_inner_texts()]
        assert numbers == sorted(numbers, reverse=True)
        exact = page.locator(".bars li button").last.inner_text().rstrip("*")
        page.fill("#ask-input", exact)
        expect(page.locator("#ask-input-list [role=option]").first).to_contain_text(exact)
        page.keyboard.press("Enter")
        expect(page.locator("#answer .times li")).to_have_count(len(numbers))
        expect(page.locator("#answer .product")).to_contain_text(exact)
        visit.picture("task3_why")


def test_task_4_which_classes_never_had_a_box(browser: Browser, net_url: str) -> None:
    with Visit(browser, net_url) as visit:
        page = visit.page
        page.locator("#filter label", has_text="never had a box").click()
        expect(page.locator("#classes-title")).to_contain_text("never had a box")
        names = page.locator("#classes-list button").all_inner_texts()
        assert page.locator("#classes-title").inner_text().startswith(f"{len(names)} class")
        visit.picture("task4_never_boxed")
        page.locator("#classes-list button").first.click()
        expect(page.locator("#node-body .fact")).to_contain_text("Never had a box.")


def test_task_5_make_labels_more_general(browser: Browser, net_url: str, photo: Path) -> None:
    with Visit(browser, net_url) as visit:
        page = visit.page
        visit.send(photo)
        visit.slide("threshold", 0.25 if RUN else 0.05)
        visit.slide("tree-threshold", 0.3 if RUN else 0.05)
        asked = len(visit.asked)
        before = page.locator("#box-list button").all_inner_texts()
        visit.picture("task5_exact")
        visit.slide("tree-threshold", 0.97)
        after = page.locator("#box-list button").all_inner_texts()
        assert after != before
        page.locator("#box-list button").first.click()
        assert page.locator(".bars li.named").count() <= 2 or RUN
        visit.picture("task5_general")
        assert len(visit.asked) == asked  # sliding asks nobody


# ------------------------------------------------------------------------------------------------------- same numbers


@pytest.mark.parametrize("predictor", [None, ["dog", "car"]], indirect=True)
def test_the_browser_keeps_the_boxes_that_predict_keeps(
    browser: Browser, net_url: str, photo: Path, predictor: Any
) -> None:
    if RUN:
        pytest.skip("of the net of the tests")
    record = Record(np.asarray(Image.open(photo)), "noise")
    with Visit(browser, net_url) as visit:
        request = urllib.request.Request(f"{net_url}/api/photos", photo.read_bytes(), {"content-type": "image/png"})
        with urllib.request.urlopen(request) as answer:
            found = json.load(answer)
        pairs = [(t, u) for t in (0.05, 0.1, 0.24) for u in (0.05, 0.3, 0.5, 0.9)]
        shown = visit.page.evaluate(
            """async ([found, pairs]) => {
                const { shownBoxes } = await import("/labels.js");
                return pairs.map(([t, u]) => shownBoxes(found.boxes, t, u, found.most)
                    .map((row) => [row.box.path[row.place].name, row.score]));
            }""",
            [found, pairs],
        )
    for (threshold, tree_threshold), rows in zip(pairs, shown, strict=True):
        (expected,) = find_in_images(
            predictor, [record], DecodeConfig(threshold=threshold, tree_threshold=tree_threshold)
        )
        assert [name for name, _ in rows] == list(expected.labels)
        np.testing.assert_allclose([score for _, score in rows], expected.boxes.score.tolist(), atol=1e-6)


def test_the_picture_draws_what_is_wider_than_a_pixel(browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url) as visit:
        drawn, total = visit.page.evaluate(
            """async () => {
                const { Outline } = await import("/outline.js"), { Picture } = await import("/picture.js");
                const outline = new Outline(await (await fetch("/api/outline")).json());
                const canvas = document.getElementById("picture");
                const note = document.createElement("p"), crumbs = document.createElement("ol");
                const picture = new Picture(canvas, outline, { onChoose() {}, crumbs, note, marks: false });
                picture.draw();
                return [picture.shapes.length, outline.size];
            }"""
        )
        assert total == 9418
        assert 50 < drawn < 2000


# --------------------------------------------------------------------------------------- where a photo comes from, busy

TRANSFER = """([kind, files, target]) => {
    const data = new DataTransfer();
    for (const [name, type, content] of files)
        data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, { type }));
    if (!files.length) data.setData("text/plain", "a word");
    const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true, cancelable: true })
        : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
    document.querySelector(target).dispatchEvent(event);
    return event.defaultPrevented;
}"""


def transferred(page: Page, kind: str, *files: tuple[str, str, bytes], target: str = "body") -> bool:
    """Paste or drop files as the browser tells a page of it; return whether the page took them."""
    encoded = [[name, type_, base64.b64encode(content).decode()] for name, type_, content in files]
    return bool(page.evaluate(TRANSFER, [kind, encoded, target]))


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_photo_is_pasted_or_dropped(kind: str, browser: Browser, net_url: str, png: bytes) -> None:
    file = ("photo.png", "image/png", png)
    with Visit(browser, net_url) as visit:
        page = visit.page
        assert not transferred(page, kind, file)  # beside the tree it is nobody's
        page.click("#tab-photo")
        assert not any("/api/photos" in url for url in visit.asked)
        if kind == "drop":
            assert transferred(page, "dragover", file, target="#drop")
            expect(page.locator("#drop")).to_have_class(re.compile(r"\bover\b"))
        with page.expect_response("**/api/photos") as answered:
            if kind == "paste":
                transferred(page, kind, ("notes.txt", "text/plain", b"x"), file)
            else:
                transferred(page, kind, file, target="#drop")
        assert (answered.value.json()["width"], answered.value.json()["height"]) == (48, 40)
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#photo")).to_have_attribute("width", "48")
        expect(page.locator("#drop")).not_to_have_class(re.compile(r"\bover\b"))


def test_what_is_no_file_is_told_when_dropped_and_left_alone_when_pasted(browser: Browser, net_url: str) -> None:
    with Visit(browser, net_url, path="/#photo") as visit:
        page = visit.page
        transferred(page, "paste")
        transferred(page, "paste", ("notes.txt", "text/plain", b"hello"))
        expect(page.get_by_role("alert")).to_be_hidden()
        transferred(page, "drop")
        expect(page.get_by_role("alert")).to_contain_text("That was no file")
        transferred(page, "drop", ("notes.txt", "text/plain", b"hello"))
        expect(page.get_by_role("alert")).to_contain_text("no photo that can be read")
        assert not any("/api/photos" in url for url in visit.asked)


def wait_for_picture(video: Locator) -> None:
    """Until the camera shows something. Playwright's own waiting evaluates text, which the page forbids."""
    for _ in range(400):
        if video.evaluate("v => v.videoWidth") > 0:
            return
        time.sleep(0.05)
    pytest.fail("the camera shows nothing")


def test_a_photo_is_taken_with_the_camera(browser: Browser, net_url: str) -> None:
    with Visit(browser, net_url, path="/#photo") as visit:
        page = visit.page
        video = page.locator("#video")
        page.click("#camera")
        expect(page.locator("#camera-box")).to_be_visible()
        wait_for_picture(video)
        page.click("#cancel")
        expect(page.locator("#camera-box")).to_be_hidden()
        expect(page.locator("#camera")).to_be_focused()
        page.click("#camera")
        expect(page.locator("#shoot")).to_be_focused()
        wait_for_picture(video)
        tracks = page.evaluate_handle("document.getElementById('video').srcObject.getTracks()")
        width, height = video.evaluate("v => [v.videoWidth, v.videoHeight]")
        with page.expect_response("**/api/photos") as answered:
            page.keyboard.press("Enter")
        found = answered.value.json()
        assert answered.value.request.headers["content-type"] == "image/jpeg"
        assert (found["width"], found["height"]) == (width, height)
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#camera-box")).to_be_hidden()
        assert tracks.evaluate("all => all.map((track) => track.readyState)") == ["ended"]  # its light goes out
        assert video.evaluate("v => v.srcObject") is None


@pytest.mark.parametrize(
    ("name", "said"), [("NotAllowedError", "not allowed to use the camera"), ("NotFoundError", "There is no camera")]
)
def test_a_camera_that_is_not_there_is_told(name: str, said: str, browser: Browser, net_url: str) -> None:
    with Visit(browser, net_url, path="/#photo") as visit:
        page = visit.page
        page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)); }",
            name,
        )
        page.click("#camera")
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.locator("#camera-box")).to_be_hidden()


def test_a_photo_that_is_sent_away_comes_again(browser: Browser, make_app: Callable[..., Any], photo: Path) -> None:
    app = make_app(waiting=1)
    for url in serving(app):
        with Visit(browser, url, path="/#photo") as visit:
            place = app.app.admission.enter()  # somebody else's
            visit.page.set_input_files("#file", photo)
            said = "Others have sent photos as well. Trying again in 1 second …"
            expect(visit.page.locator("#status")).to_have_text(said)
            app.app.admission.leave(place)
            expect(visit.page.locator("#result")).to_be_visible()
            visit.errors.clear()  # the browser itself logs answers of other statuses than 200


def test_a_server_that_stays_busy_is_told_and_the_newest_photo_is_meant(
    browser: Browser, make_app: Callable[..., Any], photo: Path
) -> None:
    app = make_app(waiting=1)
    for url in serving(app):
        with Visit(browser, url, path="/#photo") as visit:
            page = visit.page
            page.clock.install()
            place = app.app.admission.enter()
            page.set_input_files("#file", photo)
            for _ in range(5):
                expect(page.locator("#status")).to_contain_text("Trying again")
                with page.expect_response("**/api/photos"):
                    page.clock.run_for(2100)
            expect(page.get_by_role("alert")).to_contain_text("others are being answered")
            page.set_input_files("#file", photo)
            expect(page.locator("#status")).to_contain_text("Trying again")
            app.app.admission.leave(place)
            page.set_input_files("#file", photo)
            expect(page.locator("#result")).to_be_visible()
            page.clock.run_for(10_000)
            assert sum(asked.endswith("/api/photos") for asked in visit.asked) == 8
            visit.errors.clear()


# ----------------------------------------------------------------------------------------------- how much it was taught


@pytest.mark.parametrize(
    ("facts", "cat", "car"),
    [
        (
            {"sources": ("coco",), "taught": {3: Taught(1234, 5), 4: Taught(0, 70)}},
            "People drew 1,234 frames around a cat in photos, so the net was told where it is and what it is. "
            "Besides, 5 photos had this label as a whole.",
            "The net only saw 70 photos with this label as a whole",
        ),
        (
            {"sources": ("scenes of pictograms",), "taught": dict.fromkeys((3, 4), Taught(None, 159, about=True))},
            "Drawn scenes came with a frame around each cat, so the net was told where it is and what it is. Besides, "
            "about 159 drawn pictures had this label as a whole.",
            "The net only saw about 159 drawn pictures with this label as a whole",
        ),
        ({}, "People drew a frame around a cat in photos", "The net only saw whole photos with this label"),
    ],
    ids=["data sets", "scenes", "not counted"],
)
def test_how_much_data_a_class_had(
    facts: dict[str, Any], cat: str, car: str, browser: Browser, make_app: Callable[..., Any]
) -> None:
    for url in serving(make_app(facts=facts)):
        for name, said in (("cat", cat), ("car", car)):
            with Visit(browser, url) as visit:
                visit.page.fill("#search", name)
                expect(visit.page.locator("#search-list [role=option]").first).to_contain_text(name)
                visit.page.keyboard.press("Enter")
                expect(visit.page.locator("#node-title")).to_have_text(name)
                expect(visit.page.locator("#node-body .fact")).to_contain_text(said)


# ------------------------------------------------------------------------------------------------- errors, keys, others


def test_errors_are_told_in_a_sentence(browser: Browser, net_url: str, tmp_path: Path, photo: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "damaged.png").write_bytes(photo.read_bytes()[:60])
    with Visit(browser, net_url) as visit:
        page = visit.page
        page.click("#tab-photo")
        page.set_input_files("#file", tmp_path / "notes.txt")
        expect(page.get_by_role("alert")).to_contain_text("no photo that can be read")
        page.set_input_files("#file", tmp_path / "damaged.png")
        expect(page.get_by_role("alert")).to_contain_text("cannot be")
        visit.send(photo)
        expect(page.get_by_role("alert")).to_be_hidden()
        page.route("**/api/photos", lambda route: route.abort())
        page.set_input_files("#file", photo)
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        visit.errors.clear()  # the browser itself logs answers of other statuses than 200


def test_a_name_that_is_not_there(browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url) as visit:
        visit.page.fill("#search", "qqqq")
        expect(visit.page.locator("#search-list")).to_contain_text("Nothing is called “qqqq”")
        visit.page.fill("#search", "terier")
        expect(visit.page.locator("#search-list")).to_contain_text("Did you mean")


def test_a_tree_alone_says_how_to_get_a_net(browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url, path="/#photo") as visit:
        expect(visit.page.locator("#no-net")).to_contain_text("yolo9000 serve")
        expect(visit.page.locator("#drop")).to_be_hidden()


def test_all_of_it_by_keys(browser: Browser, tree_url: str) -> None:
    with Visit(browser, tree_url) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.locator("#search")).to_be_focused()
        # an answer that comes later than an arrow draws the list anew, and nothing is chosen in it
        with page.expect_response(lambda answer: answer.url.endswith("q=dog") or "q=dog&" in answer.url):
            page.keyboard.type("dog")
        expect(page.locator("#search")).to_have_attribute("aria-expanded", "true")
        page.wait_for_timeout(200)
        page.keyboard.press("ArrowDown")
        active = page.locator("#search").get_attribute("aria-activedescendant")
        expect(page.locator(f"#{active}")).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Escape")
        expect(page.locator("#search")).to_have_attribute("aria-expanded", "false")
        page.locator("#tree [role=treeitem]").first.focus()
        for key in ("End", "Home", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        focused = page.locator("#tree [role=treeitem]:focus")
        expect(focused).to_have_attribute("aria-level", "2")
        expect(page.locator("#node-title")).not_to_have_text("Choose a thing")
        page.locator("#picture").focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
            page.keyboard.press(key)
        expect(page.locator("#picture-note")).not_to_be_empty()
        page.locator("#tab-tree").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#tab-photo")).to_be_focused()
        expect(page.locator("#panel-photo")).to_be_visible()


def test_the_page_is_never_wider_than_the_phone(browser: Browser, net_url: str, photo: Path) -> None:
    with Visit(browser, net_url, size=PHONE) as visit:
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        visit.page.fill("#search", "poodle")
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("#node-title")).to_have_text("poodle")
        assert visit.page.evaluate(wide) <= 0
        visit.send(photo)
        visit.slide("threshold", 0.05)
        assert visit.page.evaluate(wide) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(scheme: str, size: Any, browser: Browser, net_url: str, photo: Path) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        assert [(each["id"], [node["html"][:120] for node in each["nodes"]][:3]) for each in found] == []

    with Visit(browser, net_url, size=size, scheme=scheme) as visit:
        page = visit.page
        check(page)
        page.fill("#search", "dog")
        expect(page.locator("#search-list [role=option]").first).to_be_visible()
        check(page)
        page.keyboard.press("Enter")
        expect(page.locator("#node-title")).to_have_text("dog")
        page.locator("#filter label", has_text="never had a box").click()
        expect(page.locator("#classes")).to_be_visible()
        check(page)
        visit.send(photo)
        visit.slide("threshold", 0.05)
        page.locator("#box-list button").first.click()
        page.fill("#ask-input", "dog")
        expect(page.locator("#ask-input-list [role=option]").first).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator("#answer .times")).to_be_visible()
        check(page)


def test_a_late_answer_calls_nobody_back(browser: Browser, net_url: str) -> None:
    """Somebody chooses a node and goes on to the photos before it is there."""
    with Visit(browser, net_url) as visit:
        page = visit.page
        page.route("**/api/nodes/5", lambda route: (page.wait_for_timeout(300), route.continue_()))
        page.fill("#search", "poodle")
        page.locator("#search-list [role=option]").first.click()
        page.click("#tab-photo")
        expect(page.locator("#node-title")).to_have_text("poodle")
        expect(page.locator("#panel-photo")).to_be_visible()
