import io

import pytest
from rich.console import Console

from nestevo_hw.pages.formats import DASH
from nestevo_hw.pages.parts import Pill
from nestevo_hw.pages.tables import Table, show


def lines_of(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_figures_stand_to_the_right_and_words_to_the_left():
    table = Table(heads=("name", "score", "gain"), rows=[("a", "0.1", DASH), ("bcd", "10.25", "+1.0 %")])
    head, _, first, second = lines_of(table)
    assert first.index("0.1") + 3 == second.index("10.25") + 5 == head.index("score") + 5
    assert first.index("a") == second.index("bcd")


def test_nothing_in_a_table_is_markup():
    table = Table(heads=("[b]head[/b]",), rows=[("[red]x[/red]",), (Pill(text="[1]", tone="good"),)],
                  title="[i]title", note=":smile: [/]")  # fmt: skip
    text = "\n".join(lines_of(table))
    for part in ("[b]head[/b]", "[red]x[/red]", "[1]", "[i]title", ":smile: [/]"):
        assert part in text


def test_columns_without_any_word_are_left_out():
    table = Table(heads=("a", "b", "c"), rows=[("1", DASH, ""), ("2", "", "x")], marked=frozenset({1}))
    assert table.filled().heads == ("a", "c")
    assert table.filled().rows == [("1", ""), ("2", "x")]
    assert table.filled().marked == {1}


def test_tables_of_the_same_things_stand_beside_one_another():
    left, right = Table(heads=("a", "b"), rows=[("x", "1")]), Table(heads=("a", "c"), rows=[("x", "2")])
    assert (left.beside(right).heads, left.beside(right).rows) == (("a", "b", "c"), [("x", "1", "2")])


@pytest.mark.parametrize("rows", [[], [("only", "0.1")], [(f"terminal {i}", f"{i / 30:.3f}") for i in range(30)]])
def test_tables_of_any_length(rows):
    shown = lines_of(Table(heads=("terminal", "score"), rows=rows, title="title", note="note"))
    assert len(shown) == len(rows) + 4


def test_long_names_are_broken_rather_than_cut():
    name = "backbone." * 12
    shown = "".join(lines_of(Table(heads=("layer", "x"), rows=[(name, "1")]), 40)[2:])
    assert "".join(shown.replace("1", "").split()) == name


def test_lines_are_printed_as_they_are(capsys):
    long = "[bold] " + "word " * 60
    show(Table(heads=("a",), rows=[("x",)]), long)
    assert long.strip() in capsys.readouterr().out


def test_markup_and_control_characters_are_shown(capsys):
    show(Table(heads=("[b]",), rows=[("[/red]x\x1b[2J\n$a$",)], title="\x07t"), "line\x1b]0;x\x07")
    shown = capsys.readouterr().out
    assert "[/red]x\\x1b[2J\\n$a$" in shown
    assert "[b]" in shown
    assert "\\x07t" in shown
    assert "line\\x1b]0;x\\x07" in shown
    assert "\x1b" not in shown
