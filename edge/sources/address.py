"""What the setting `input` of a video source names: a camera of this machine, a stream, or a film."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

_PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}


class VideoKind(StrEnum):
    """What sort of source an input is."""

    DEVICE = "device"
    """A camera that Linux knows (V4L2): USB microscopes, capture cards."""
    STREAM = "stream"
    """A camera on the network: MJPEG over HTTP, or RTSP."""
    FILM = "film"
    """A file."""


class VideoAddress(NamedTuple):
    """An input, understood.

    Attributes:
        kind: what it is.
        target: a device's path, a stream's address, a file's path. May hold a token in its query.
        host: of a stream, else empty.
        port: of a stream, else 0.
    """

    kind: VideoKind
    target: str
    host: str = ""
    port: int = 0

    @property
    def name(self) -> str:
        """What it is called in messages: nothing that could be secret is left in it."""
        match self.kind:
            case VideoKind.DEVICE:
                return f"the camera {self.target}"
            case VideoKind.STREAM:
                parts = urlsplit(self.target)
                return f"the camera at {parts.scheme}://{self.host}:{self.port}{parts.path}"
            case VideoKind.FILM:
                return f"the film {self.target}"

    def with_login(self, login: str | None) -> str:
        """The target with a user and a password in it, as `user:password`; never to be shown."""
        if login is None or self.kind is not VideoKind.STREAM:
            return self.target
        user, _, password = login.partition(":")
        scheme, rest = self.target.split("://", 1)
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def video_address(text: str) -> VideoAddress:
    """Understand an input: a number or a path in `/dev`, an address with `://`, or a file's path.

    Raises:
        ValueError: it is none of these; the text says why, and does not repeat the input, which may hold a
            password.
    """
    if text.isascii() and text.isdigit():
        return VideoAddress(VideoKind.DEVICE, f"/dev/video{int(text)}")
    if text.startswith("/dev/"):
        return VideoAddress(VideoKind.DEVICE, text)
    if "://" not in text:
        if not text or "\0" in text:
            raise ValueError("must name a device, an address or a file")
        return VideoAddress(VideoKind.FILM, str(Path(text)))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a valid address") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be an address that begins with http://, https://, rtsp:// or rtsps://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password; name the file that does with login_file")
    return VideoAddress(VideoKind.STREAM, text, parts.hostname, port or _PORTS[parts.scheme])
