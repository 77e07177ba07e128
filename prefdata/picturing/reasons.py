"""Why a picture is refused: the names that tables hold, and a sentence for each."""

from __future__ import annotations

from collections.abc import Mapping

OF_THE_MOMENT = frozenset(("fetch_failed", "fetch_timed_out"))
"""Reasons that may be gone when the address is asked again."""

REASONS: Mapping[str, str] = {
    "no_address": "the row names no picture where one is expected: the address is empty",
    "bad_address": "the address holds a control character, a backslash or a NUL, or is too long for a name",
    "bad_data_address": "the `data:` address is no base64 of a picture",
    "scheme_not_allowed": "the address has a scheme other than https: and data:",
    "outside_root": "the address leads out of the root (see pictures.root), has a .. or passes a link that leads out",
    "not_there": "there is no such file; of an address of the network, its host says so",
    "not_a_file": "a folder, a pipe, a socket or a device",
    "cannot_be_read": "the file is there and cannot be read: permission, or a fault of the disk",
    "empty": "the file holds nothing",
    "too_large": "more bytes than `max_bytes`",
    "unknown_format": "the bytes are no picture of a format that is known",
    "format_not_allowed": "a picture of a format that `formats` does not name",
    "too_many_pixels": "more pixels than `max_pixels`, told by the head of the file before anything is decoded",
    "metadata_too_large": "texts or a colour profile in the file unpack to more than a picture needs",
    "truncated": "the file ends before the picture does",
    "broken": "the decoder found something that a picture of this format cannot hold",
    "timed_out": "decoding took more processor time than `seconds`",
    "out_of_memory": "decoding took more memory than `memory`",
    "crashed": "the decoder crashed twice on this picture",
    "network_off": "an address of the network, and the recipe names no `hosts`",
    "host_not_allowed": "the host, or one that it redirects to, is not among `hosts`",
    "host_not_public": "the host's name leads to an address that is not public: a private or local network",
    "too_many_redirects": "the host redirects again and again",
    "fetch_failed": "the host did not answer with the picture",
    "fetch_timed_out": "the host took too long",
}
"""Reason -> what it says about a picture. The names are kept in tables: one whose meaning changes is a new name."""


class Refused(Exception):
    """A picture is refused; `reason` is one of REASONS."""

    def __init__(self, reason: str, **known: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.known = known
        """What the head of the file told before it was refused: format, width, height."""
