"""The phase-change cells of HERMES, a measured 14 nm chip of 64 cores."""

from nestevo_hw.crossbar.devices.preset import RASCH_CONVERTERS, RASCH_LEAVES_OUT, DevicePreset, NoiseModel

CHARACTERISED_US = 20.7
"""Two devices in parallel; the fit does not reach further."""


def _noise(preset: DevicePreset) -> NoiseModel:
    from aihwkit.inference.noise.hermes import HermesNoiseModel

    if preset.g_max_us > CHARACTERISED_US:
        raise ValueError(f"it was characterised up to {CHARACTERISED_US:g}")
    return HermesNoiseModel(num_devices=2, g_max=preset.g_max_us)


HERMES = DevicePreset(
    name="hermes",
    title="phase-change memory, 14 nm, 64-core chip",
    noise_law=_noise,
    g_max_us=CHARACTERISED_US,
    idle_is_silent=True,
    drift_compensation=True,
    converters=RASCH_CONVERTERS,
    chip="hermes",
    source="Le Gallo et al., Nat. Electron. 2023, s41928-023-01010-1 (64-core PCM chip, 8-bit input "
    "and output); Vasilopoulos et al., TED 2023 (two devices a weight). Output bound 10 and output "
    "noise 0.04 follow Rasch et al., Nat. Commun. 2023, 14:5282, not this chip",
    leaves_out=RASCH_LEAVES_OUT + ", the chip's per-column calibration",
)
