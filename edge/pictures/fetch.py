"""What an http(s) address answers with, within limits of time and size."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Final

from edge import __version__
from edge.errors import InputError, InputTooLarge

MAX_BYTES: Final = 200_000_000
SILENCE_S: Final = 15.0
"""How long a server may say nothing."""

TOTAL_S: Final = 120.0
"""How long an answer may take in all."""


def fetch(
    address: str,
    *,
    connect: Sequence[urllib.request.BaseHandler] | None = None,
    largest: int | None = None,
) -> bytes:
    """Read what an address answers with.

    Args:
        address: begins with ``http://`` or ``https://``. Redirects are followed ten times, to the same two.
        connect: what opens connections, for redirects too; None for the usual ones, with the system's proxy.
        largest: bytes of the answer; None for `MAX_BYTES`.

    Raises:
        InputTooLarge: the answer has more than `largest`.
        InputError: anything but a complete answer with content that is no web page.
    """
    try:
        host = urllib.parse.urlsplit(address).netloc
        if "@" in host:
            host = host.rpartition("@")[2]
            raise InputError(f"an address at {host} holds a password: download the file and name that")
        # A browser would have quoted spaces and letters beyond ASCII; what is quoted already stays.
        request = urllib.request.Request(
            urllib.parse.quote(address, safe="%/:=&?~#+!$,;'@()*[]"),
            headers={"User-Agent": f"leukoscope/{__version__}", "Accept": "image/*, application/zip"},
        )
        data = _get(request, address, connect or _usual(), MAX_BYTES if largest is None else largest)
    except urllib.error.HTTPError as error:
        error.close()
        what = "it redirects in circles" if "infinite loop" in str(error.reason) else error.reason
        raise InputError(f"{address} answers with {error.code}: {what}") from error
    except urllib.error.URLError as error:
        raise InputError(f"{address} cannot be reached: {_why(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(f"{address} cannot be read: {_why(error)}") from error
    if data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html")):
        raise InputError(f"{address} answers with a web page: give the address of the picture itself")
    return data


def _usual() -> Sequence[urllib.request.BaseHandler]:
    return urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()


def _get(
    request: urllib.request.Request,
    address: str,
    connect: Sequence[urllib.request.BaseHandler],
    largest: int,
) -> bytes:
    opener = urllib.request.OpenerDirector()  # not `build_opener`, which would follow to ftp: and file:
    for handler in (
        *connect,
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    ends = time.monotonic() + TOTAL_S
    data = bytearray()
    with opener.open(request, timeout=SILENCE_S) as answer:
        announced = int(answer.headers.get("Content-Length") or 0)
        while announced <= largest and (part := answer.read1(1 << 16)):
            data += part
            announced = max(announced, len(data))
            if time.monotonic() > ends:
                raise TimeoutError(f"it took more than {TOTAL_S:.0f} s")
    if announced > largest:
        raise InputTooLarge(f"{address} has more than {largest // 10**6} MB: download it and name the file")
    if len(data) < announced:
        raise InputError(f"{address} was cut off after {len(data):,} of {announced:,} bytes: try again")
    return bytes(data)


def _why(reason: object) -> str:
    """The cause of a failure, as far as the system has words for it."""
    if isinstance(reason, TimeoutError):
        return str(reason) if "took" in str(reason) else f"no answer within {SILENCE_S:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
