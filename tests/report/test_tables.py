import io

from rich.console import Console

from nestevo_hw.report.events import read_run
from nestevo_hw.report.summary import summarise
from nestevo_hw.report.tables import summary_table


def text_of(document):
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_table(document))
    return console.file.getvalue()


def test_every_terminal_and_the_teacher_have_a_row(run_dir):
    text = text_of(summarise(read_run(run_dir)))
    for name in ("campus-a", "village-a", "downtown-a", "terminals, mean", "teacher"):
        assert name in text
    assert "+30.8 %" in text


def test_an_empty_summary_is_a_table_of_dashes():
    assert "\N{EN DASH}" in text_of({})
