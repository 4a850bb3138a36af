"""Searching for a path under a budget, against enumeration of small spaces."""

import random
from itertools import pairwise

import pytest
from elastic_spaces import space_of, times_of

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.models.elastic.space import Branch, PathSpace, all_branches
from nestevo_hw.terminals.elastic.latency import LatencyModel
from nestevo_hw.terminals.elastic.search.additive import ADDITIVE, REFINED, by_predicted_loss
from nestevo_hw.terminals.elastic.search.baselines import Annealing, exhaustive, random_paths, uniform_pruning
from nestevo_hw.terminals.elastic.search.edits import crossed, nearby_mutate, through
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Evaluations
from nestevo_hw.terminals.elastic.search.evolution import ARTIFACT, NEARBY, PLAIN, artifact_mutate
from nestevo_hw.terminals.elastic.search.problem import Problem
from nestevo_hw.terminals.elastic.search.run import Limits, search

SPACE = space_of(7, taps=(2,))
TIMES = times_of(SPACE)
PROBLEM = Problem(SPACE, TIMES, 0.75 * TIMES.time(SPACE.base))
FITTING = [path for path in SPACE.paths() if TIMES.time(path) <= PROBLEM.budget_s]
_GENERATOR = random.Random(2)
LOSSES = {b: 0.0 if b.original else _GENERATOR.uniform(0.0, 0.05) for b in SPACE.branches}
STRATEGIES = {
    "random": random_paths, "nearby": NEARBY, "artifact": ARTIFACT, "plain": PLAIN, "annealing": Annealing(),
    "additive": ADDITIVE, "refined": REFINED, "uniform": uniform_pruning,
}  # fmt: skip


def lost(path):
    return sum(LOSSES[branch] for branch in path)


def additive(paths):
    return [0.8 - lost(path) for path in paths]


def crossing(paths):
    """Losses that do not add up: neighbours that are both changed lose half as much again."""
    return [
        0.8 - lost(path) - 0.5 * sum(min(LOSSES[a], LOSSES[b]) for a, b in pairwise(path)) for path in paths
    ]  # fmt: skip


def test_the_fastest_path_is_that_of_enumeration_and_less_is_refused():
    fastest = min(SPACE.paths(), key=TIMES.time)
    assert PROBLEM.fastest == fastest
    with pytest.raises(ConfigError, match="no path takes as little as"):
        Problem(SPACE, TIMES, 0.99 * TIMES.time(fastest))
    with pytest.raises(ConfigError, match="latency budget, s: need a number above 0"):
        Problem(SPACE, TIMES, float("nan"))
    with pytest.raises(InputError, match="latency table: no time of branch"):
        Problem(SPACE, LatencyModel(TIMES.table[1:]), 1.0)


def test_what_does_not_fit_scores_below_all_that_does():
    slow = SPACE.base
    assert PROBLEM.score(PROBLEM.fastest, 0.0) == 0.0 > PROBLEM.score(slow, 1.0)


def test_a_path_is_led_through_any_branch():
    generator = random.Random(0)
    for path in (SPACE.sample(generator) for _ in range(50)):
        for branch in SPACE.branches:
            changed = through(path, branch)
            assert SPACE.holds(changed)
            assert branch in changed
            kept = {b for b in path if b.end <= branch.start or b.start >= branch.end}
            assert all(b in kept or b == branch or b.original for b in changed)
            assert kept <= set(changed)


def nearest_of_each_edit(path):
    """What NearbyMutate may come to, written out: every edit with its best compensation."""
    results = set()
    for edit in set(SPACE.branches) - set(path):
        edited = through(path, edit)
        new = set(edited) - set(path)
        touched = set().union(*(range(b.start, b.end) for b in new))
        blocks = range(min(touched), max(touched) + 1)
        options = [edited]
        for other in SPACE.branches:
            both = through(edited, other)
            if not set(blocks) & set(range(other.start, other.end)):
                options.append(both)
        results.add(min(options, key=lambda one: abs(TIMES.time(one) - TIMES.time(path))))
    return {one for one in results if PROBLEM.window.holds(one)}


def test_a_nearby_mutation_takes_back_the_latency_that_its_edit_changed():
    generator = random.Random(4)
    for _ in range(10):
        path = PROBLEM.window.draw(generator)
        possible = nearest_of_each_edit(path)
        seen = {path}
        while (mutated := nearby_mutate(PROBLEM, path, generator, seen)) is not None:
            assert mutated in possible
            seen.add(mutated)
        assert len(seen & possible) > 0.8 * len(possible - {path})


def test_the_artifacts_mutation_leaves_the_window_where_nearby_does_not():
    generator = random.Random(4)
    changes = []
    for _ in range(200):
        path = PROBLEM.window.draw(generator)
        mutated = artifact_mutate(PROBLEM, path, generator, {path})
        assert SPACE.holds(mutated)
        changes.append((PROBLEM.window.holds(mutated), TIMES.time(mutated) - TIMES.time(path)))
    assert not all(inside for inside, _ in changes)
    assert sum(change for _, change in changes) < 0  # faster and faster: it compensates in one direction alone


def test_two_paths_are_joined_where_both_begin_a_branch():
    generator = random.Random(1)
    for _ in range(200):
        one, other = SPACE.sample(generator), SPACE.sample(generator)
        child = crossed(one, other, generator)
        assert SPACE.holds(child)
        assert set(child) <= set(one) | set(other)


def test_paths_come_in_the_order_of_the_sum():
    expected = sorted(lost(path) for path in FITTING)
    listed = list(by_predicted_loss(PROBLEM, LOSSES))
    assert set(listed) == set(FITTING)
    assert len(listed) == len(FITTING)
    assert [lost(path) for path in listed] == pytest.approx(expected)


def test_the_best_by_the_sum_of_forty_blocks_come_at_once():
    space = space_of(40)
    times = times_of(space)
    generator = random.Random(1)
    losses = {b: 0.0 if b.original else generator.uniform(0, 0.05) for b in space.branches}
    problem = Problem(space, times, 0.7 * times.time(space.base))
    found = by_predicted_loss(problem, losses)
    sums = [sum(losses[b] for b in next(found)) for _ in range(50)]
    assert sums == sorted(sums)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_asks_for_known_paths_once_within_its_limits_and_the_same_each_time(name):
    def run():
        asked = []

        def measure(paths):
            asked.extend(paths)
            return crossing(paths)

        return search(STRATEGIES[name], PROBLEM, Evaluations(measure), Limits(evaluations=70), 3), asked

    outcome, asked = run()
    assert len(asked) == len(set(asked)) == len(outcome.evaluated) <= 70
    assert all(map(SPACE.holds, asked))
    assert run()[1] == asked
    fitting = [one for one in outcome.evaluated if PROBLEM.fits(one.path)]
    assert (outcome.best is None) == (not fitting)
    assert outcome.best is None or outcome.best.accuracy == max(one.accuracy for one in fitting)
    if name not in {"uniform", "additive"}:
        assert len(asked) == 70


def test_all_paths_and_the_sum_find_the_optimum():
    best = max(additive(FITTING))
    everything = search(exhaustive, PROBLEM, Evaluations(additive), Limits(evaluations=10**6), 0)
    assert len(everything.evaluated) == len(FITTING)
    assert everything.best.accuracy == pytest.approx(best)
    by_sum = search(ADDITIVE, PROBLEM, Evaluations(additive), Limits(), 0)
    assert by_sum.best.accuracy == pytest.approx(best)
    others = [branch for branch in SPACE.branches if not branch.original]
    assert len(by_sum.evaluated) == 2 + len(others) + ADDITIVE.first
    assert search(ADDITIVE, PROBLEM, Evaluations(additive), Limits(evaluations=2), 0).best.path == PROBLEM.fastest


def test_uniform_pruning_is_what_it_says():
    outcome = search(uniform_pruning, PROBLEM, Evaluations(additive), Limits(), 0)
    rates = {tuple(b.shrink for b in one.path) for one in outcome.evaluated}
    assert rates
    assert all(len(set(rate)) == 1 for rate in rates)


class CrashError(Exception):
    pass


def test_a_stopped_search_goes_on_where_it_was(tmp_path):
    file = tmp_path / "accuracies.jsonl"

    def go(measure, *, resume):
        journal = Journal(file, Evaluated, {"space": "s"}, holds="accuracies", resume=resume)
        return search(REFINED, PROBLEM, Evaluations(measure, journal), Limits(evaluations=80), 1)

    calls = []

    def dying(paths):
        calls.extend(paths)
        if len(calls) > 60:
            raise CrashError
        return crossing(paths)

    with pytest.raises(CrashError):
        go(dying, resume=False)
    kept = len(file.read_text().splitlines()) - 1
    again = []

    def measure(paths):
        again.extend(paths)
        return crossing(paths)

    outcome = go(measure, resume=True)
    straight = search(REFINED, PROBLEM, Evaluations(crossing), Limits(evaluations=80), 1)
    assert [(o.path, o.accuracy) for o in outcome.evaluated] == [(o.path, o.accuracy) for o in straight.evaluated]
    assert 0 < kept == 80 - len(again)


def test_seconds_end_a_search_and_bad_figures_are_refused():
    now = [0.0]

    def slow(paths):
        now[0] += 0.5 * len(paths)
        return additive(paths)

    evaluations = Evaluations(slow, clock=lambda: now[0])
    outcome = search(Annealing(), PROBLEM, evaluations, Limits(seconds=10), 0, clock=lambda: now[0])
    assert len(outcome.evaluated) == 20
    assert outcome.seconds == 10
    with pytest.raises(InputError, match="has an accuracy of nan"):
        search(random_paths, PROBLEM, Evaluations(lambda paths: [float("nan")] * len(paths)), Limits(), 0)
    with pytest.raises(ConfigError, match="evaluations: need a number from 1"):
        Limits(evaluations=0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_space_of_one_path_has_that_one(name):
    space = PathSpace(2, (Branch(0), Branch(1)))
    times = times_of(space)
    problem = Problem(space, times, times.time(space.base))
    outcome = search(STRATEGIES[name], problem, Evaluations(lambda paths: [0.5] * len(paths)), Limits(), 0)
    assert [one.path for one in outcome.evaluated] == [space.base]


def test_a_strategy_that_knows_only_old_paths_is_stopped():
    space = space_of(2, rates=())
    times = times_of(space)
    problem = Problem(space, times, 2 * times.time(space.base))
    outcome = search(Annealing(), problem, Evaluations(lambda paths: [0.5] * len(paths)), Limits(), 0)
    assert {one.path for one in outcome.evaluated} == {(Branch(0), Branch(1)), (Branch(0, 2),)}
    assert len(all_branches(2, rates=())) == 3
