"""`nestevo-hw profile`: learn on this machine what training tasks take."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.commands.options import SEED_NUMBER, Number, compute_option, machine_readable, whole

if TYPE_CHECKING:
    from nestevo_hw.studies.profile.evaluation import Evaluation


@click.command(short_help="Measure tasks on this machine, to predict them.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("profile"), show_default=True,
              help="Directory for samples.jsonl, profile.safetensors, report.html and pictures.")  # fmt: skip
@click.option("--samples", type=whole(Range(16, 100_000)),
              help="Tasks to learn from, 16 or more.  [default: 200, quick 24]")  # fmt: skip
@click.option("--held-out", type=whole(Range(4, 100_000)),
              help="Tasks of other architectures to judge by, 4 or more, measured too.  "
              "[default: 60, quick 8]")  # fmt: skip
@click.option("--passes", type=whole(Range(1, 100)), help="Rounds of timing over all of them.  [default: 2, quick 1]")
@click.option("--minutes", type=Number(Range(0, 1e6, above=True)), help="Stop measuring after this time; what is "
              "there is learned from, where it is 16 samples or more, and --resume goes on.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the samples in --out, or learn from them anew.")
@compute_option
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of the choice of tasks.")
@click.option("--quick", is_flag=True, help="Few samples, to see it work; its predictions are poor.")
@machine_readable
def profile(
    *,
    out: Path,
    samples: int | None,
    held_out: int | None,
    passes: int | None,
    minutes: float | None,
    resume: bool,
    device: str,
    seed: int,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Measure training tasks on this machine and learn to predict memory and time of any other.

    Tasks are spread evenly over architectures, frame sizes, batch sizes, optimisers, precisions, single and mutual
    learning. A three-layer network learns from them; tasks of architectures kept out of training say how good it is,
    next to linear regression, gradient boosting and the analytic formula. About 25 minutes on a free core; every
    sample is kept at once. On a GPU (--device cuda) tasks are larger, times are the GPU's, and memory is all that a
    process takes of it. The file profile.safetensors is what `evolve` can start its predictions from.

    \b
    Examples:
      nestevo-hw profile --quick --out runs/profile-quick
      nestevo-hw profile --out runs/profile --minutes 15
      nestevo-hw profile --out runs/profile --resume
      nestevo-hw profile --device cuda --out runs/profile-gpu
    """
    import os

    # Torch's profiler, which knows the true peak of memory, announces itself on stderr otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch

    from nestevo_hw.base.compute import compute_device
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.studies.profile.collect import Collection, SampleFile, collect, outstanding, read_samples
    from nestevo_hw.studies.profile.output import learn_and_judge, write_profile

    torch.set_num_threads(1)
    plan = Collection(
        samples=samples or (24 if quick else 200), held_out=held_out or (8 if quick else 60),
        passes=passes or (1 if quick else 2), seed=seed, device=compute_device(device),
    )  # fmt: skip
    with one_writer(out, resume=resume):
        file = SampleFile(out, seed, resume=resume, device=plan.device)
        with progress_bar(outstanding(plan, file), "measuring tasks") as advance:
            done = collect(plan, file, budget_s=None if minutes is None else 60 * minutes, advance=advance)
        machine, found = read_samples(out)
        model, evaluation = learn_and_judge(found, machine, device=plan.device, seed=seed)
        document = write_profile(model, evaluation, out)
    if not as_json:
        _show(evaluation, out, done=done)
    return document


def _show(found: "Evaluation", out: Path, *, done: bool) -> None:
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.profile.page import errors_table

    goals = ", ".join(f"{name.replace('_', ' ')} {'reached' if ok else 'missed'}" for name, ok in found.goals().items())
    show(
        errors_table(found),
        f"90 % intervals hold {found.coverage_time:.0%} of the times and {found.coverage_memory:.0%} of the peaks",
        f"goals: {goals}",
        f"written to {out}: profile.safetensors, profile.json, report.html and pictures",
        *([] if done else ["time is up before all was measured; go on with --resume"]),
    )
