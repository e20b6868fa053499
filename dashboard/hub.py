"""Changes → every browser that listens. What a browser missed it asks for anew; nothing here is the truth."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence

from dashboard.mirror.rows import Change
from dashboard.records import LinkState

WAITING = 2000
"""Changes that may wait for one browser. One that reads more slowly is told to ask for everything again."""
PACE_S = 0.1
"""Changes are sent together, at most so often: a replay brings thousands."""
PING_S = 15.0
"""Something is sent at least so often, so that a connection that is dead is noticed."""


class Listener:
    """One browser's changes, in the order of their coming, each once. Used in the event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[Change, None] = {}
        self._link: LinkState | None = None
        self._missed = False
        self._news = asyncio.Event()
        self.closed = False

    def tell(self, changes: Sequence[Change]) -> None:
        """Keep changes for the browser; where there is no more room, only that it missed some."""
        if not changes:
            return
        self._waiting.update(dict.fromkeys(changes))
        if len(self._waiting) > WAITING:
            self._waiting.clear()
            self._missed = True
        self._news.set()

    def miss(self) -> None:
        """Keep that the browser does not know everything that was told before it came."""
        self._missed = True
        self._news.set()

    def tell_link(self, link: LinkState) -> None:
        """Keep how the connection to the broker is now."""
        self._link = link
        self._news.set()

    def close(self) -> None:
        """End the stream."""
        self.closed = True
        self._news.set()

    async def events(self) -> AsyncIterator[str]:
        """The stream, as Server-Sent Events.

        `changes` holds a list of them, `reload` says that some are lost, `link` how the broker's connection is.
        """
        yield "retry: 2000\n\n"
        while not self.closed:
            try:
                await asyncio.wait_for(self._news.wait(), PING_S)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            self._news.clear()
            if self._link is not None:
                link, self._link = self._link._asdict(), None
                yield f"event: link\ndata: {json.dumps(link)}\n\n"
            if self._missed:
                self._missed = False
                self._waiting.clear()
                yield "event: reload\ndata: {}\n\n"
            elif self._waiting:
                changes = [change._asdict() for change in self._waiting]
                self._waiting.clear()
                yield f"event: changes\ndata: {json.dumps(changes)}\n\n"
            await asyncio.sleep(PACE_S)


class Hub:
    """Fans changes out. `publish` may be called from any thread, the rest from the event loop."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(4)
        self._told = self._links = 0
        self._recent: deque[Change] = deque(maxlen=WAITING)
        self._link: LinkState | None = None
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin; to be called in the event loop."""
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End every stream, so that the server can end."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(self._close_all)

    def publish(self, changes: Sequence[Change]) -> None:
        """Tell every browser; does nothing before `open` and after `close`."""
        with self._lock:
            if self._loop is not None and changes:
                self._loop.call_soon_threadsafe(self._tell_all, tuple(changes))

    def publish_link(self, link: LinkState) -> None:
        """Tell every browser how the connection to the broker is."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._tell_all_link, link)

    @property
    def now(self) -> str:
        """How much was told until now: what a page is made from after this holds at least so much."""
        return f"{self._name}.{self._told}.{self._links}"

    def listen(self, since: str = "") -> Listener:
        """A new browser.

        Args:
            since: `now` from before its page was made; what was told since then is told to it, too. Without it, what
                comes from here on.
        """
        listener = Listener()
        self._listeners.add(listener)
        name, *counts = since.split(".")
        known = [int(count) for count in counts if count.isascii() and count.isdecimal() and len(count) <= 16]
        if name == self._name and len(known) == 2:
            later = self._told - known[0]
            if 0 <= later <= len(self._recent):
                listener.tell([*self._recent][len(self._recent) - later :])
            else:
                listener.miss()
            if known[1] != self._links and self._link is not None:
                listener.tell_link(self._link)
        elif since:
            listener.miss()
        return listener

    def leave(self, listener: Listener) -> None:
        """A browser is gone."""
        self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many browsers listen."""
        return len(self._listeners)

    def _tell_all(self, changes: Sequence[Change]) -> None:
        self._told += len(changes)
        self._recent.extend(changes)
        for listener in self._listeners:
            listener.tell(changes)

    def _tell_all_link(self, link: LinkState) -> None:
        self._links += 1
        self._link = link
        for listener in self._listeners:
            listener.tell_link(link)

    def _close_all(self) -> None:
        for listener in self._listeners:
            listener.close()
