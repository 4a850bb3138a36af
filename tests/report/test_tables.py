import io

from fake_runs import fake_run, kinds_of
from rich.console import Console

from nestevo_hw.report.events import read_run
from nestevo_hw.report.summary import summarise
from nestevo_hw.report.tables import prediction_table, summary_table


def text_of(document):
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_table(document))
    return " ".join(console.file.getvalue().split())


def test_every_terminal_and_the_teacher_have_a_row(run_dir):
    text = text_of(summarise(read_run(run_dir)))
    for name in ("campus-a", "village-a", "downtown-a", "terminals, mean", "teacher"):
        assert name in text
    assert "+30.8 %" in text


def test_a_run_without_labels_has_no_metric_for_its_title(run_dir):
    path = run_dir / "metrics.jsonl"
    lines = [line for line in path.read_text().splitlines() if '"accuracy"' not in line]
    path.write_text("\n".join(lines) + "\n")
    text = text_of(summarise(read_run(run_dir)))
    assert text.startswith("what terminals were given; there is nothing to score them by")
    assert "mAP" not in text.split("terminal")[0]


def test_the_delay_says_where_it_comes_from(tmp_path):
    analog = text_of(summarise(read_run(fake_run(tmp_path / "analog", pictures=False))))
    digital = text_of(summarise(read_run(fake_run(tmp_path / "digital", pictures=False, analog="digital"))))
    assert "communication, labelling and programming modelled" in analog
    assert "labelling, waiting and training measured; communication modelled" in digital


def test_names_are_no_markup(run_dir):
    path = run_dir / "metrics.jsonl"
    path.write_text(path.read_text().replace("campus-a", "[red]a[/red]"))
    header = run_dir / "run.json"
    header.write_text(header.read_text().replace("campus-a", "[red]a[/red]"))
    assert "[red]a[/red]" in text_of(summarise(read_run(run_dir)))


def test_predictions_are_told_by_kind_not_by_name(run_dir):
    kinds = kinds_of("pcm")
    shown = {row[0] for row in prediction_table(read_run(run_dir)).rows}
    assert shown == {kinds[kind]["wording"] for kind in ("label", "mutual", "distil", "export", "evaluate")}


def test_an_empty_summary_is_a_table_of_dashes():
    assert "\N{EN DASH}" in text_of({})
