from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.text import LONGEST_LINE, one_line, visible


def test_control_characters_are_written_out():
    assert visible("a\x1b[2J\n\x07\u202eb") == "a\\x1b[2J\\n\\x07\\u202eb"
    assert visible("a\n\tb\x00", lines=True) == "a\n\tb\\x00"


def test_what_people_write_stays():
    assert visible("Zürich, 東京, [red]$x$ - 5\u00a0s") == "Zürich, 東京, [red]$x$ - 5\u00a0s"


def test_a_long_line_keeps_its_beginning_and_its_end():
    told = one_line("begin " + "x" * 1_000_000 + "\n end")
    assert told.startswith("begin x")
    assert told.endswith("x end")
    assert len(told) <= LONGEST_LINE


@given(st.text())
def test_any_text_becomes_one_line_that_can_be_written(text):
    told = one_line(text)
    assert len(told.splitlines()) <= 1
    assert told.isascii() or told.encode()
    assert "\x1b" not in told
