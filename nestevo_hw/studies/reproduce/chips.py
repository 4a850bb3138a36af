"""The paper's detector on ISAAC and on its GPU (table 6)."""

from nestevo_hw.crossbar.chips.chip_file import load_chip, load_reference
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.estimates import PAPER_FRAMES, PAPER_SIZE
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.studies.opening import open_layers
from nestevo_hw.studies.reproduce.effort import Effort


def chips(_effort: Effort, _seed: int) -> dict[str, float]:
    """Time of the frames of table 6 by the model of docs/costs.md, and what the printed figures leave out."""
    chip, model = load_chip("isaac"), open_layers("fasterrcnn-resnet50-fpn").model
    report, workload = map_model(model), count_workload(model, PAPER_SIZE)
    cost = chip_cost(report, workload, chip, frames=PAPER_FRAMES)
    enough = chip_cost(report, workload, chip, frames=PAPER_FRAMES, chips=cost.chips_needed)
    reference = load_reference()
    return {
        "isaac/frame": cost.interval_s * 1e3, "isaac/total": cost.total_s, "isaac/first": cost.first_frame_s,
        "isaac/peak": cost.operations / (chip.peak_tops * 1e12) * 1e3, "isaac/chips": cost.chips_needed,
        "isaac/enough": enough.total_s, "work": 2 * workload.macs / 1e9, "gpu/frame": reference.frame_s * 1e3,
        "gpu/total": reference.load_s + PAPER_FRAMES * reference.frame_s,
    }  # fmt: skip
