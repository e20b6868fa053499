"""A broker of MQTT 5 that keeps nothing, and answers what it is told to answer: what a real one seldom does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Self

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 12, 14


class GrudgingBroker:
    """Listens on 127.0.0.1 while the `with` block lasts.

    Args:
        connack: the reason code that every CONNECT is answered with.
        puback: topic, payload → the reason code of the PUBACK; None: no PUBACK at all.
        suback: the reason code of every subscription.
        farewell: after the CONNACK it hangs up, with this reason code; None: it stays.
        port: a port to use instead of a free one.

    Attributes:
        port: where it listens.
        connects: how many CONNECTs came.
        published: topic and payload of each message that came, in order.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        connack: int = 0,
        puback: Callable[[str, bytes], int | None] = lambda _topic, _payload: 0,
        suback: int = 1,
        farewell: int | None = None,
        port: int = 0,
    ) -> None:
        self.connack = connack
        self.puback = puback
        self.suback = suback
        self.farewell = farewell
        self.port = port
        self.connects = 0
        self.published: list[tuple[str, bytes]] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def hang_up(self) -> None:
        """End all connections that there are."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in set(self._clients)])

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._clients.add(task)
            try:
                await self._talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                pass
            finally:
                self._clients.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        running = set(self._clients)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (head,) = await reader.readexactly(1)
            body = await reader.readexactly(await _length(reader))
            if head >> 4 == CONNECT:
                self.connects += 1
                writer.write(bytes([CONNACK << 4, 3, 0, self.connack, 0]))
                if self.farewell is not None:
                    writer.write(bytes([DISCONNECT << 4, 2, self.farewell, 0]))
                if self.farewell is not None or self.connack:
                    await writer.drain()
                    return
            elif head >> 4 == PUBLISH:
                self._take(writer, head, body)
            elif head >> 4 == SUBSCRIBE:
                codes = bytes([self.suback]) * _topics(body)
                writer.write(bytes([0x90, 3 + len(codes)]) + body[:2] + b"\0" + codes)
            elif head >> 4 == PINGREQ:
                writer.write(b"\xd0\0")
            elif head >> 4 == DISCONNECT:
                return
            await writer.drain()

    def _take(self, writer: asyncio.StreamWriter, head: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2])
        topic, qos = body[2:end].decode(), head >> 1 & 3
        number = body[end : end + 2 * bool(qos)]
        properties = end + len(number)
        payload = body[properties + 1 + body[properties] :]
        self.published.append((topic, payload))
        if qos:
            code = self.puback(topic, payload)
            if code is not None:
                writer.write(bytes([PUBACK << 4, 3]) + number + bytes([code]))


async def _length(reader: asyncio.StreamReader) -> int:
    """MQTT's variable byte integer: seven bits a byte, the lowest first."""
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 127) << shift
        if byte < 128:
            return length
        shift += 7


def _topics(body: bytes) -> int:
    """How many filters a SUBSCRIBE without properties asks for."""
    at, count = 3, 0
    while at < len(body):
        at, count = at + 3 + int.from_bytes(body[at : at + 2]), count + 1
    return count
