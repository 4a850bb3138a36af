"""The catalogue of the paper's tables and figures: complete, in order, each with what runs for it."""

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.pages.parts import ORIGINS
from nestevo_hw.studies.reproduce.averaging import EXPERIMENTS, HETEROGENEOUS
from nestevo_hw.studies.reproduce.effort import FULL, QUICK
from nestevo_hw.studies.reproduce.items import chosen, items
from nestevo_hw.studies.reproduce.study import ALONE, COMPARED

ORDER = [
    "figure-8", "table-2", "figure-9", "figure-10", "table-3", "table-4", "figure-11", "figure-12", "figure-13",
    "table-5", "figure-14", "figure-15", "table-6",
]  # fmt: skip


@pytest.mark.parametrize("effort", [FULL, QUICK], ids=["full", "quick"])
def test_every_table_and_figure_is_there_in_the_papers_order(effort):
    assert [item.name for item in items(effort)] == ORDER
    assert sorted(int(name[6:]) for name in ORDER if name.startswith("table")) == [2, 3, 4, 5, 6]
    assert sorted(int(name[7:]) for name in ORDER if name.startswith("figure")) == list(range(8, 16))


@pytest.mark.parametrize("item", items(FULL), ids=lambda item: item.name)
def test_an_item_says_where_its_figures_come_from(item):
    assert item.origin in ORIGINS
    assert item.rows
    assert item.says
    assert item.how
    assert set(item.experiments()) <= {*ALONE, *COMPARED}
    names = [row.name for row in item.rows]
    assert len(set(names)) == len(names)


def test_names_are_taken_in_any_order_and_all_stands_for_all():
    assert [item.name for item in chosen(["table-6", "figure-8", "table-6"], QUICK)] == ["figure-8", "table-6"]
    assert [item.name for item in chosen(["all", "table-6"], QUICK)] == ORDER


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"the paper has no table-1 to reproduce; choose from figure-8, .* or all"):
        chosen(["table-1", "table-6"], QUICK)


def test_the_papers_figures_are_those_it_prints():
    found = {item.name: {row.name: row.paper for row in item.rows} for item in items(FULL)}
    assert found["table-4"]["NestEvo, gain over A3"] == 0.426
    assert found["table-4"]["A2, mean"] == pytest.approx(0.4933, abs=1e-4)  # printed as 0.505
    assert found["table-3"]["M1 at t3, lost, mAP@0.75"] == 0.295
    # Section 7.3.1 prints these shares beside the seconds and megabytes of which they are.
    shares = [found["table-5"][f"batch of {batch}, change"] for batch in (1, 2, 3)]
    assert shares == pytest.approx([-0.2914, -0.3100, -0.3049], abs=5e-5)
    memory = [found["figure-13"][f"batch of {batch}, change"] for batch in (1, 3)]
    assert memory == pytest.approx([-0.0484, -0.1232], abs=5e-5)


def test_table_3_repeats_experiments_of_table_2():
    for model, number in HETEROGENEOUS.items():
        assert [pair[0] for pair in EXPERIMENTS[number]] == [model] * 3
