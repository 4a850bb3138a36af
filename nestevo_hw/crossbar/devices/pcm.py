"""Phase-change memory, fitted to measured devices."""

from nestevo_hw.crossbar.devices.preset import (
    RASCH_CONVERTERS,
    RASCH_LEAVES_OUT,
    RASCH_SOURCE,
    DevicePreset,
    NoiseModel,
)


def _noise(preset: DevicePreset) -> NoiseModel:
    from aihwkit.inference.converter.conductance import NPairConductanceConverter
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel

    if preset.pairs == 1:
        return PCMLikeNoiseModel(g_max=preset.g_max_us)
    pairs = NPairConductanceConverter(f_lst=[1.0] * preset.pairs, g_max=preset.g_max_us)
    return PCMLikeNoiseModel(g_converter=pairs)


PCM = DevicePreset(
    name="pcm",
    title="phase-change memory",
    noise_law=_noise,
    g_max_us=25.0,
    idle_is_silent=True,
    several_pairs=True,
    drift_compensation=True,
    converters=RASCH_CONVERTERS,
    chip="hermes",
    source="Nandakumar et al., ICECS 2019 (programming noise, drift, 1/f read noise fitted to "
    "measured PCM devices); Joshi et al., Nat. Commun. 2020, 11:2473 (drift compensation). " + RASCH_SOURCE,
    leaves_out=RASCH_LEAVES_OUT,
)
