from importlib import resources

import pytest
from jinja2 import UndefinedError
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from web_pages import WebPage

from nestevo_hw.pages.parts import origin_of
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import (
    LIGHT,
    THEMED,
    Mark,
    compare_on_logarithms,
    inline_svg,
    legend,
    new_figure,
    save_png,
)
from nestevo_hw.pages.tables import Table

ODD = "<b>&'\"x</b> {{ 7 * 7 }} $a$"


def values(**others):
    return {
        "metric": "map50",
        "marks": [],
        "panels": {},
        "differences": [],
        "figures": Table(heads=("a",), rows=[]),
        **others,
    }


def figure(text):
    drawn = new_figure(3, 2, LIGHT)
    drawn.subplots().set_title(text)
    return drawn


def test_texts_are_shown_as_they_are():
    shown = values(
        marks=[Mark(text=ODD, colour="before")],
        panels={ODD: inline_svg(figure(ODD))},
        figures=Table(heads=(ODD,), rows=[(ODD,)], note=ODD),
    )
    html = render("noise_comparison.html", shown)
    assert "<b>&" not in html
    page = WebPage(html)
    assert page.text.count(ODD) == 6  # key, picture, its caption, head, cell, note
    assert "49" not in page.text


def test_a_template_names_nothing_that_it_is_not_given():
    with pytest.raises(UndefinedError, match="panels"):
        render("noise_comparison.html", {k: v for k, v in values().items() if k != "panels"})


def test_a_page_explains_the_labels_on_it_and_no_others():
    page = WebPage(render("noise_comparison.html", values()))
    assert set(page.labels) == {"simulated"}
    assert "noise models of published chips" in page.text
    assert "stated formula" not in page.text


def test_templates_travel_with_the_package():
    templates = {entry.name for entry in (resources.files("nestevo_hw.pages") / "templates").iterdir()}
    assert {"shell.html", "parts.html", "run.html", "comparison.html", "noise.html", "profile.html"} <= templates


@pytest.mark.parametrize("name", ["a$b$c", "$\\frac$", "cost $5"])
def test_names_in_pictures_are_no_formulas(tmp_path, name):
    drawn = figure(name)
    drawn.axes[0].set_xticks([0, 1], [name, "x"])
    legend(drawn, [Mark(text=name, colour="before")], LIGHT, columns=1)
    save_png(drawn, tmp_path / "x.png")
    assert inline_svg(drawn).count(name) == 3


def test_origins_are_put_together():
    assert origin_of(["measured", "measured"]) == "measured"
    assert origin_of(["measured", "modelled"]) == "partly modelled"
    assert origin_of([]) == origin_of(["measured", ""]) == origin_of(["guessed"]) == ""


def test_a_figure_grows_for_its_key_and_has_none_on_a_page():
    marks = [
        Mark(text=f"{i}", colour="before", shape=shape) for i, shape in enumerate(("bar", "dot", "ring", "dashed"))
    ]
    drawn, themed = Figure(), Figure()
    height_in = drawn.get_figheight()
    legend(drawn, [], LIGHT, columns=3)
    assert (drawn.legends, drawn.get_figheight()) == ([], height_in)
    legend(drawn, marks, LIGHT, columns=3, title="title")
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["0", "1", "2", "3"]
    assert drawn.get_figheight() == pytest.approx(height_in + 0.6)
    legend(themed, marks, THEMED, columns=3)
    assert not themed.legends


@pytest.mark.parametrize(("width_in", "rows"), [(12.0, 1), (3.5, 3), (0.8, 3)])
def test_a_key_has_as_many_columns_as_its_figure_is_wide(width_in, rows):
    names = ("digital, no noise", "the device as it is, right after programming", "night")
    drawn = new_figure(width_in, 2.0, LIGHT)
    drawn.subplots()
    legend(drawn, [Mark(text=name, colour="before") for name in names], LIGHT, columns=6, title="a model of one's own")
    assert len(drawn.legends) == 1
    assert drawn.get_figheight() == pytest.approx(2.0 + 0.2 * (1 + rows))
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    box = drawn.legends[0].get_window_extent()
    assert 0.0 <= box.x0 < box.x1 <= drawn.get_figwidth() * drawn.dpi
    assert drawn.get_figwidth() == width_in or rows == 3


def test_predictions_stand_beside_a_band():
    axes = new_figure(3, 3, LIGHT).subplots()
    compare_on_logarithms(axes, (1.0, 100.0), LIGHT, band=(0.5, 2.0))
    assert axes.get_xlim() == axes.get_ylim() == (1.0, 100.0)
    x, y = axes.collections[0].get_paths()[0].vertices.T
    assert {round(b / a, 6) for a, b in zip(x, y, strict=True)} == {0.5, 2.0}
