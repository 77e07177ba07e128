"""A process that decodes: pictures in by standard input, what is known of them out by standard output.

`python -m prefdata.picturing.worker`; started by `prefdata.picturing.pool` alone. It is bounded in memory, in
processor time for each picture, and can open neither a file nor the network: what a picture does to a decoder stays
here.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from prefdata.picturing import decoding
from prefdata.picturing.framing import receive, send
from prefdata.picturing.limits import confine, start_clock, stop_clock
from prefdata.picturing.reasons import Refused

SOURCE, SINK = 0, 1


def main() -> int:
    """Answers every picture in its turn until the other side closes."""
    # an interrupt is for the process that asks: it ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr
    first = receive(SOURCE)
    if first is None:
        return 0
    config = first[0]
    rules = decoding.Rules.told(config)
    decoding.warm_up(rules)
    confine(config["memory"])
    send(SINK, {"ready": os.getpid()})
    while (message := receive(SOURCE)) is not None:
        pictures = message[1]
        for at, data in enumerate(pictures):
            facts, blobs = answer(data, rules, config["seconds"])
            pictures[at] = b""
            send(SINK, facts, blobs)
            if facts.get("reason") == "out_of_memory":
                return 0  # what is left of the heap is in pieces; the next one starts afresh
    return 0


def answer(data: bytes, rules: decoding.Rules, seconds: float) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """What is known of one picture, or the reason why it is refused and what its head told."""
    start_clock(seconds)
    try:
        seen = decoding.look(data, rules)
    except Refused as refused:
        return {"reason": refused.reason, **refused.known}, ()
    except MemoryError:
        return {"reason": "out_of_memory"}, ()
    except Exception:  # as in decoding: whatever stumbles over a picture, the worker is sound and goes on
        return {"reason": "broken"}, ()
    finally:
        stop_clock()
    return {"reason": None, **seen.facts}, seen.blobs


if __name__ == "__main__":
    raise SystemExit(main())
