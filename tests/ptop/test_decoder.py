"""Bytes of a terminal as keys, however they are split and whenever they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptop.live.decoder import ESCAPE_S, PASTE_LENGTH, SEQUENCE_S, Decoder, Event, Mouse, Paste

SEQUENCES: dict[bytes, list[Event]] = {
    b"\x1b[A": ["Up"],
    b"\x1bOB": ["Down"],
    b"\x1b[1;2D": ["Shift-Left"],
    b"\x1b[1;5H": ["Ctrl-Home"],
    b"\x1b[1;8C": ["Ctrl-Alt-Shift-Right"],
    b"\x1b[d": ["Shift-Left"],
    b"\x1bOa": ["Ctrl-Up"],
    b"\x1b[5~": ["PgUp"],
    b"\x1b[6~": ["PgDn"],
    b"\x1b[3;5~": ["Ctrl-Delete"],
    b"\x1b[4~": ["End"],
    b"\x1bOP": ["F1"],
    b"\x1b[[E": ["F5"],
    b"\x1b[21~": ["F10"],
    b"\x1b[1;2R": ["Shift-F3"],
    b"\x1b[Z": ["Shift-Tab"],
    b"\x1bOM": ["Enter"],
    b"\x1bOk": ["+"],
    b"\x1b[<0;10;3M": [Mouse(0, 9, 2, True)],
    b"\x1b[<65;1;1m": [Mouse(65, 0, 0, False)],
    b"\x1b[200~qq\x1b[201~": [Paste("qq")],
    # Reports that nobody asked for: X10 mouse, focus, cursor, colour, settings.
    b"\x1b[M qq": [],
    b"\x1b[I": [],
    b"\x1b[12;40R": [],
    b"\x1b[?62;1;6c": [],
    b"\x1b]11;rgb:aaaa/bbbb/cccc\x07": [],
    b"\x1b]11;rgb:aaaa/bbbb/cccc\x1b\\": [],
    b"\x1bP1$r0m\x1b\\": [],
    # A key of this terminal that no other has.
    b"\x1bOt": ["F5"],
}


def typed(*parts: tuple[float, bytes]) -> list[Event]:
    """The events of these bytes, each a time after those before, as the view reads them."""
    decoder, now_s, events = Decoder(sequences={"\x1bOt": "F5"}), 0.0, list[Event]()
    for gap_s, data in (*parts, (10.0, b"")):
        end_s = now_s + gap_s
        while (due_s := decoder.due_s()) is not None and due_s <= end_s:
            events += decoder.expire(due_s)
        now_s = end_s
        events += decoder.feed(data, now_s)
    return events


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_sequence_split_at_every_byte_runs_no_key_of_its_bytes(sequence: bytes) -> None:
    whole = SEQUENCES[sequence]
    assert typed((0, sequence), (1, b"j")) == [*whole, "j"]
    for at in range(1, len(sequence)):
        for gap_s in (0.02, 0.06):
            events = typed((0, sequence[:at]), (gap_s, sequence[at:]), (1, b"j"))
            # After 60 ms Escape has been a key, and the rest is none.
            is_late = at == 1 and gap_s > ESCAPE_S and sequence[1] in b"[O]"
            if is_late:
                # A paste stays one.
                assert events == ["Esc", *(key for key in whole if isinstance(key, Paste)), "j"]
            elif at > 1 or gap_s < ESCAPE_S:
                assert events == [*whole, "j"]


@pytest.mark.parametrize("sequence", [key for key in SEQUENCES if key[1] in b"[O]"])
def test_every_byte_alone_runs_no_key(sequence: bytes) -> None:
    for gap_s in (0.02, 0.06, 0.2):
        parts = [(gap_s, sequence[at : at + 1]) for at in range(len(sequence))]
        events = typed(*parts, (1, b"j"))
        allowed = {"Esc", "j", *(event for event in SEQUENCES[sequence])}
        assert set(events) <= allowed
        assert events[-1] == "j"


def test_escape_is_a_key_after_a_while() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"\x1b", 1.0)) == []
    assert decoder.due_s() == 1.0 + ESCAPE_S
    assert list(decoder.expire(1.0 + ESCAPE_S / 2)) == []
    assert list(decoder.expire(1.0 + ESCAPE_S)) == ["Esc"]
    assert decoder.due_s() is None


def test_escape_waits_as_long_as_the_user_says() -> None:
    decoder = Decoder(escape_s=0.4)
    assert list(decoder.feed(b"\x1b", 0.0)) == []
    assert decoder.due_s() == 0.4


def test_a_late_sequence_is_none_half_a_second_after_escape() -> None:
    late_s = ESCAPE_S + SEQUENCE_S
    assert typed((0, b"\x1b"), (late_s - 0.01, b"[A"), (1, b"j")) == ["Esc", "j"]
    assert typed((0, b"\x1b"), (late_s + 0.01, b"[A"), (1, b"j")) == ["Esc", "[", "A", "j"]
    # Another key in between ends it.
    assert typed((0, b"\x1b"), (0.1, b"j"), (0.1, b"[")) == ["Esc", "j", "["]


def test_what_stands_still_is_discarded() -> None:
    assert typed((0, b"\x1b[1;"), (SEQUENCE_S + 0.1, b"j")) == ["j"]
    assert typed((0, b"\x1b["), (0.1, b"\r"), (0.1, b"j")) == ["Enter", "j"]
    assert typed((0, b"\x1b[1"), (0.1, b"\x1b[A")) == ["Up"]
    assert typed((0, b"\x1b[" + b"9" * 10_000 + b"~j")) == ["j"]


def test_escape_twice_and_with_a_character() -> None:
    assert typed((0, b"\x1b\x1b")) == ["Esc", "Esc"]
    assert typed((0, b"\x1b\x1b[A")) == ["Esc", "Up"]
    assert typed((0, b"\x1bf")) == ["Alt-f"]
    assert typed((0, b"\x1b\x7f")) == ["Alt-Backspace"]
    assert typed((0, b"\x1b"), (0.06, b"f")) == ["Esc", "f"]


def test_pasted_text_is_never_keys() -> None:
    begin, end = b"\x1b[200~", b"\x1b[201~"
    text = b"q\x1b[A\rq\x03"
    assert typed((0, begin + text + end + b"j")) == [Paste(text.decode()), "j"]
    # Without its end it ends when nothing comes any more.
    assert typed((0, begin + b"qq"), (5, b"j")) == [Paste("qq"), "j"]
    long = begin + b"q" * (2 * PASTE_LENGTH) + end
    pasted, key = typed((0, long + b"j"))
    assert isinstance(pasted, Paste)
    assert len(pasted.text) <= PASTE_LENGTH
    assert set(pasted.text) == {"q"}
    assert key == "j"


def test_characters() -> None:
    assert typed((0, "aé☃".encode())) == ["a", "é", "☃"]
    assert typed((0, b"\xe2\x98"), (0.3, b"\x83")) == ["☃"]
    assert typed((0, b"\xe9q")) == ["\udce9", "q"]
    assert typed((0, b"\x01\x0c\r\n\t\x08\x00")) == [
        *("Ctrl-A", "Ctrl-L", "Enter", "Enter", "Tab", "Backspace", "Ctrl-Space"),
    ]


@given(st.lists(st.tuples(st.floats(0, 3), st.binary(max_size=12)), max_size=12))
def test_any_bytes_at_any_time_end_and_leave_the_keys_usable(
    parts: list[tuple[float, bytes]],
) -> None:
    events = typed(*parts, (10, b"j"))
    assert events[-1:] == ["j"]
