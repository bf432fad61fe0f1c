"""Serves the page on which parts are labelled by hand, to this machine alone.

The page draws; this module hands out pictures and takes label maps, a byte a pixel, which it writes as
PNG masks into the set's folder. The server listens on loopback. Other sites in the same browser are kept
out three times over: every address carries a random token, only the loopback's own names are taken as
``Host`` (which defeats DNS rebinding), and writes must come from the page's own origin::

    with LabelServer(PartSet.load(folder)) as server:
        print(server.url)
        server.wait()
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

import numpy as np

from services.generator.parts.colours import colour
from services.generator.parts.dataset import PartSet
from unitscope.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnitScopeError

logger = logging.getLogger(__name__)

_SCRIPTS = ("label.js", "raster.js", "screen.js", "server.js", "state.js", "view.js")
_PAGE = {"": "label.html", "label.css": "label.css", **{name: name for name in _SCRIPTS}}
_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PICTURE = re.compile(r"(images|labels)/(\d{1,5})")
_MAX_NAME_BODY = 200
_SOCKET_SECONDS = 30

Answer = tuple[str, bytes]
"""Content type and body."""


class LabelServer:
    """The page of one part set, served by threads until it is closed.

    Attributes:
        part_set: The set; its parts may have grown on the page.
        token: What every address starts with.
        url: Where the page is.
    """

    def __init__(self, part_set: PartSet, port: int = 0) -> None:
        """Binds loopback.

        Args:
            part_set: What is labelled.
            port: The port; 0 takes a free one.

        Raises:
            ResourceExhaustedError: The port is taken (reason PORT_TAKEN).
        """
        self.part_set = part_set
        self.token = secrets.token_urlsafe(24)
        self._writing = threading.Lock()
        handler = type("Handler", (_Handler,), {"labels": self})
        try:
            self._server = _Server(("127.0.0.1", port), handler)
        except OSError as error:
            raise ResourceExhaustedError(
                f"port {port} cannot be used: {error.strerror}; choose another, or leave --port out",
                reason="PORT_TAKEN",
                port=port,
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{self.token}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        """Starts to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops; a label map that is being written is finished."""
        self._server.shutdown()
        self._server.server_close()
        with self._writing:
            self._thread.join()

    def wait(self) -> None:
        """Returns when the server was stopped by another thread; an interrupt ends it."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def get(self, path: str) -> Answer:
        """What is at an address below the token.

        Raises:
            NotFoundError: Nothing (reason PAGE_NOT_FOUND).
            UnitScopeError: A file of the set is wrong.
        """
        if path in _PAGE:
            name = _PAGE[path]
            body = files("services.generator.parts").joinpath("page", name).read_bytes()
            return _TYPES[name.rpartition(".")[2]], body
        if path == "set":
            return _json(self._described())
        found = _PICTURE.fullmatch(path)
        if found is None:
            raise _no_page()
        index = int(found[2])
        if found[1] == "images":
            return "image/png", self.part_set.image_path(index).read_bytes()
        return "application/octet-stream", self.part_set.labels(index).tobytes()

    def limit(self, path: str) -> tuple[str, int, int]:
        """Type, smallest and largest length of what may be sent to an address.

        Raises:
            NotFoundError: Nothing may (reason PAGE_NOT_FOUND).
        """
        if path == "parts":
            return "application/json", 2, _MAX_NAME_BODY
        if path.startswith("labels/") and _PICTURE.fullmatch(path):
            height, width = self.part_set.size
            return "application/octet-stream", height * width, height * width
        raise _no_page()

    def post(self, path: str, body: bytes) -> Answer:
        """Takes what was sent.

        Args:
            path: ``labels/<index>`` or ``parts``.
            body: A byte a pixel, row by row; or ``{"name": <a new part>}``.

        Raises:
            UnitScopeError: It makes no sense; nothing was changed.
        """
        with self._writing:
            if path == "parts":
                self.part_set = self.part_set.with_parts([*self.part_set.parts, _new_name(body)])
                return _json(self._described())
            index = int(path.rpartition("/")[2])
            labels = np.frombuffer(body, np.uint8).reshape(self.part_set.size)
            self.part_set.save_labels(index, labels)
            return _json({"index": index})

    def _described(self) -> dict[str, Any]:
        own, labelled = self.part_set, set(self.part_set.labelled())
        return {
            "name": own.folder.resolve().name,
            "count": len(own),
            "height": own.size[0],
            "width": own.size[1],
            "parts": own.parts,
            "colours": [colour(part) for part in range(len(own.parts))],
            "labelled": [index in labelled for index in range(len(own))],
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # SO_REUSEADDR would let a second server take the port of a running one on some systems.
    allow_reuse_address = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            logger.exception("a request to the labelling page failed")


class _Handler(BaseHTTPRequestHandler):
    """HTTP in front of a `LabelServer`."""

    protocol_version = "HTTP/1.1"
    server_version = "UnitScope"
    sys_version = ""
    timeout = _SOCKET_SECONDS
    labels: LabelServer

    def do_GET(self) -> None:
        """Pages, pictures and labels."""
        self._answer(lambda path: self.labels.get(path))

    def do_POST(self) -> None:
        """Label maps and new parts."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the token would stand in the log."""

    def _answer(self, act: Any) -> None:
        try:
            status, (kind, body) = HTTPStatus.OK, act(self._checked_path())
        except _RefusedError as refused:
            status, (kind, body) = refused.status, _json({"message": str(refused)})
            # What was sent is not read, so the connection cannot be used again.
            self.close_connection = True
        except NotFoundError as error:
            status, (kind, body) = HTTPStatus.NOT_FOUND, _json({"message": error.message})
            self.close_connection = True
        except (UnitScopeError, OSError) as error:
            status, (kind, body) = HTTPStatus.UNPROCESSABLE_ENTITY, _json({"message": str(error)})
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _checked_path(self) -> str:
        """The address below the token, of a request that names this server and knows the token."""
        own = {f"127.0.0.1:{self.labels.port}", f"localhost:{self.labels.port}"}
        if self.headers.get("Host") not in own:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this server is reached as 127.0.0.1 or localhost only")
        token, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.labels.token.encode()):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "open the whole address that 'unitscope parts label' printed"
            )
        return path

    def _post(self, path: str) -> Answer:
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "only the page itself may save")
        kind, least, most = self.labels.limit(path)
        if self.headers.get_content_type() != kind:
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type must be {kind}")
        text = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,9}", text) or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "a content length is needed")
        if not least <= int(text) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{text} bytes were sent; {wanted} are needed"
            )
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the connection ended too early")
        return self.labels.post(path, body)


class _RefusedError(Exception):
    """A request that is not even read."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def _new_name(body: bytes) -> str:
    try:
        name = json.loads(body)["name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name = None
    if not isinstance(name, str):
        raise InvalidArgumentError(
            'a new part is sent as {"name": <its name>}', reason="INVALID_PARTS", field="name"
        )
    return name


def _json(value: object) -> Answer:
    return "application/json", json.dumps(value).encode()


def _no_page() -> NotFoundError:
    return NotFoundError("there is no such page", reason="PAGE_NOT_FOUND")
