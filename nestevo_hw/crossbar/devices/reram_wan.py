"""HfOx ReRAM of the NeuRRAM chip, characterised at three times after programming."""

from nestevo_hw.crossbar.devices.law import ModelLaw
from nestevo_hw.crossbar.devices.preset import (
    DAY_S,
    RASCH_CONVERTERS,
    RASCH_LEAVES_OUT,
    RASCH_SOURCE,
    DevicePreset,
)

RERAM_WAN = DevicePreset(
    name="reram-wan",
    title="HfOx ReRAM of NeuRRAM",
    noise_law=ModelLaw.of("aihwkit.inference.noise.reram:ReRamWan2022NoiseModel", g_max=40.0),
    g_max_us=40.0,
    characterised_us=(0.0, 40.0),
    relaxation="programmed",
    drift_compensation=True,
    times_s=(1.0, DAY_S, 2 * DAY_S),
    converters=RASCH_CONVERTERS,
    chip="neurram",
    source="Wan et al., Nature 2022, s41586-022-04992-8 (relaxation of NeuRRAM's HfOx ReRAM, "
    "polynomials fitted to published figures at 1 s, 1 day and 2 days). " + RASCH_SOURCE,
    leaves_out=RASCH_LEAVES_OUT + ", any time other than the three measured ones",
)
