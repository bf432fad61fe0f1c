"""The labelling page: what its server lets in, and drawing on it in a real browser."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.generator.parts.dataset import PartSet
from services.generator.parts.label_page import LabelServer
from tests.services.generator.parts.part_sets import EDGE, PARTS, small_set, some_labels
from tests.support import browser
from unitscope.errors import ResourceExhaustedError

PIXELS = EDGE * EDGE
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelServer]:
    with LabelServer(small_set(tmp_path / "set")) as running:
        yield running


def ask(
    server: LabelServer,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    address = f"/{server.token if token is None else token}/{path}"
    connection.request("POST" if body is not None else "GET", address, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def test_it_serves_the_page_and_the_set(server: LabelServer) -> None:
    status, page, headers = ask(server, "")
    assert status == 200
    assert b"label.js" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    for name in ("label.css", "label.js", "raster.js", "screen.js", "server.js", "state.js", "view.js"):
        assert ask(server, name)[0] == 200, name
    described = json.loads(ask(server, "set")[1])
    assert described["parts"] == list(PARTS)
    assert described["labelled"] == [False] * 3
    assert ask(server, "images/1")[1] == server.part_set.image_path(1).read_bytes()
    assert ask(server, "labels/1")[1] == b"\xff" * PIXELS


def test_labels_are_saved_and_read_again(server: LabelServer) -> None:
    labels = some_labels()
    status, _, _ = ask(server, "labels/2", labels.tobytes(), BINARY)
    assert status == 200
    np.testing.assert_array_equal(PartSet.load(server.part_set.folder).labels(2), labels)
    assert ask(server, "labels/2")[1] == labels.tobytes()


def test_only_its_own_page_gets_in(server: LabelServer) -> None:
    good = bytes(PIXELS)
    assert ask(server, "set", token="wrong")[0] == 403
    assert ask(server, "set", token="")[0] == 403
    assert ask(server, "set", headers={"Host": f"evil.example:{server.port}"})[0] == 403
    assert ask(server, "set", headers={"Host": f"localhost:{server.port}"})[0] == 200
    assert ask(server, "labels/0", good, {**BINARY, "Origin": "https://evil.example"})[0] == 403
    assert ask(server, "labels/0", good, {**BINARY, "Origin": "null"})[0] == 403
    assert ask(server, "labels/0", good, {"Content-Type": "text/plain"})[0] == 415
    assert server.part_set.labelled() == []
    own = {**BINARY, "Origin": f"http://127.0.0.1:{server.port}"}
    assert ask(server, "labels/0", good, own)[0] == 200
    assert server.part_set.labelled() == [0]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("labels/0", bytes(PIXELS - 1), 413),
        ("labels/0", bytes(PIXELS + 1), 413),
        ("labels/0", b"\x03" * PIXELS, 422),
        ("labels/3", bytes(PIXELS), 404),
        ("labels/../parts.json", bytes(PIXELS), 404),
        ("images/0", bytes(PIXELS), 404),
    ],
)
def test_what_is_wrong_is_not_saved(server: LabelServer, path: str, body: bytes, status: int) -> None:
    assert ask(server, path, body, BINARY)[0] == status
    assert server.part_set.labelled() == []


@pytest.mark.parametrize("path", ["labels/3", "../parts.json", "images/0000.png", "label.html", "x"])
def test_nothing_else_is_served(server: LabelServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_spoilt_label_map_is_told(server: LabelServer) -> None:
    Image.new("L", (3, 3)).save(server.part_set.label_path(0))
    status, body, _ = ask(server, "labels/0")
    assert status == 422
    assert "3 x 3" in json.loads(body)["message"]


def test_a_part_can_be_added(server: LabelServer) -> None:
    kind = {"Content-Type": "application/json"}
    status, body, _ = ask(server, "parts", b'{"name": "beard"}', kind)
    assert (status, json.loads(body)["parts"]) == (200, [*PARTS, "beard"])
    assert PartSet.load(server.part_set.folder).parts == (*PARTS, "beard")
    assert ask(server, "labels/0", b"\x03" * PIXELS, BINARY)[0] == 200
    for wrong in (b'{"name": "hat"}', b'{"name": "A b"}', b'{"name": 3}', b"[1]", b"{}", b"[" * 200):
        assert ask(server, "parts", wrong, kind)[0] == 422
    assert ask(server, "parts", b"[" * 201, kind)[0] == 413


def test_it_listens_on_loopback_alone(server: LabelServer) -> None:
    assert server.url.startswith(f"http://127.0.0.1:{server.port}/")
    assert len(server.token) >= 32
    with pytest.raises(ResourceExhaustedError, match="cannot be used"):
        LabelServer(server.part_set, server.port)


# ---- in a browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as running:
        yield running


class Page:
    """The page in a window, and places of the picture in it."""

    def __init__(self, chromium: Any, server: LabelServer, width: int, height: int) -> None:
        self.context = chromium.new_context(
            viewport={"width": width, "height": height}, has_touch=width < 500
        )
        self.context.set_default_timeout(browser.PATIENCE_MS)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(server.url)
        self.page.wait_for_selector("body[data-ready]", state="attached")

    def scale(self) -> float:
        return float(self.page.locator("#zoom").inner_text().rstrip("×"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The window's point in the middle of a pixel; the picture is centred in the canvas."""
        box = self.page.locator("#canvas").bounding_box()
        scale = self.scale()
        left = box["x"] + (box["width"] - EDGE * scale) / 2
        top = box["y"] + (box["height"] - EDGE * scale) / 2
        return left + (x + 0.5) * scale, top + (y + 0.5) * scale

    def drag(self, *points: tuple[float, float], button: str = "left") -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=6)
        mouse.up(button=button)

    def size(self, value: int) -> None:
        self.page.locator("#size").fill(str(value))

    def saved(self, server: LabelServer, index: int) -> np.ndarray:
        browser.sync_api.expect(self.page.locator("#save")).to_have_text("Saved")
        with Image.open(server.part_set.folder / "labels" / f"{index:04}.png") as picture:
            assert picture.mode == "P"
            return np.asarray(picture)


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def opened(request: pytest.FixtureRequest, chromium: Any, server: LabelServer) -> Iterator[Page]:
    page = Page(chromium, server, *request.param)
    yield page
    page.context.close()
    assert page.problems == []


@pytest.mark.integration
def test_parts_are_drawn_filled_undone_and_saved(opened: Page, server: LabelServer) -> None:
    page, press = opened.page, opened.page.keyboard.press
    assert opened.scale() >= 8
    opened.size(1)
    opened.drag((2, 3), (9, 3))
    press("3")
    page.mouse.click(*opened.at(5, 8))
    press("1")
    press("f")
    press("3")
    opened.drag((12, 12), (12, 14))
    press("Control+z")
    press("s")
    wanted = np.zeros((EDGE, EDGE), np.uint8)
    wanted[3, 2:10] = 1
    wanted[8, 5] = 2
    np.testing.assert_array_equal(opened.saved(server, 0), wanted)
    assert page.locator("#labelled").inner_text() == "labelled 1 of 3"
    press("Control+Shift+z")
    press("n")
    browser.sync_api.expect(page.locator("#number")).to_have_value("2")
    wanted[12:15, 12] = 2
    np.testing.assert_array_equal(server.part_set.labels(0), wanted)
    press("c")
    press("s")
    np.testing.assert_array_equal(opened.saved(server, 1), wanted)
    overflow = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
    assert page.evaluate(overflow) <= 0


@pytest.mark.integration
def test_lasso_eraser_bucket_and_wand(opened: Page, server: LabelServer) -> None:
    page, press = opened.page, opened.page.keyboard.press
    press("2")
    press("l")
    # Freehand, along the borders of pixels.
    opened.drag((1.5, 1.5), (8.5, 1.5), (8.5, 6.5), (1.5, 6.5), (1.5, 1.6))
    for corner in ((9.5, 9.5), (13.5, 9.5), (13.5, 12.5), (9.5, 12.5)):
        page.mouse.click(*opened.at(*corner))
    press("Enter")
    wanted = np.full((EDGE, EDGE), 255, np.uint8)
    wanted[2:7, 2:9] = 1
    wanted[10:13, 10:14] = 1
    press("b")
    opened.size(1)
    opened.drag((4, 4), (6, 4), button="right")
    wanted[4, 4:7] = 255
    press("3")
    press("g")
    page.mouse.click(*opened.at(2, 2))
    wanted[2:7, 2:9][wanted[2:7, 2:9] == 1] = 2
    press("s")
    np.testing.assert_array_equal(opened.saved(server, 0), wanted)
    # The wand takes all colours at its highest tolerance only where they are alike: one noisy pixel.
    page.locator("[data-tool=wand]").click()
    page.locator("#tolerance").fill("0")
    page.mouse.click(*opened.at(15, 15))
    press("s")
    wanted[15, 15] = 2
    np.testing.assert_array_equal(opened.saved(server, 0), wanted)


@pytest.mark.integration
def test_it_can_be_used_by_keys_alone(opened: Page, server: LabelServer) -> None:
    page, press = opened.page, opened.page.keyboard.press
    opened.size(1)
    page.locator("#canvas").focus()
    for key in ("2", "ArrowRight", "Enter", "ArrowDown", "Enter", "Shift+ArrowUp", "Enter", "s"):
        press(key)
    wanted = np.full((EDGE, EDGE), 255, np.uint8)
    wanted[8, 9] = wanted[9, 9] = wanted[1, 9] = 1
    np.testing.assert_array_equal(opened.saved(server, 0), wanted)
    assert page.locator("#where").inner_text() == "9, 1: hair"


@pytest.mark.integration
def test_a_part_is_added_and_an_error_is_shown(opened: Page, server: LabelServer) -> None:
    page = opened.page
    page.locator("#new-part").fill("hat")
    page.locator("#add button").click()
    page.wait_for_selector("#status.bad")
    assert "named twice" in page.locator("#status").inner_text()
    page.locator("#new-part").fill("Side burns")
    page.locator("#add button").click()
    page.wait_for_selector("#parts li:nth-child(4) button[aria-pressed=true]")
    page.mouse.click(*opened.at(3, 3))
    page.locator("#save").click()
    assert opened.saved(server, 0)[3, 3] == 3
    assert PartSet.load(server.part_set.folder).parts[3] == "side_burns"
    # The browser itself notes the refusal.
    assert len(opened.problems) == 1
    assert "422" in opened.problems.pop()
