"""The forms of a connection: for each, what the two applications do.

A form without `differs` is seen alike with and without sidecars. Else `differs` stands in docs/behaviour.md, and
`through` is what the applications see with sidecars between them.
"""

from dataclasses import dataclass
from typing import Final

from forms.steps import (
    Script,
    aborts,
    closes,
    cues,
    exchanges,
    half_closes,
    hears_nothing,
    leaves_unread,
    opens,
    pauses,
    reads,
    reads_to_the_end,
    reads_urgent,
    reads_what_was_said,
    says,
    says_bytewise,
    says_until_held_back,
    says_until_it_fails,
    says_urgently,
    takes_urgent_inline,
    waits_for,
)

QUESTION: Final = b"what is the answer?"
ANSWER: Final = b"forty-two"
MUCH: Final = 8 << 20
SILENCE_S: Final = 0.5


@dataclass(frozen=True)
class Outcome:
    """What each application saw, in order."""

    client: tuple[str, ...]
    server: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """One kind of conversation; without a server's script nobody listens."""

    name: str
    client: Script
    server: Script | None
    differs: str = ""
    through: Outcome | None = None


CLOSED_PORT: Final = "a dial to a closed port is refused"
URGENT: Final = "urgent data (`MSG_OOB`) arrives"
FULL_QUEUE: Final = "a dial that finds the server's accept queue full waits"
"""Shown in test_listeners.py: it takes two connections."""

FORMS: Final = (
    Form(
        "half-close by the client",
        (says(QUESTION), half_closes, reads_to_the_end),
        (reads_to_the_end, says(ANSWER), says(ANSWER), closes),
    ),
    Form(
        "half-close by the server",
        (reads_to_the_end, says(QUESTION), says(QUESTION), closes),
        (says(ANSWER), half_closes, reads_to_the_end),
    ),
    Form(
        "half-close by both at once",
        (says(QUESTION), half_closes, reads_to_the_end),
        (says(ANSWER), half_closes, reads_to_the_end),
    ),
    Form(
        "half-close by the client, and the server after a while",
        (opens, half_closes, reads(len(ANSWER)), reads_to_the_end),
        (reads_to_the_end, says(ANSWER), pauses(SILENCE_S), says(ANSWER), half_closes),
    ),
    Form(
        "RST by the client before a byte",
        (opens, waits_for("accepted"), aborts),
        (opens, cues("accepted"), reads_to_the_end),
    ),
    Form("RST by the client at once", (opens, aborts), (reads_to_the_end,)),
    Form(
        "RST by the client amid data",
        (says(QUESTION), waits_for("heard"), aborts),
        (reads(len(QUESTION)), cues("heard"), reads_to_the_end, says(ANSWER)),
    ),
    Form(
        "RST by the client after a half-close",
        (says(QUESTION), half_closes, waits_for("heard"), aborts),
        (reads_to_the_end, cues("heard"), says_until_it_fails),
    ),
    Form(
        "RST by the server before a byte",
        (opens, cues("open"), reads_to_the_end, says(QUESTION)),
        (waits_for("open"), aborts),
    ),
    Form(
        "RST by the server amid data",
        (says(QUESTION), reads(len(ANSWER)), cues("heard"), reads_to_the_end),
        (reads(len(QUESTION)), says(ANSWER), waits_for("heard"), aborts),
    ),
    Form(
        "RST by the server in one breath with its answer",
        (says(QUESTION), reads_to_the_end),
        (reads(len(QUESTION)), says(ANSWER), aborts),
    ),
    Form(
        "RST by the server after a half-close",
        (says(QUESTION), reads(len(ANSWER)), cues("heard"), reads_to_the_end, says_until_it_fails),
        (reads(len(QUESTION)), says(ANSWER), half_closes, waits_for("heard"), aborts),
    ),
    Form(
        "a client that is slow to start",
        (opens, pauses(SILENCE_S), says(QUESTION), half_closes, reads_to_the_end),
        (reads_to_the_end, says(ANSWER), closes),
    ),
    Form(
        "a server that speaks first",
        (reads(len(ANSWER)), says(QUESTION), reads_to_the_end),
        (says(ANSWER), reads(len(QUESTION)), says(ANSWER), closes),
    ),
    Form(
        "silence on both sides, then talk",
        (opens, hears_nothing(SILENCE_S), says(QUESTION), reads_to_the_end),
        (hears_nothing(SILENCE_S / 2), reads(len(QUESTION)), says(ANSWER), closes),
    ),
    Form("no byte, closed by the client", (opens, closes), (reads_to_the_end, closes)),
    Form("no byte, closed by the server", (reads_to_the_end, closes), (opens, closes)),
    Form("no byte, half-closed by both", (opens, half_closes, reads_to_the_end), (reads_to_the_end, half_closes)),
    Form(
        "a client that closes before the answer",
        (says(QUESTION), closes),
        (reads_to_the_end, says_until_it_fails),
    ),
    Form(
        "a client that closes with the answer unread",
        (says(QUESTION), leaves_unread(len(ANSWER)), closes),
        (reads(len(QUESTION)), says(ANSWER), reads_to_the_end),
    ),
    Form(
        "a server that closes before it has read everything",
        (says(bytes(8192)), reads_to_the_end),
        (reads(4), leaves_unread(8188), closes),
    ),
    Form(
        "a server that answers before it has read everything, and closes",
        (says(bytes(8192)), reads_to_the_end),
        (reads(4), leaves_unread(8188), says(ANSWER), closes),
    ),
    Form(
        "a server that closes amid an upload",
        (says_until_it_fails, reads_to_the_end),
        (reads(4), leaves_unread(1), closes),
    ),
    Form(
        "a server that answers amid an upload, and closes",
        (says_until_it_fails, reads_to_the_end),
        (reads(4), leaves_unread(1), says(ANSWER), closes),
    ),
    Form(
        "a server that accepts late",
        (says(QUESTION), cues("said"), reads_to_the_end),
        (waits_for("said"), pauses(SILENCE_S), reads(len(QUESTION)), says(ANSWER), closes),
    ),
    Form(
        "a server that accepts when the client has gone",
        (says(QUESTION), hears_nothing(SILENCE_S), closes, cues("gone")),
        (waits_for("gone"), reads_to_the_end),
    ),
    Form(
        "urgent data that nobody asks for",
        (says(QUESTION), says_urgently(b"!"), says(QUESTION), half_closes, reads_to_the_end),
        (reads_to_the_end, says(ANSWER), closes),
    ),
    Form(
        "urgent data that is asked for",
        (says(QUESTION), says_urgently(b"!"), reads(len(ANSWER)), says(QUESTION), half_closes, reads_to_the_end),
        (reads(len(QUESTION)), reads_urgent, says(ANSWER), reads_to_the_end, closes),
        differs=URGENT,
        through=Outcome(
            (f"heard {ANSWER!r}", "the end"),
            (f"heard {QUESTION!r}", "nothing urgent", f"heard {QUESTION!r}", "the end"),
        ),
    ),
    Form(
        "urgent data among the other",
        (opens, waits_for("ready"), says(QUESTION), says_urgently(b"!"), says(QUESTION), half_closes),
        (takes_urgent_inline, cues("ready"), reads_to_the_end),
        differs=URGENT,
        through=Outcome((), (f"heard {QUESTION + QUESTION!r}", "the end")),
    ),
    Form(
        "bytes one by one, both ways",
        (says_bytewise(bytes(range(250)) * 8), half_closes, reads_to_the_end),
        (says_bytewise(bytes(range(250, 0, -1)) * 8), half_closes, reads_to_the_end),
    ),
    Form("much, both ways at once", (exchanges(MUCH, 1),), (exchanges(MUCH, 2),)),
    Form(
        "a reader that stops for a while",
        (says_until_held_back, cues("held back"), half_closes, reads_to_the_end),
        (opens, waits_for("held back"), reads_what_was_said, says(ANSWER), closes),
    ),
    Form(
        "a client that stops reading for a while",
        (opens, waits_for("held back"), reads_what_was_said, says(ANSWER), closes),
        (says_until_held_back, cues("held back"), half_closes, reads_to_the_end),
    ),
    Form(
        "nobody listens",
        (opens, reads_to_the_end),
        None,
        differs=CLOSED_PORT,
        through=Outcome(("reset",)),
    ),
)
