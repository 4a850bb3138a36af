"""Phase-change memory, fitted to measured devices."""

from nestevo_hw.crossbar.devices.law import ModelLaw
from nestevo_hw.crossbar.devices.preset import (
    RASCH_CONVERTERS,
    RASCH_LEAVES_OUT,
    RASCH_SOURCE,
    DevicePreset,
)

PCM = DevicePreset(
    name="pcm",
    title="phase-change memory",
    noise_law=ModelLaw.of("aihwkit.inference.noise.pcm:PCMLikeNoiseModel", g_max=25.0),
    g_max_us=25.0,
    characterised_us=(0.0, 25.0),
    idle_is_silent=True,
    several_pairs=True,
    drift_compensation=True,
    converters=RASCH_CONVERTERS,
    chip="hermes",
    source="Nandakumar et al., ICECS 2019 (programming noise, drift, 1/f read noise fitted to "
    "measured PCM devices); Joshi et al., Nat. Commun. 2020, 11:2473 (drift compensation). " + RASCH_SOURCE,
    leaves_out=RASCH_LEAVES_OUT,
)
