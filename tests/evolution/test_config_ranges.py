"""Every number of a configuration has a range, and what lies outside is refused by its key."""

import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from nestevo_hw.base.documents import parse
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import RunConfig, load_preset, override, parse_config


def numbers(kind: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every place of a configuration that takes a number, with its annotation."""
    if isinstance(kind, type) and is_dataclass(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            yield from numbers(hint, f"{place}.{name}")
    elif kind in (int, float) or (hasattr(kind, "__metadata__") and get_args(kind)[0] in (int, float)):
        yield place.removeprefix("."), kind
    elif get_origin(kind) is not None or get_args(kind):
        for part in get_args(kind):
            yield from numbers(part, place)


NUMBERS = list(dict(numbers(RunConfig)).items())


def test_the_walk_finds_numbers_wherever_they_are():
    assert {"seed", "window.hours_apart", "mutual.plan.steps", "terminals.drift.strength", "terminals.position_m",
            "frame_size"} <= {place for place, _ in NUMBERS}  # fmt: skip
    assert len(NUMBERS) > 75


@pytest.mark.parametrize(("place", "kind"), NUMBERS)
def test_no_field_takes_what_is_no_sensible_number(place, kind):
    for value in (math.nan, math.inf, -math.inf, 1e300, -1e300, 10**25, 10**400, "1", True):
        with pytest.raises(ConfigError, match=rf"^{place}: top level: "):
            parse(value, kind, place, error=ConfigError)


@pytest.mark.parametrize(
    ("key", "within", "outside"),
    [
        ("gate.margin", 1.0, 1.1),
        ("gate.total_margin", 1.0, 1.1),
        ("frame_size", [4096, 4096], [4097, 16]),
        ("window.count", 10_000, 10_001),
        ("window.upload_frames", 10_000, 1_000_000_000),
        ("window.upload_spacing", 1, 0),
        ("window.test_frames", 1, 0),
        ("window.length_s", 600.0, 0.0),
        ("link.upload_mbit_s", 1e6, 0),
        ("link.download_mbit_s", 0.001, -1.0),
        ("teacher.tile", 1, 0),
        ("teacher.age_s", 0.0, -1.0),
        ("drift.gamma", 0.0, -1.0),
        ("drift.epsilon", 1, -1),
        ("mutual.alpha", 0.0, 1.1),
        ("mutual.noise_mu", 0.0, -0.1),
        ("mutual.plan.steps", 1, 0),
        ("mutual.plan.learning_rate", 1e-9, 0.0),
        ("distil.temperature", 0.01, 0.0),
        ("distil.soft_share", 1.0, 5.0),
        ("generator.steps", 1, 0),
        ("generator.weight", 0.0, -0.1),
        ("refresh.period_h", 1e-3, 0.0),
        ("replay.frames", 0, -1),
        ("zoo.size", 0, -1),
        ("groups.count", 1, 0),
        ("trigger.margin", 0.99, 1.0),
        ("adversarial.weight", 0.0, -1.0),
        ("compression.small_px", 1.0, 0.0),
        ("confirmation.amplify", 1.0, 0.5),
        ("confirmation.zoom", 1.0, 0.5),
        ("confirmation.overlap", 1.0, 0.0),
        ("confirmation.tracking_share", 1.0, 1.5),
        ("confirmation.tracking_gap_s", 0.0, -1.0),
        ("confirmation.high_confidence", 1.0, 1.1),
        ("labels.regions", 1, 0),
        ("sampling.least_frames", 1, 0),
        ("reference.segments_per_place", 1, 0),
        ("execution.workers", 0, -1),
        ("execution.memory_gb", 0.001, 0.0),
        ("execution.device", "cpu", "tpu"),
    ],
)
def test_where_ranges_end(key, within, outside):
    base = load_preset("quick")
    override(base, {key: within})
    with pytest.raises(ConfigError, match=rf"^command line: {key}(\[0\])?: input should be "):
        override(base, {key: outside})


def test_a_book_in_the_place_of_a_name_is_one_short_line():
    document = load_preset("quick").document()
    for wrong in ({"x" * 10**6: 1}, {"method": "x" * 10**6}, {"window": {"count": {"x" * 10**6: 1}}}):
        with pytest.raises(ConfigError) as caught:
            parse_config(document | wrong, source="t")
        assert len(str(caught.value)) < 400


def test_there_are_at_most_a_thousand_terminals():
    document = load_preset("quick").document()
    many = [document["terminals"][0] | {"name": f"t{k}"} for k in range(1001)]
    with pytest.raises(ConfigError, match="terminals: need at most 1000 tables, got 1001"):
        parse_config(document | {"terminals": many}, source="t")
