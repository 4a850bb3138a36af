"""Refresh policies against one another and by hand; the teacher's age over windows; its measured state."""

import math
from dataclasses import astuple, replace
from itertools import count
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.programming import programming_cost
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.devices import PRESETS
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.dispatch import Finished
from nestevo_hw.evolution.gate import ValidationGate, Verdict
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.refresh import (
    YEAR_S,
    Condition,
    CostAware,
    Every,
    PolicyName,
    Programming,
    RefreshConfig,
    Threshold,
    chip_of,
    refresh_policy,
)
from nestevo_hw.evolution.steps.table import INSPECT, PROGRAM
from nestevo_hw.evolution.steps.teachers import InspectResult, MergeResult, ProgramResult
from nestevo_hw.evolution.teacher import LabellingTime, Programmed, TeacherFiles, cost_on, program_teacher
from nestevo_hw.evolution.upkeep import Upkeep
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.report.records.teacher import Program, Refresh
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.tasks.detection import Detection

DAY_S = 86_400.0
POLICIES = [refresh_policy(RefreshConfig(policy=name)) for name in get_args(PolicyName)]
NORMAL = Condition(
    age_s=DAY_S, score=0.7, fresh_score=0.8, interval_s=DAY_S, in_service_s=30 * DAY_S, programmings=1,
    programming=Programming(time_s=10.0, energy_j=0.1, wear=1e-6),
)  # fmt: skip
score = st.floats(0.0, 1.0)
conditions = st.builds(
    Condition,
    age_s=st.floats(0.0, 1e8),
    score=score | st.just(math.nan),
    fresh_score=score | st.just(math.nan),
    interval_s=st.floats(1.0, 1e7),
    in_service_s=st.floats(0.0, 1e9),
    programmings=st.integers(1, 10**6),
    programming=st.builds(
        Programming, time_s=st.floats(0.0, 1e5), energy_j=st.floats(0.0, 1e3), wear=st.floats(0.0, 1.0)
    ),
)
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=get_args(PolicyName))


@every_policy
@given(teacher=conditions)
def test_every_policy_gives_equal_choices_for_equal_conditions_with_a_reason(policy, teacher):
    choice = policy.decide(teacher)
    assert choice == policy.decide(replace(teacher))
    assert isinstance(choice.refresh, bool)
    assert choice.reason
    assert "nan" not in choice.reason


@every_policy
@given(teacher=conditions, worse=score, older_s=st.floats(0.0, 1e8))
def test_no_policy_keeps_a_teacher_that_is_worse_or_older_than_one_it_refreshes(policy, teacher, worse, older_s):
    if not policy.decide(teacher).refresh or math.isnan(teacher.score):
        return
    assert policy.decide(replace(teacher, score=teacher.score * worse, age_s=teacher.age_s + older_s)).refresh


@every_policy
def test_a_teacher_that_could_not_be_measured_is_refreshed_by_the_clock_only(policy):
    unmeasured = replace(NORMAL, score=math.nan, age_s=300 * DAY_S)
    assert policy.decide(unmeasured).refresh == isinstance(policy, Every)


def test_policies_by_hand():
    ages = [DAY_S * n + 60.0 for n in range(5)]
    every = Every(period_s=2 * DAY_S)
    assert [every.decide(replace(NORMAL, age_s=age)).refresh for age in ages] == [False, False, True, True, True]
    assert every.decide(NORMAL).reason == "age 24 h < period 48 h"
    threshold = Threshold(margin=0.25)
    for lost, expected in ((0.0, False), (0.25, False), (0.5, True), (-0.25, False)):
        assert threshold.decide(replace(NORMAL, fresh_score=0.5, score=0.5 - lost)).refresh is expected
    assert Threshold(margin=0.05).decide(NORMAL).reason == "lost 0.100 > margin 0.050"


def test_cost_aware_weighs_what_is_lost_against_what_waiting_loses():
    """Lost 0.1 of 0.8: worth up to an eighth of the window; with a doubt of 0.1 up to a quarter."""

    def decide(time_s, doubt=0.0, score=0.7):
        programming = replace(NORMAL.programming, time_s=time_s)
        return CostAware(lifetime_s=10 * YEAR_S, doubt=doubt).decide(
            replace(NORMAL, score=score, programming=programming)
        )

    assert decide(DAY_S / 8 - 60).refresh
    assert not decide(DAY_S / 8 + 60).refresh
    assert decide(DAY_S / 4 - 60, doubt=0.1).refresh
    assert not decide(DAY_S / 4 + 60, doubt=0.1).refresh
    assert not decide(0.0, score=0.8).refresh
    assert decide(0.0, doubt=0.01, score=0.8).refresh
    assert decide(DAY_S / 2, doubt=0.05).reason == "lost 0.100 + doubt 0.05 <= 0.4 lost by waiting"


@given(wear=st.floats(1e-5, 0.2), windows=st.integers(1, 300))
def test_cost_aware_spreads_the_cells_writes_over_their_lifetime(wear, windows):
    """With a teacher that always gains from refreshing, wear follows the elapsed share of life, one write ahead."""
    policy, written = CostAware(lifetime_s=300 * DAY_S, doubt=0.0), 1
    for window in range(windows):
        in_service_s = window * DAY_S
        teacher = replace(
            NORMAL, in_service_s=in_service_s, programmings=written,
            programming=Programming(time_s=1.0, energy_j=0.0, wear=wear),
        )  # fmt: skip
        written += policy.decide(teacher).refresh
        allowed = in_service_s / (300 * DAY_S)
        assert written * wear <= allowed + wear * (1 + 1e-9)
    # At most one programming a window, and never more than one window behind the budget.
    behind = min((windows - 2) / 300 / wear, windows - 1)
    assert written >= math.floor(behind)


@pytest.mark.parametrize(
    "wrong",
    [
        {"period_h": 0.0},
        {"margin": -0.1},
        {"doubt": -0.1},
        {"lifetime_years": 0.0},
        {"policy": "sometimes"},
        {"chip": 3},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="refresh"):
        override(load_preset("quick"), {f"refresh.{key}": value for key, value in wrong.items()})


def test_the_chip_follows_the_device_unless_named():
    assert [chip_of(RefreshConfig(), PRESETS[d]) for d in ("pcm", "reram-cmo", "ideal")] == [
        "hermes",
        "neurram",
        "generic",
    ]
    assert chip_of(RefreshConfig(chip="isaac"), PRESETS["pcm"]) == "isaac"


class Logged:
    """Stands in for the journal."""

    def __init__(self):
        self.events = []

    def log(self, event):
        self.events.append(event)

    def of(self, kind, field):
        return [getattr(e, field) for e in self.events if isinstance(e, kind)]


class Measured:
    """Stands in for the dispatch: the teacher loses 0.01 a day; keeps what was requested."""

    def __init__(self):
        self.requested = []

    def run(self, step, window, requests):
        (request,) = requests.values()
        self.requested.append((step, window))
        lost = 0.01 * request.teacher.age_s / DAY_S
        value = InspectResult(score=0.8 - lost) if step is INSPECT else PROGRAMMED
        return {"": Finished(value=value, submitted_s=0.0, started_s=0.0, ended_s=1.0)}


COST = Programming(time_s=1.0, energy_j=0.1, wear=1e-6)
WRITTEN = Programmed(tiles=9, weight_error=0.1, programming=COST, labelling=LabellingTime(first_s=0.1, interval_s=0.01))
PROGRAMMED = ProgramResult(programmed=WRITTEN, score=0.8, programming=COST)


def merged(accepted):
    verdict = Verdict(accepted=accepted, gate_before=0.8, gate_after=0.8, gate_first=None, reason="")
    return MergeResult(verdict=verdict, programmed=WRITTEN, score=0.8, programming=COST)


def life(tmp_path, windows, accept=lambda _: None, **changes):
    """Ages at labelling over the windows; `accept` says of a window whether a new teacher comes and passes."""
    config = override(
        load_preset("quick"), {"window.hours_apart": 24.0, "teacher.age_s": 3600.0, "teacher.delay_s": 60.0, **changes}
    )
    logged, dispatch, ages = Logged(), Measured(), []
    upkeep = Upkeep(config, RunLayout(tmp_path), logged, dispatch, count())
    upkeep.programmed_first(PROGRAMMED)
    for window in range(windows):
        upkeep.refresh(window)
        ages.append(upkeep.at(window).age_s)
        if (accepted := accept(window)) is not None:
            upkeep.validated(window, upkeep.candidate(window), merged(accepted))
    return ages, logged, dispatch


def test_a_teacher_that_stays_ages_with_the_windows(tmp_path):
    ages, logged, _ = life(tmp_path, 4, **{"refresh.policy": "never"})
    assert ages == [3600.0 + n * DAY_S for n in range(4)]
    assert logged.of(Refresh, "age_s") == ages
    assert logged.of(Program, "cause") == ["first"]
    together, _, _ = life(tmp_path, 3, **{"refresh.policy": "never", "window.hours_apart": None})
    assert together == [3600.0, 4200.0, 4800.0]


def test_programming_starts_the_age_anew(tmp_path):
    ages, logged, dispatch = life(tmp_path, 5, **{"refresh.policy": "every", "refresh.period_h": 48.0})
    assert ages == [3600.0, 3600.0 + DAY_S, 60.0, 60.0 + DAY_S, 60.0]
    assert logged.of(Program, "cause") == ["first", "refresh", "refresh"]
    assert [window for step, window in dispatch.requested if step is PROGRAM] == [2, 4]
    ages, logged, _ = life(tmp_path, 4, accept={0: True, 1: False}.get, **{"refresh.policy": "never"})
    assert ages == [3600.0, 60.0 + DAY_S, 60.0 + 2 * DAY_S, 60.0 + 3 * DAY_S]
    assert logged.of(Program, "cause") == ["first", "new teacher", "new teacher"]
    assert logged.of(Program, "generation") == [0, 1, 2]


def test_the_measured_loss_decides(tmp_path):
    """0.01 a day against a margin of 0.025: every third day, counted from each programming."""
    ages, logged, _ = life(tmp_path, 8, **{"refresh.policy": "threshold", "refresh.margin": 0.025})
    assert logged.of(Refresh, "refreshed") == [False, False, False, True, False, False, True, False]
    assert ages[3] == ages[6] == 60.0
    assert logged.of(Refresh, "reason")[3] == "lost 0.030 > margin 0.025"


def test_a_digital_teacher_needs_no_upkeep(tmp_path):
    config = override(load_preset("quick"), {"teacher.analog": "digital", "refresh.policy": "always"})
    logged, dispatch = Logged(), Measured()
    upkeep = Upkeep(config, RunLayout(tmp_path), logged, dispatch, count())
    upkeep.programmed_first(ProgramResult(programmed=None, score=None))
    assert upkeep.refresh(0) == []
    assert logged.events == dispatch.requested == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window.hours_apart": 0.1}, "shorter than a window of 600 s"),
        (
            {"teacher.analog": "reram-wan", "teacher.age_s": DAY_S, "window.count": 1},
            "delay_s, window 0: device reram-wan is",
        ),
        ({"teacher.analog": "reram-cmo", "teacher.delay_s": 0.5}, "reram-cmo has no model between 0 s and 1 s"),
        ({"refresh.chip": "abacus"}, "unknown chip 'abacus'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_run(override(load_preset("quick"), changes))


@pytest.fixture(scope="module")
def familiar():
    places = ("school", "park", "market", "harbour")
    streams = [SyntheticStream(name=p, place=p, seed=3) for p in places]
    return concatenate([s.read(range(0, 640, 40)) for s in streams])


@pytest.mark.slow
def test_the_teacher_is_measured_with_and_without_labels(familiar, tmp_path):
    """An ideal crossbar agrees with its digital twin; a PCM one that is a year old has lost by either measure."""
    unlabelled = FrameBatch(images=familiar.images, indices=familiar.indices)
    files = TeacherFiles(weights=pretrained_path("fasterrcnn-tiny"), crossbar=tmp_path / "tiles", age_s=60.0)

    labelled, told = [], []

    def scored(device, age_s, frames):
        config = override(load_preset("quick"), {"teacher.analog": device})
        written = program_teacher(
            Detection(), config.teacher, files, frames.images, seed=0, generation=0, chip="hermes"
        )
        assert min(astuple(written.programming)) > 0
        labelled.append(written.labelling)
        told.append([line.split(":")[0] for line in written.differences])
        return ValidationGate.of(config).score(replace(files, age_s=age_s), frames)

    assert scored("ideal", 60.0, unlabelled) == pytest.approx(1.0)
    assert scored("pcm", 60.0, unlabelled) > scored("pcm", YEAR_S, unlabelled) + 0.02
    assert scored("pcm", 60.0, familiar) > scored("pcm", YEAR_S, familiar) + 0.02
    # The chips that were written keep the teacher: a frame never waits for the arrays to be written again.
    assert all(0 < time.interval_s < time.first_s < 0.1 for time in labelled)
    assert told == [["cells", "devices of a weight", "converters"], *[["devices of a weight"]] * 4]


@pytest.mark.parametrize("chip", ["isaac", "generic"])
def test_writing_a_teacher_writes_the_copies_that_label(chip):
    """Which make a balanced pipeline of it on isaac 24 times as much to write."""
    teacher = AnalogTeacher(load_model(pretrained_path("fasterrcnn-tiny"))[0], device="ideal", tile=256)
    model, size = teacher.digital_twin(), (144, 192)
    written, labelling = cost_on(teacher.report, model, chip, size)
    alone = programming_cost(teacher.report, load_chip(chip))
    whole = chip_cost(teacher.report, count_workload(model, size), load_chip(chip), frames=1, chips=1)
    assert written == Programming(**{k: getattr(whole.programming, k) for k in ("time_s", "energy_j", "wear")})
    assert labelling.interval_s == whole.interval_s
    assert written.energy_j > 4 * alone.energy_j
