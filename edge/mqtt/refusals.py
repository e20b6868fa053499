"""What a broker refuses although it is connected, and when it is offered that again. Pure: the time comes in.

Order first: while a topic is refused, its messages wait behind the refused one, which is offered again, alone,
less and less often; other topics go on. Only a message that is refused while a later one of its topic is taken, or
for a reason that lies in itself, is left behind, and offered again now and then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PROBE_FIRST_S, PROBE_LAST_S = 1.0, 60.0
"""A refused topic's first message is offered again after this time, then after twice as long each time."""
ALONE = 4
"""After so many refusals the messages behind the first are tried with it: perhaps it is the only one refused."""
CAREFUL, BLAMED = 2, 4
"""After so many connections in a row that ended at the same message, one message at a time is sent; after so many,
that message is taken for the cause."""
AGAIN_FIRST_S, AGAIN_LAST_S = 60.0, 3600.0
"""A message that was refused by itself is offered again after this time, then after twice as long each time."""
HANGS_UP = "the connection ends"


@dataclass
class _Held:
    """A topic that is refused.

    Attributes:
        reason: in the broker's words.
        advice: what to do about it.
        refused: the numbers that were refused since.
        delay_s: from one probe to the next.
        due_at: when the next one is to be sent.
        probes: sent so far.
        probing: their messages that are not answered.
    """

    reason: str
    advice: str
    refused: set[int]
    delay_s: float
    due_at: float
    probes: int = 0
    probing: set[int] = field(default_factory=set)


class Refusals:
    """Keeps account of one broker's refusals, over its connections. False while nothing is refused.

    Attributes:
        single: messages of the outbox that were refused by themselves, by number, with the broker's reason.
        version: grows where `words` may have changed.
    """

    def __init__(self) -> None:
        self.single: dict[int, str] = {}
        self.version = 0
        self._unsaid: dict[str, str] = {}
        self._held: dict[str, _Held] = {}
        self._shunned: dict[int | str, tuple[float, float]] = {}  # until when, and the pause after that
        self._suspect: int | str | None = None
        self._ends = self._ends_there = 0
        self._again_s = AGAIN_FIRST_S
        self._again_at = float("inf")
        self._rewind = False

    def __bool__(self) -> bool:
        return bool(self._held or self.single or self._unsaid)

    def refused(
        self, seq: int, topic: str, *, now: float, reason: str, advice: str, alone: bool = False
    ) -> None:
        """A message of the outbox was refused.

        Args:
            seq: its number.
            topic: its topic.
            now: the time, in seconds of any clock that does not jump.
            reason: in the broker's words.
            advice: what to do about it.
            alone: for a reason that lies in the message.
        """
        self.version += 1
        held = self._held.get(topic)
        if alone or (seq in self.single and held is None):
            self._leave(seq, reason, now)
        elif held is None:
            self._held[topic] = _Held(reason, advice, {seq}, PROBE_FIRST_S, now + _jittered(PROBE_FIRST_S))
        else:
            held.reason, held.advice = reason, advice
            held.refused.add(seq)
        if held is not None and seq in held.probing:
            held.probing.discard(seq)
            if not held.probing:
                held.delay_s = min(2 * held.delay_s, PROBE_LAST_S)
                held.due_at = now + _jittered(held.delay_s)

    def taken(self, seq: int, topic: str, *, now: float) -> None:
        """A message of the outbox was acknowledged."""
        if self.single.pop(seq, None) is not None:
            self._shunned.pop(seq, None)
            self.version += 1
        held = self._held.pop(topic, None)
        if held is not None:
            self.version += 1
            self._rewind = True
            for earlier in held.refused:
                if earlier < seq:  # it did not lie in the topic
                    self._leave(earlier, held.reason, now)

    def leave_unsaid(self, topic: str, reason: str, advice: str) -> None:
        """A message beside the outbox was refused.

        Args:
            topic: its topic.
            reason: in the broker's words.
            advice: what to do about it.
        """
        if topic not in self._unsaid:  # in other words it would be told anew, perhaps by the very message
            self.version += 1
            self._unsaid[topic] = f"{reason}): {advice}"

    def said(self, topic: str) -> None:
        """A message beside the outbox was acknowledged."""
        self._shunned.pop(topic, None)
        if self._unsaid.pop(topic, None) is not None:
            self.version += 1

    def connected(self) -> None:
        """A new connection: what was refused on the one before may be taken now."""
        self.version += 1
        self._unsaid = {topic: why for topic, why in self._unsaid.items() if topic in self._shunned}
        for held in self._held.values():
            held.due_at = 0.0
            held.probing.clear()
        self._again_s = AGAIN_FIRST_S
        self._again_at = min((until for until, _ in self._shunned.values()), default=float("inf"))

    @property
    def careful(self) -> bool:
        """Messages are to be sent one at a time, as one of them seems to end the connection."""
        return self._ends >= CAREFUL

    def ended(self, first: int | str | None) -> bool:
        """A connection ended.

        Args:
            first: the number of the first message that was in flight then, or its topic where it is a retained one
                beside the outbox; None where some of the outbox were acknowledged on it, or none were in flight.

        Returns:
            Whether that message is to be taken for the cause: some brokers hang up on what they do not want.
        """
        self._ends = 0 if first is None else self._ends + 1
        self._ends_there = self._ends_there + 1 if first == self._suspect else 1
        self._suspect = first
        return first is not None and self._ends_there >= (CAREFUL if first in self._shunned else BLAMED)

    def shun(self, first: int | str, *, now: float) -> None:
        """Do not offer a message for a while; for longer each time.

        Args:
            first: its number, or its topic where it is a retained one beside the outbox.
            now: as of `refused`.
        """
        _, pause = self._shunned.get(first, (0.0, AGAIN_FIRST_S))
        self._shunned[first] = now + pause, min(2 * pause, AGAIN_LAST_S)
        if isinstance(first, int):
            self.single[first] = HANGS_UP
        else:
            self._unsaid[first] = f"{HANGS_UP}): allow this topic, and packets of this size, on the broker"
        self._again_at = min(self._again_at, now + pause)
        self._suspect, self._ends = None, 0
        self.version += 1

    def shunned(self, now: float) -> set[int | str]:
        """Messages that are not to be offered now, by number or topic."""
        return {first for first, (until, _) in self._shunned.items() if until > now}

    def held(self) -> frozenset[str]:
        """Topics that are refused; their messages wait."""
        return frozenset(self._held)

    def due(self, now: float) -> tuple[tuple[str, int], ...]:
        """Topics of which messages are to be offered now, and how many: the first ones that wait."""
        return tuple(
            (topic, 1 if held.probes < ALONE else held.probes)
            for topic, held in self._held.items()
            if held.due_at <= now and not held.probing
        )

    def probe(self, topic: str, seqs: set[int]) -> None:
        """These are offered for a refused topic; none: there is nothing more of it."""
        if not seqs:
            del self._held[topic]
            self.version += 1
            return
        held = self._held[topic]
        held.probes += 1
        held.probing = set(seqs)

    def rewind(self, now: float) -> bool:
        """Whether the outbox is to be gone through from its beginning, as there may be some to offer again."""
        if now >= self._again_at:
            self._again_s = min(2 * self._again_s, AGAIN_LAST_S)
            later = [until for until, _ in self._shunned.values() if until > now]
            self._again_at = min(later, default=float("inf"))
            self._rewind = True
        rewind, self._rewind = self._rewind, False
        return rewind

    def wakes_at(self) -> float:
        """When there is something to offer again; infinity where nothing is refused."""
        return min([self._again_at, *(held.due_at for held in self._held.values() if not held.probing)])

    def words(self) -> str:
        """What is refused, why, and what to do, as one sentence; empty where nothing is."""
        refused = {topic.partition("/")[0]: why for topic, why in self._unsaid.items()}
        refused |= {topic: f"{held.reason}): {held.advice}" for topic, held in self._held.items()}
        parts = [f"the broker refuses {topic} ({why}" for topic, why in sorted(refused.items())]
        if self.single:
            reasons = ", ".join(sorted(set(self.single.values())))
            parts.append(f"the broker refuses single messages ({reasons})")
        return "; ".join(parts) + ("; what is refused waits, and is offered again" if parts else "")

    def _leave(self, seq: int, reason: str, now: float) -> None:
        self.single[seq] = reason
        self._again_at = min(self._again_at, now + self._again_s)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1)
