"""The phase-change cells of HERMES, a measured 14 nm chip of 64 cores."""

from nestevo_hw.crossbar.devices.law import ModelLaw
from nestevo_hw.crossbar.devices.preset import RASCH_CONVERTERS, RASCH_LEAVES_OUT, DevicePreset

HERMES = DevicePreset(
    name="hermes",
    title="phase-change memory, 14 nm, 64-core chip",
    noise_law=ModelLaw.of("aihwkit.inference.noise.hermes:HermesNoiseModel", num_devices=2, g_max=20.7),
    g_max_us=20.7,
    characterised_us=(0.0, 20.7),
    idle_is_silent=True,
    drift_compensation=True,
    converters=RASCH_CONVERTERS,
    chip="hermes",
    source="Le Gallo et al., Nat. Electron. 2023, s41928-023-01010-1 (64-core PCM chip, 8-bit input "
    "and output); Vasilopoulos et al., TED 2023 (two devices a weight). Output noise 0.04 "
    "and, with a fixed range, output bound 10 follow Rasch et al., Nat. Commun. 2023, 14:5282, not this chip",
    leaves_out=RASCH_LEAVES_OUT + ", the chip's per-column calibration",
)
