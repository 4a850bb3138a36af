"""The latency model: medians by turns, the fitted line and its errors, against figures known beforehand."""

import random
from itertools import pairwise

import pytest
from elastic_spaces import space_of, times_of

from nestevo_hw.base.documents import json_text, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.terminals.elastic.latency import FITTED_ON, LatencyModel, PathTime, errors, fit, measure, spread

SPACE = space_of(6)
TABLE = {entry.branch: entry.seconds for entry in times_of(SPACE).table}


def whole(indices, offset, scale, noise=0.0, seed=1):
    generator = random.Random(seed)
    paths = [SPACE.path_at(index) for index in indices]
    return [PathTime(p, (offset + scale * sum(TABLE[b] for b in p)) * (1 + generator.gauss(0, noise))) for p in paths]


def drawn(count, seed):
    return random.Random(seed).sample(range(SPACE.count), count)


def test_the_line_is_found_again():
    model = fit(TABLE, whole(drawn(FITTED_ON, 0), 0.002, 1.07))
    assert (model.offset_s, model.scale) == pytest.approx((0.002, 1.07))
    assert model.time(SPACE.base) == pytest.approx(0.002 + 1.07 * sum(TABLE[b] for b in SPACE.base))
    assert sum(map(model.of, SPACE.base)) == pytest.approx(model.time(SPACE.base) - 0.002)
    assert model.rescaled(1.5).time(SPACE.base) == pytest.approx(1.5 * model.time(SPACE.base))


def test_errors_on_other_paths_are_those_of_the_noise():
    model = fit(TABLE, whole(drawn(FITTED_ON, 0), 0.002, 1.07))
    found = errors(model, whole(drawn(200, 2), 0.002, 1.07, noise=0.02))
    assert found.paths == 200
    # |N(0, 0.02)|: median 0.0135, 95 % 0.0392; the standard errors of these quantiles from 200 are 0.0011 and 0.0031.
    assert found.p50 == pytest.approx(0.0135, abs=0.004)
    assert found.p95 == pytest.approx(0.0392, abs=0.011)
    assert found.worst >= found.p95


def test_no_negative_offset_is_fitted():
    model = fit(TABLE, whole(drawn(FITTED_ON, 0), -0.002, 1.0))
    assert model.offset_s == 0.0
    assert 0.7 < model.scale < 1.0


def test_paths_to_fit_on_are_spread_over_all_sums():
    paths = spread(SPACE, TABLE, FITTED_ON, random.Random(0))
    assert paths[0] == SPACE.base
    assert len(set(paths)) == FITTED_ON
    sums = sorted(sum(TABLE[b] for b in path) for path in paths)
    everything = sorted(sum(TABLE[b] for b in path) for path in SPACE.paths())
    reach = everything[-1] - everything[0]
    assert sums[-1] - sums[0] > 0.7 * reach
    assert max(b - a for a, b in pairwise(sums)) < 0.25 * reach
    small = space_of(1, rates=(0.5,))
    assert len(spread(small, dict.fromkeys(small.branches, 1.0), FITTED_ON, random.Random(0))) == small.count == 2


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="different sizes"):
        fit(TABLE, whole([5, 5], 0, 1))
    with pytest.raises(InputError, match="no longer"):
        fit(TABLE, whole(drawn(FITTED_ON, 0), 0.030, -1.0))


def test_runs_take_turns_and_the_first_ones_do_not_count():
    now, order = [0.0], []

    def run(name, times):
        def go():
            order.append(name)
            now[0] += times.pop(0)

        return go

    runs = {"a": run("a", [9.0, 1.0, 2.0, 9.0]), "b": run("b", [9.0, 4.0, 3.0, 4.0])}
    assert measure(runs, rounds=3, warm_up=1, clock=lambda: now[0]) == {"a": 2.0, "b": 4.0}
    assert order == ["a", "b"] * 4


def test_a_model_comes_back_from_a_file_and_a_lacking_table_is_named():
    model = fit(TABLE, whole(drawn(FITTED_ON, 0), 0.002, 1.07))
    assert parse_json(json_text(plain(model)), LatencyModel, "x") == model
    model.require(SPACE, "table.json")
    with pytest.raises(InputError, match=r"table.json: no time of branch 5@0.5"):
        LatencyModel(model.table[:-1]).require(SPACE, "table.json")
    with pytest.raises(InputError, match="two times"):
        parse_json(json_text({"table": plain(model.table + model.table)}), LatencyModel, "x")
    with pytest.raises(InputError, match=r"table\[0\].seconds: .*above 0"):
        parse_json('{"table": [{"branch": {"start": 0}, "seconds": 0}]}', LatencyModel, "x")
