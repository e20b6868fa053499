"""A real camera on the network, as far as anybody can tell: an HTTP server of MJPEG that can be made to misbehave."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

import cv2
import numpy as np

Mode = Literal["play", "stall", "hang up", "black", "white", "repeat", "refuse", "garbage"]

Shows = Callable[[int], np.ndarray]
"""The picture of a number, height × width × 3 R, G, B."""


def noisy(number: int, *, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture unlike any other: grey, with a sensor's noise."""
    return np.random.default_rng(number).integers(90, 160, (height, width, 3), dtype=np.uint8)


class MjpegServer:
    """Serves pictures to whoever asks, over and over, each viewer its own.

    Attributes:
        mode: what it does now; may be changed at any time.
        shown: how many pictures were sent, to all viewers.
        viewers: how many have come.
        place: how many different pictures were shown; it goes on where it was for the next viewer.
    """

    def __init__(
        self, shows: Shows = noisy, *, count: int = 1000, interval_s: float = 0.02, login: str = ""
    ) -> None:
        self.mode: Mode = "play"
        self.shown = self.viewers = 0
        self.login = login
        self._shows, self._count, self._interval_s = shows, count, interval_s
        self.place = 0
        self._last = b""
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._end = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/stream"

    def start(self) -> None:
        """Listen, at the same port as before."""
        camera = self
        self._end = threading.Event()  # of those that watch from now on: one of before may still see the old

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                camera._serve(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: nothing listens, and who watches is cut off."""
        if self._server is not None:
            self._end.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> MjpegServer:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        end = self._end
        handler.close_connection = True
        expected = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and handler.headers.get("Authorization") != expected:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.mode == "refuse":
            handler.send_error(503)
            return
        self.viewers += 1
        try:
            handler.send_response(200)
            handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            handler.end_headers()
            while not end.is_set() and self.mode not in ("hang up", "refuse"):
                if self.mode != "stall":
                    data = self._picture()
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    handler.wfile.write(head.encode() + data + b"\r\n")
                    self.shown += 1
                time.sleep(self._interval_s)
        except OSError:
            pass  # the viewer left

    def _picture(self) -> bytes:
        if self.mode == "repeat" and self._last:
            return self._last
        if self.mode == "garbage":
            return bytes(np.random.default_rng(self.shown).integers(0, 256, 5000, dtype=np.uint8))
        picture = self._shows(self.place % self._count)
        if self.mode in ("black", "white"):
            picture = np.full_like(picture, 0 if self.mode == "black" else 255)
        else:
            self.place += 1
        self._last = jpeg(picture)
        return self._last


def jpeg(picture: np.ndarray, quality: int = 95) -> bytes:
    """A JPEG of an R, G, B picture."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data)
