"""Files of a comparison of methods: complete, well-formed, honest about what is missing, nothing from outside."""

import json
from dataclasses import fields, replace

import pytest
from made_up_runs import comparison
from matplotlib.colors import to_hex
from rich.console import Console
from web_pages import read_page

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.pages.style import LIGHT
from nestevo_hw.pages.tables import show
from nestevo_hw.studies.compare.document import document_of
from nestevo_hw.studies.compare.output import write_comparison
from nestevo_hw.studies.compare.plots import ROLES, draw_methods
from nestevo_hw.studies.compare.results import is_embedded, read_comparison
from nestevo_hw.studies.compare.table import accuracy_table, console_tables
from nestevo_hw.studies.compare.variants import METHODS
from nestevo_hw.studies.compare.wording import conclusion


def _page(folder):
    return read_page(folder / "comparison.html").text


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return comparison(tmp_path_factory.mktemp("runs"), left_out={"with-compression": "refused: <nothing> & nobody"})


def test_all_files_are_written(full, tmp_path):
    names = write_comparison(full, tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "comparison.json").read_text()) == document_of(full)
    text = _page(tmp_path)
    for expected in (
        "10 ways to keep 3 terminals accurate", "What each part is worth", "refused: <nothing> & nobody", "Goals",
        "0.566, +42.6 %", "self-training: each terminal", "Fieller", "simulated pcm",
        "70 a terminal and window",
    ):  # fmt: skip
        assert expected in text, expected
    assert (tmp_path / "comparison.html").read_text().count("<svg") == 5
    assert text.index("Goals") > text.index("How it was compared")


def test_every_method_has_a_place_and_a_colour_of_its_own(tmp_path):
    names = [variant.name for variant in METHODS]
    found = comparison(tmp_path, names, seeds=1, value=lambda *_: (0.3, 0.5))
    assert write_comparison(found, tmp_path / "out")
    text = _page(tmp_path / "out")
    assert [name for name in names if f"{name}: " not in text] == []
    assert len({ROLES[name] for name in names}) == len(names)
    assert not set(ROLES.values()) - {field.name for field in fields(LIGHT)}


@pytest.mark.parametrize(
    ("names", "seeds", "pictures"),
    [(["NestEvo", "A4"], 1, 3), (["A3"], 2, 1), (["NestEvo", "A4", "true-labels"], 1, 4), (["A4", "A1"], 3, 2)],
)
def test_a_comparison_of_few_is_well_formed(tmp_path, names, seeds, pictures):
    found = comparison(tmp_path / "runs", names, seeds)
    write_comparison(found, tmp_path / "out")
    text = _page(tmp_path / "out")
    assert "nan" not in text.lower().replace("nano", "")
    assert (tmp_path / "out" / "comparison.html").read_text().count("<svg") == pictures
    assert "not measured" in text


def test_goals_and_the_papers_figures_stand_beside_the_embedded_default_only(full, tmp_path):
    write_comparison(replace(full, embedded=False), tmp_path)
    text = _page(tmp_path)
    for words in ("Goals", "0.566", "Table 4"):
        assert words not in text
    assert not any("paper" in table.heads for table in console_tables(replace(full, embedded=False)))
    default = load_preset("quick")
    assert is_embedded(default.document())
    assert not is_embedded(override(default, {"window.count": 1}).document())
    assert not is_embedded({})


def test_one_seed_is_said_to_have_no_interval(full, tmp_path):
    write_comparison(comparison(tmp_path / "runs", ["NestEvo", "A4"], 1), tmp_path / "one")
    write_comparison(full, tmp_path / "five")
    words = "no figure here has an interval"
    assert (words in _page(tmp_path / "one"), words in _page(tmp_path / "five")) == (True, False)


def test_where_models_got_worse_the_line_of_before_is_seen(tmp_path):
    def worse(*_):
        return 0.6, 0.4

    figure = draw_methods(comparison(tmp_path, ["A4"], 2, value=worse), LIGHT)
    lines = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0.6, 0.6]]
    assert [to_hex(line.get_color()) for line in lines] == [LIGHT.ink]


def test_the_table_shows_the_papers_figures_beside_ours(full):
    table = accuracy_table(full, full.variants)
    rows = {row[0]: dict(zip(table.heads, row, strict=True)) for row in table.rows}
    document = {m["name"]: m for m in document_of(full)["methods"]}
    assert rows["NestEvo"]["paper"] == "0.566, +42.6 %"
    assert rows["A3"]["paper"] == "0.398"
    assert rows["true-labels"]["paper"] == "\N{EN DASH}"
    assert rows["A4"]["campus"] == f"{document['A4']['by_terminal']['campus']['after']:.3f}"
    low, high = document["NestEvo"]["terminals"]["ci95"]
    assert rows["NestEvo"]["mean after"] == f"{(low + high) / 2:.3f} ±{(high - low) / 2:.3f}"


def test_tables_fit_a_terminal_of_a_hundred_columns(full):
    tables = console_tables(full)
    console = Console(width=100)
    assert [console.measure(table).maximum <= 100 for table in tables[:-1]] == [True] * 4
    assert [len(table.rows) for table in tables] == [10, 10, 10, 4, 12]


def test_what_failed_is_said(tmp_path):
    found = comparison(tmp_path / "runs", ["NestEvo", "A4"], 2)
    assert found.failures == {}
    event = {"event": "failure", "window": 1, "kind": "distil", "terminal": "campus", "reason": "out of <memory>"}
    with (tmp_path / "runs" / "A4-1" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    folders = {(name, seed): tmp_path / "runs" / f"{name}-{seed}" for name in ("NestEvo", "A4") for seed in (0, 1)}
    found = read_comparison(folders, found.variants, {})
    assert document_of(found)["failures"] == {"A4, seed 1": ["window 1, distil campus: out of <memory>"]}
    write_comparison(found, tmp_path / "out")
    assert "out of <memory>" in _page(tmp_path / "out")


def test_one_seed_claims_no_interval(tmp_path):
    found = comparison(tmp_path, ["NestEvo", "A4", "true-labels"], 1)
    document = document_of(found)
    assert all(m["terminals"]["ci95"] is None for m in document["methods"])
    assert "by one seed" in conclusion(found)


def test_what_seeds_cannot_tell_apart_is_said(tmp_path):
    def value(name, seed, _terminal, _window):
        return 0.3, 0.5 + (0.05 * (-1) ** seed if name == "NestEvo" else 0.0) + 0.01 * seed

    found = comparison(tmp_path, ["NestEvo", "A4"], 4, value=value)
    assert "4 seeds cannot tell them apart" in conclusion(found)


def test_a_comparison_says_what_its_runs_recorded(tmp_path, full):
    write_comparison(full, tmp_path / "analog")
    text = _page(tmp_path / "analog")
    assert "teacher on a simulated pcm crossbar" in text
    assert "training measured; labelling partly modelled" in text
    assert "lost by the analog teacher" in text
    config = {
        "terminals": [{"name": "<till>", "model": "digits-cnn-m1"}],
        "window": {"count": 1},
        "teacher": {"analog": "digital"},
    }
    found = comparison(tmp_path / "runs", ["NestEvo", "A4", "A2"], 2, config=config, metric=("accuracy", "mean recall"))
    write_comparison(found, tmp_path / "digits")
    text = _page(tmp_path / "digits")
    assert "2 ways" not in text
    assert "3 ways to keep 1 terminal accurate" in text
    for words in ("digital teacher", "labelling and training measured", "<till>", "steps not recorded"):
        assert words in text
    for words in ("mAP", "paper", "simulated", "crossbar", "0.505", "the analog teacher, "):
        assert words not in text.replace("accuracy lost by the analog teacher", ""), words


def test_thirty_terminals_and_none_that_could_be_scored(tmp_path):
    terminals = [{"name": f"camera {i}", "model": "m"} for i in range(30)]
    config = {"terminals": terminals, "window": {"count": 1}, "teacher": {"analog": "pcm"}}
    many = comparison(tmp_path / "many", ["NestEvo", "A4"], 2, config=config)
    assert len(accuracy_table(many, many.variants).heads) == 38
    assert len(console_tables(many)[0].heads) == 6  # no A3 and no AdaBN to stand over
    blind = comparison(tmp_path / "blind", ["NestEvo", "A4"], 2, value=lambda *_: (None, None))
    write_comparison(blind, tmp_path / "out")
    text = _page(tmp_path / "out")
    assert "accuracy is unknown" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    "names", [["without-noise-training"], ["digital-teacher", "without-mutual-learning"], ["NestEvo"], ["A3"]]
)
def test_any_variants_alone_are_shown(tmp_path, capsys, names):
    found = comparison(tmp_path / "runs", names, seeds=2)
    show(*console_tables(found), *conclusion(found))
    assert names[0] in capsys.readouterr().out
    write_comparison(found, tmp_path)
    assert names[0] in read_page(tmp_path / "comparison.html").text
