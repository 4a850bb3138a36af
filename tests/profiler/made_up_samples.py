"""Samples of a made-up machine whose times follow a known law, so that what is learned can be checked."""

import numpy as np

from nestevo_hw.profiler.fake_run import StepWork
from nestevo_hw.profiler.operations import Operation
from nestevo_hw.profiler.samples import Sample, Timing
from nestevo_hw.profiler.specs import TrainingSpec
from nestevo_hw.studies.profile.collect import SampleFile

MACS_PER_S, BYTES_PER_S, CALL_S = 2e10, 5e9, 1e-5
REFERENCE_S = 0.01


def law_s(work):
    """Seconds of a step on the made-up machine."""
    moved = sum((o.in_bytes + o.out_bytes) * n for o, n in work.operations if not o.macs)
    return work.macs / MACS_PER_S + moved / BYTES_PER_S + sum(n for _, n in work.operations) * CALL_S


def made_up_work(batch_size, channels, pixels, layers):
    moved, weights = 4 * batch_size * channels * pixels, 36 * channels**2
    conv = Operation(
        sort="conv", macs=9 * channels**2 * batch_size * pixels, in_bytes=moved, out_bytes=moved, weight_bytes=weights,
        inputs=channels, outputs=channels, pixels=batch_size * pixels, taps=9, itemsize=4,
    )  # fmt: skip
    return StepWork(
        parameters=layers * weights // 4,
        held_bytes=3 * layers * weights,
        transient_bytes=layers * (moved + weights),
        saved_bytes=layers * moved,
        layer_output_bytes=layers * moved,
        tensors=layers,
        operations=((conv, layers), (Operation("norm", 0, moved, moved), layers), (Operation("elementwise"), 50)),
    )


def made_up_samples(count, *, held_out=False, seed=0, noise=0.02):
    """Samples with log-normal noise on time, and a memory that is 3 % above the fake run's."""
    random = np.random.default_rng(seed + 1000 * held_out)
    samples = []
    for number in range(count):
        batch_size, channels = int(random.integers(1, 17)), int(random.integers(8, 65))
        pixels, layers = int(random.integers(16, 65)) ** 2, int(random.integers(2, 12))
        work = made_up_work(batch_size, channels, pixels, layers)
        units = law_s(work) * np.exp(noise * random.standard_normal(3)) / REFERENCE_S
        spec = TrainingSpec(
            architecture=f"tiny/{number}-{channels}-{layers}-{int(held_out)}", height=64, width=pixels // 64,
            batch_size=batch_size, frames=64,
        )  # fmt: skip
        cpu = tuple(float(u * REFERENCE_S) for u in units)
        timing = Timing(steps=1, wall_s=cpu, cpu_s=cpu, reference_s=(REFERENCE_S,) * 3)
        samples.append(
            Sample(
                spec=spec,
                held_out=held_out,
                work=work,
                memory_bytes=round(1.03 * work.peak_bytes),
                timings=(timing,),
                reference_s=REFERENCE_S,
            )
        )
    return samples


def write_made_up_samples(folder, *, known=48, held_out=12, seed=0):
    """The samples file of a profile on this machine."""
    file = SampleFile(folder, seed, resume=False)
    for side, count in ((False, known), (True, held_out)):
        for index, sample in enumerate(made_up_samples(count, held_out=side)):
            file.keep((side, index), sample)
