"""The pool of evaluated paths: what is best of it, on slower devices and after drift."""

import pytest
from elastic_spaces import space_of, times_of

from nestevo_hw.base.documents import json_text, parse_json, plain
from nestevo_hw.terminals.elastic.pool import Candidate, Pool, after_drift
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated

SPACE = space_of(4)
TIMES = times_of(SPACE)
ACCURACY = {path: (number * 7919 % 1000) / 1000 for number, path in enumerate(SPACE.paths())}
POOL = Pool.of([Evaluated(path, accuracy, 1.0) for path, accuracy in ACCURACY.items()], TIMES)


@pytest.mark.parametrize("rho", [1.0, 1.2])
def test_the_best_that_fits_is_that_of_all(rho):
    budget = 0.9 * TIMES.time(SPACE.base)
    fitting = [path for path in ACCURACY if rho * TIMES.time(path) <= budget]
    assert POOL.best(budget, rho).path == max(fitting, key=ACCURACY.get)


def test_nothing_fits_where_even_the_fastest_does_not():
    fastest = min(ACCURACY, key=TIMES.time)
    assert POOL.fastest.path == fastest
    assert POOL.best(0.99 * TIMES.time(fastest)) is None


def test_each_level_has_its_best():
    levels = {}
    for path in ACCURACY:
        levels.setdefault(int(TIMES.time(path) / 1e-3), []).append(path)
    best = {max(paths, key=ACCURACY.get) for paths in levels.values()}
    found = POOL.best_of_levels(1e-3)
    assert {one.path for one in found} == best
    assert len(found) == len(levels) > 3


def test_after_drift_the_best_are_scored_again_and_another_may_win():
    budget = 0.9 * TIMES.time(SPACE.base)
    order = sorted((p for p in ACCURACY if TIMES.time(p) <= budget), key=ACCURACY.get, reverse=True)
    asked = []

    def measure(paths):
        asked.extend(paths)
        return [1 - ACCURACY[path] for path in paths]  # what was best is worst

    renewed = after_drift(POOL, measure, budget, best=5)
    assert set(order[:5]) <= set(asked)
    assert len(asked) == len(set(asked)) < 5 + 12
    assert {one.path for one in renewed.candidates} == set(asked)
    assert renewed.best(budget).path == min((p for p in asked if TIMES.time(p) <= budget), key=ACCURACY.get)
    with pytest.raises(ValueError, match="not in the pool"):
        renewed.measured_again([next(path for path in ACCURACY if path not in asked)], measure)


def test_a_pool_comes_back_from_a_file_and_an_impossible_one_cannot_be_made():
    assert parse_json(json_text(plain(POOL)), Pool, "x") == POOL
    one = Candidate(SPACE.base, 1.0, 0.5)
    for wrong in ((), (one, one)):
        with pytest.raises(ValueError, match="path"):
            Pool(wrong)
