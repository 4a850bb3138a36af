import itertools
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.streams.drift_kinds import DRIFT_KINDS, WEATHER, Shot
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment, apply_weather

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def picture():
    return SyntheticStream(name="t", place="harbour", seed=1).read([30]).images.float() / 255


def changed(picture, kind, strength):
    return apply_weather(picture, [{kind: strength}], [torch_generator(0, kind)])


def gradient(image):
    """Mean absolute difference of neighbouring pixels: fine detail."""
    return float(
        (image[..., 1:] - image[..., :-1]).abs().mean() + (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    )


def structure(image):
    """Standard deviation of the picture averaged over 8 x 8 blocks: contrast without noise and streaks."""
    return float(torch.nn.functional.avg_pool2d(image, 8).std())


METRICS = {
    "night": ("mean brightness", lambda image: float(image.mean())),
    "dusk": ("mean brightness", lambda image: float(image.mean())),
    "fog": ("detail", gradient),
    "rain": ("large-scale contrast", structure),
    "defocus": ("detail", gradient),
}


@pytest.mark.parametrize("kind", METRICS)
def test_strength_acts_monotonically(picture, kind):
    name, metric = METRICS[kind]
    values = [metric(changed(picture, kind, s)) for s in STRENGTHS]
    assert all(a > b for a, b in itertools.pairwise(values)), f"{name} is not falling: {values}"
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize(("one", "other"), [*itertools.permutations(WEATHER, 2)])
def test_kinds_that_combine_give_a_picture(picture, one, other):
    """The noise of dusk went below black, of which night took a root."""
    for strength in (0.6, 1.0):
        found = apply_weather(picture / 4, [{one: strength, other: strength}], [torch_generator(0, one, other)])
        assert bool(((found >= 0.0) & (found <= 1.0)).all())


@pytest.mark.parametrize("kind", WEATHER)
def test_distance_from_the_clear_picture_grows(picture, kind):
    distances = [float((changed(picture, kind, s) - picture).square().mean()) for s in STRENGTHS]
    assert distances[0] == 0.0
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)


@pytest.mark.parametrize("kind", WEATHER)
def test_output_stays_in_range_and_shape(picture, kind):
    out = changed(picture, kind, 1.0)
    assert out.shape == picture.shape
    assert out.min() >= 0.0
    assert out.max() <= 1.0


def test_each_image_has_its_own_conditions(picture):
    pair = picture.repeat(3, 1, 1, 1)
    out = apply_weather(pair, [{"fog": 0.5}, {}, {"night": 0.5}], [torch_generator(0, i) for i in range(3)])
    assert torch.equal(out[1], picture[0])
    assert torch.equal(out[0], changed(picture, "fog", 0.5)[0])
    assert out[2].mean() < picture.mean()


def test_fog_follows_koschmieder_at_the_bottom_row(picture):
    """Below the horizon at row 0.25, depth at row r is 0.35 / (r - 0.25), no less than 0.6."""
    strength, row = 0.5, picture.shape[-2] - 1
    depth = max(0.35 / ((row + 0.5) / picture.shape[-2] - 0.25), 0.6)
    kept = math.exp(-1.25 * strength**1.3 * depth)
    airlight = torch.tensor((0.76, 0.78, 0.8)).view(3, 1)
    expected = picture[0, :, row] * kept + airlight * (1 - kept)
    torch.testing.assert_close(changed(picture, "fog", strength)[0, :, row], expected)


def test_fog_is_thicker_farther_away(picture):
    lost = (changed(picture, "fog", 0.5) - 0.78).abs() / (picture - 0.78).abs().clamp(min=0.05)
    assert lost[..., 40:60, :].median() < lost[..., 100:128, :].median()


def test_lamps_light_the_night(picture):
    light = torch.zeros(1, 1, *picture.shape[-2:])
    light[..., :80] = 0.8
    out = apply_weather(picture, [{"night": 0.8}], [torch_generator(0)], lights=light)
    gain = out.mean((0, 1, 2)) / picture.mean((0, 1, 2))
    assert gain[:80].mean() > 1.5 * gain[80:].mean()


def test_streaks_of_rain_fall_from_every_drop_and_wrap_around():
    strength, black = 0.9, torch.zeros(3, 30, 40)
    shot = Shot(generator=torch_generator(0, "rain"), horizon=0.3, light=None)
    seen = DRIFT_KINDS["rain"].change(black, strength, shot)[0]
    drops = (torch.rand((1, 30, 40), generator=torch_generator(0, "rain")) < 0.0075 * strength).float()
    streaks = torch.stack([drops[0].roll((k, -round(k / 4)), (0, 1)) for k in range(5)]).amax(0)  # too few rows to blur
    veil = 0.5 - 0.5 * (1 - 0.42 * strength) - 0.06 * strength
    torch.testing.assert_close(seen, veil + (0.85 - veil) * streaks * (0.25 + 0.5 * strength))


def test_weather_is_repeatable_and_noise_differs_between_frames():
    drift = DriftScript(segments=(DriftSegment(start=0, kind="night", strength=0.8),))
    stream = SyntheticStream(name="t", place="campus", seed=2, drift=drift)
    assert torch.equal(stream.read([3]).images, stream.read([3]).images)
    still = torch.full((2, 3, 64, 64), 0.5)
    noisy = apply_weather(still, [{"night": 0.8}] * 2, [torch_generator(0, i) for i in range(2)])
    assert not torch.equal(noisy[0], noisy[1])


def test_night_noise_has_its_stated_deviation():
    still = torch.full((1, 3, 256, 256), 0.9)
    light = torch.full((1, 1, 256, 256), 0.5)
    out = apply_weather(still, [{"night": 0.5}], [torch_generator(0)], lights=light)
    sigma, pixels = 0.06 * 0.5**1.5, 3 * 256 * 256
    # Grey and coloured part (0.8 and 0.6) correlate the channels, so the effective sample is no less than a third.
    standard_error = sigma / math.sqrt(2 * pixels / 3)
    deviation = (out - out.mean((2, 3), keepdim=True)).square().mean().sqrt().item()
    assert deviation == pytest.approx(sigma, abs=4 * standard_error)


def test_lengths_must_agree(picture):
    with pytest.raises(InputError, match="1 images, 2 strengths and 1 generators"):
        apply_weather(picture, [{}, {}], [torch_generator(0)])


def segment(start, kind="fog", strength=0.5, ramp=0):
    return DriftSegment(start=start, kind=kind, strength=strength, ramp=ramp)


def test_script_steps_ramps_and_combines():
    script = DriftScript(
        segments=(segment(10), segment(20, strength=0.9, ramp=4), segment(15, "night", 0.3), segment(40, strength=0.0))
    )
    assert script.strengths(9) == {}
    assert script.strengths(10) == {"fog": 0.5}
    assert script.strengths(15) == {"fog": 0.5, "night": 0.3}
    assert script.strengths(22)["fog"] == pytest.approx(0.7)
    assert script.strengths(24)["fog"] == pytest.approx(0.9)
    assert script.strengths(40) == {"night": 0.3}


def test_a_ramp_cut_short_continues_from_where_it_was():
    script = DriftScript(segments=(segment(0, strength=1.0, ramp=10), segment(5, strength=0.0, ramp=10)))
    assert script.strengths(4)["fog"] == pytest.approx(0.4)
    assert script.strengths(5)["fog"] == pytest.approx(0.5)
    assert script.strengths(10)["fog"] == pytest.approx(0.25)
    assert script.strengths(15) == {}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1), st.integers(0, 20)), max_size=6, unique_by=lambda s: s[0]),
    st.integers(0, 80),
)
def test_strengths_agree_with_playing_the_script_forward(parts, index):
    """Oracle: walk through the frames one by one and move the strength as the newest segment says."""
    script = DriftScript(segments=tuple(segment(a, strength=s, ramp=r) for a, s, r in parts))
    value, base, current = 0.0, 0.0, None
    for frame in range(index + 1):
        for part in parts:
            if part[0] == frame:
                if current is not None:
                    done = min(1.0, (frame - current[0]) / current[2]) if current[2] else 1.0
                    base += done * (current[1] - base)
                current = part
        if current is not None:
            done = min(1.0, (frame - current[0]) / current[2]) if current[2] else 1.0
            value = base + done * (current[1] - base)
    assert script.strengths(index).get("fog", 0.0) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 0, "kind": "hail", "strength": 0.5}, "unknown drift kind 'hail'; choose from fog"),
        ({"start": 0, "kind": "fog", "strength": 1.5}, "strength from 0 to 1, got 1.5"),
        ({"start": 0, "kind": "fog", "strength": math.nan}, "strength from 0 to 1, got nan"),
        ({"start": -1, "kind": "fog", "strength": 0.5}, "got -1 and 0"),
        ({"start": 0, "kind": "fog", "strength": 0.5, "ramp": -2}, "got 0 and -2"),
    ],
)
def test_impossible_segments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        DriftSegment(**arguments)


def test_two_segments_of_one_kind_cannot_start_together():
    with pytest.raises(ConfigError, match="two segments start at frame 5"):
        DriftScript(segments=(segment(5), segment(5, strength=0.2)))


def test_kinds_say_what_they_do_and_are_known_without_torch():
    assert all(kind.summary and kind.at_full for kind in DRIFT_KINDS.values())
    assert set(DRIFT_KINDS) - set(WEATHER) == {"scene", "mix"}
    code = "import sys, nestevo_hw.streams.drift_kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_rendered_street_scenes_come_under_what_a_renderer_makes():
    script = DriftScript(segments=(segment(0), segment(3, "mix")))
    with pytest.raises(ConfigError, match="stream 'd': drift mix needs rendered street scenes; use fog, rain"):
        DigitStream(name="d", place="belt", seed=0, drift=script)
    assert SyntheticStream(name="d", place="belt", seed=0, drift=script).drift == script
