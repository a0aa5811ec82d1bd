"""Images from wherever somebody has them."""

from __future__ import annotations

import io
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.inference.addresses import Limits, fetch
from yolo9000.inference.sources import NoImages, open_each, open_sources
from yolo9000.runtime.mistakes import Mistake


def photo(path: Path, grey: int = 100, size: tuple[int, int] = (5, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path


def clip(path: Path, frames: int = 3) -> Path:
    """A video whose frame n is of the grey 80 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (32, 16))
    for number in range(frames):
        writer.write(np.full((16, 32, 3), 80 * number, np.uint8))
    writer.release()
    return path


def names(source: Any, **how: Any) -> list[str]:
    return [name for name, _ in open_sources(source, **how)]


def test_folders_are_searched_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/deeper/d.jpeg", ".hidden/e.png", ".f.png"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    assert names(tmp_path) == [str(tmp_path / name) for name in ("a.png", "b.JPG", "sub/c.webp", "sub/deeper/d.jpeg")]
    assert names(tmp_path, recursive=False) == [str(tmp_path / name) for name in ("a.png", "b.JPG")]
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    assert len(names(tmp_path)) == 4


def test_patterns_and_files_whose_names_look_like_one(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "deep/a3.png", "b[1].png"):
        photo(tmp_path / name)
    (tmp_path / "a4.txt").touch()
    assert names(str(tmp_path / "a*")) == [str(tmp_path / "a1.png"), str(tmp_path / "a2.png")]
    assert names(f"{tmp_path}/**/a[23].png") == [str(tmp_path / "a2.png"), str(tmp_path / "deep/a3.png")]
    assert names(str(tmp_path / "b[1].png")) == [str(tmp_path / "b[1].png")]


def test_all_that_is_missing_is_listed_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = (
        r"no images at .*absent\.jpg \(no such file\), .*empty \(a folder without images\), "
        r".*\*\.png \(no image or video fits the pattern\)"
    )
    with pytest.raises(NoImages, match=message):
        open_sources([tmp_path / "absent.jpg", tmp_path / "empty", str(tmp_path / "*.png")])
    with pytest.raises(NoImages, match="no images were named"):
        open_sources([])


def test_an_empty_name_is_not_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert names(".") == ["a.png"]
    with pytest.raises(NoImages, match=r'no images at "" \(an empty name, as a variable of the shell gives'):
        open_sources("")


def test_a_digit_that_is_no_number_is_no_camera() -> None:
    with pytest.raises(NoImages, match=r"no images at \u00b2 \(no such file\)"):
        open_sources("\u00b2")


@pytest.mark.parametrize("wrong", [None, 2.5, [None], True, {1: 2}.items()])
def test_what_can_be_no_image_is_refused(wrong: Any) -> None:
    with pytest.raises(Mistake, match="`source`: a .* is no image, file, folder, address or camera"):
        open_sources(wrong)


@pytest.mark.parametrize("nothing", [None, [None]])
def test_what_opencv_gives_for_a_file_that_it_cannot_read_is_told(nothing: Any) -> None:
    with pytest.raises(Mistake, match=r"or camera; cv2\.imread gives None for a file that it cannot read"):
        open_sources(nothing)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    photo(tmp_path / "b.png")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("named, so it is tried")
    sources = open_sources([tmp_path / name for name in ("a.jpg", "b.png", "c.mp4", "notes.txt")])
    assert [name for name, _ in sources] == [str(tmp_path / "b.png")]
    assert [Path(error.key).name for error in sources.unreadable] == ["a.jpg", "c.mp4", "notes.txt"]
    assert "skipped: " in caplog.text
    assert "c.mp4: no video that OpenCV can read" in caplog.text


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, :16] = 255  # the left third as a camera stores it; upright, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "lying.jpg", quality=95, exif=exif)
    ((_, image),) = open_sources(tmp_path / "lying.jpg")
    assert image.shape == (48, 16, 3)
    assert image[:14].min() > 240
    assert image[18:].max() < 15


def test_pixels_of_every_kind(tmp_path: Path) -> None:
    red = np.zeros((2, 3, 3), np.uint8)
    red[..., 0] = 255
    floats = torch.zeros(3, 2, 3)
    floats[0] = 1.0
    opened = Image.open(photo(tmp_path / "a.png"))
    sources = open_sources(
        [red, Image.fromarray(red), floats, torch.from_numpy(red).permute(2, 0, 1), red[..., 0], opened]
    )
    frames = list(sources)
    assert sources.total == 6
    assert [name for name, _ in frames[:5]] == ["image0", "image1", "image2", "image3", "image4"]
    assert frames[5].name == str(tmp_path / "a.png")
    for _, image in frames[:4]:
        assert image.tolist() == red.tolist()
    assert frames[4].image[0, 0].tolist() == [255, 255, 255]
    assert names(np.stack([red, red])) == ["image0", "image1"]


def test_images_one_by_one_are_called_as_in_a_list(tmp_path: Path) -> None:
    opened = Image.open(photo(tmp_path / "a.png"))
    both = tmp_path / "both"
    for name in ("b.png", "c.png"):
        photo(both / name)
    pixels = np.zeros((4, 5, 3), np.uint8)
    images = [opened, pixels, str(both), pixels, Image.new("RGB", (5, 4))]
    names = [str(tmp_path / "a.png"), "image1", str(both / "b.png"), str(both / "c.png"), "image4", "image5"]
    assert [name for name, _ in open_sources(images)] == names
    assert [name for name, _ in open_each(iter(images))] == names


def test_what_is_wrong_in_a_stream_is_told_when_its_turn_comes(tmp_path: Path) -> None:
    for wrong, error in ((None, Mistake), (str(tmp_path / "absent.jpg"), NoImages)):
        frames = open_each(iter([np.zeros((4, 5, 3), np.uint8), wrong]))
        assert next(frames).name == "image0"
        with pytest.raises(error):
            next(frames)


def test_pixels_of_another_shape_are_refused_by_name() -> None:
    with pytest.raises(Mistake, match=r"image1: an array of shape \(2, 3, 5\)"):
        list(open_sources([np.zeros((2, 3), np.uint8), np.zeros((2, 3, 5), np.uint8)]))


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    file = clip(tmp_path / "clip.mp4")
    sources = open_sources([file, photo(tmp_path / "a.png")])
    assert sources.total is None
    frames = list(sources)
    assert [name for name, _ in frames] == [f"{file}#0", f"{file}#1", f"{file}#2", str(tmp_path / "a.png")]
    assert [round(float(image.mean()) / 80) for _, image in frames[:3]] == [0, 1, 2]
    assert sources.rates == {str(file): 5.0}


class Camera:
    """Two frames, which are blue as OpenCV orders the channels."""

    def __init__(self, number: int) -> None:
        self.left = 2 if number == 0 else 0
        self.number = number
        self.released = False

    def isOpened(self) -> bool:
        return self.number == 0

    def get(self, what: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        frame = np.zeros((2, 2, 3), np.uint8)
        frame[..., 0] = 255
        return (True, frame) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("source", ["0", 0])
def test_a_camera_gives_frames(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    sources = open_sources(source)
    frames = list(sources)
    assert [name for name, _ in frames] == ["camera0#0", "camera0#1"]
    assert frames[0].image[0, 0].tolist() == [0, 0, 255]
    assert sources.rates == {"camera0": 25.0}
    with pytest.raises(NoImages, match="`source` 7: no camera of this number"):
        list(open_sources("7"))


# ----------------------------------------------------------------------------------------------------- addresses


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/photo.png":
                file = io.BytesIO()
                Image.new("RGB", (6, 4), "red").save(file, "PNG")
                self.answer(200, file.getvalue())
            case "/large.png":
                self.answer(200, bytes(3000))
            case "/page.html":
                self.answer(200, b"<html>")
            case "/moved.png":
                self.send_response(302)
                self.send_header("Location", "/photo.png")
                self.end_headers()
            case "/to_a_file" | "/to_ftp":
                self.send_response(302)
                self.send_header("Location", {"/to_ftp": "ftp://127.0.0.1/a.png"}.get(self.path, "file:///etc/hosts"))
                self.end_headers()
            case "/slow.png":
                self.send_response(200)
                self.end_headers()
                for _ in range(20):
                    try:
                        self.wfile.write(b"x")
                        self.wfile.flush()
                    except OSError:
                        return
                    time.sleep(0.05)
            case _:
                self.answer(404, b"")

    def answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address_is_an_image(address: str) -> None:
    frames = list(open_sources([f"{address}/photo.png", f"{address}/moved.png"]))
    assert [(name, image.shape) for name, image in frames] == [
        (f"{address}/photo.png", (4, 6, 3)),
        (f"{address}/moved.png", (4, 6, 3)),
    ]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("large.png", "larger than 0.002 megabytes"),
        ("page.html", "no image of a kind that is read"),
        ("absent.png", "the server answers 404 Not Found"),
        ("to_ftp", r"cannot be reached \(sends us to ftp://127.0.0.1/a.png\)"),
        ("to_a_file", "the server answers 302 .*'file:///etc/hosts' is not allowed"),
        ("slow.png", "not there after 0.3 seconds"),
    ],
)
def test_an_address_that_gives_no_image_is_named(address: str, page: str, reason: str) -> None:
    sources = open_sources(f"{address}/{page}", limits=Limits(megabytes=0.002, seconds=0.3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        assert list(sources) == []
    (error,) = sources.unreadable
    assert error.key == f"{address}/{page}"
    assert re.search(reason, str(error))


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://example.org/Müller.jpg", "https://example.org/M%C3%BCller.jpg"),
        ("https://example.org/M%C3%BCller.jpg?a=1&b=ü", "https://example.org/M%C3%BCller.jpg?a=1&b=%C3%BC"),
        ("https://example.org/my photo.jpg", "https://example.org/my%20photo.jpg"),
        ("https://me@bücher.example:8080/a~b.jpg", "https://me@xn--bcher-kva.example:8080/a~b.jpg"),
    ],
)
def test_an_address_may_hold_any_letters(monkeypatch: pytest.MonkeyPatch, typed: str, sent: str) -> None:
    asked = []

    def opened(_: object, request: urllib.request.Request, **__: object) -> io.BufferedReader:
        asked.append(request.full_url)
        return io.BufferedReader(io.BytesIO(b"content"))  # type: ignore[arg-type]

    monkeypatch.setattr("urllib.request.OpenerDirector.open", opened)
    assert fetch(typed) == b"content"
    assert asked == [sent]


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:1/a.png", "http:///a.png", "http://[bad/a.png", "https://a b/c"])
def test_an_address_that_leads_nowhere_is_named(wrong: str) -> None:
    sources = open_sources(wrong)
    assert list(sources) == []
    assert len(sources.unreadable) == 1


def test_a_file_by_its_address_is_no_source() -> None:
    with pytest.raises(NoImages, match=r"file:///etc/hostname \(no such file\)"):
        open_sources("file:///etc/hostname")
