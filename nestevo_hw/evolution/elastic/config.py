"""Elastic terminals of a run: which supernet their models are paths of, how these are timed, found and chosen again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nestevo_hw.base.choices import one_of
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.terminals.elastic.search.run import EVALUATIONS
from nestevo_hw.terminals.elastic.search.strategies import STRATEGIES

SUPERNET, PARTS = "supernet.safetensors", "parts"
"""What of a built supernet's folder a run reads."""
SHARE_OF_BASE = Range(0.01, 1)
"""Latency budgets, as shares of the time that the base of the supernet takes."""
MEASURED, CPU_TIME, MODELLED = "measured", "cpu-time", "macs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticTerminalsConfig:
    """Terminals with a `latency_budget`: each runs a path through one supernet (docs/elastic.md)."""

    supernet: str | None = None
    """Folder that `nestevo-hw elastic build` made."""
    in_place_of_models: bool = False
    """Give every terminal, in place of its `model`, a path that takes no longer than that does."""
    latency: Annotated[str, one_of((MEASURED, CPU_TIME, MODELLED), suffix=".json")] = MEASURED
    """Where the times of branches come from: measured by the clock or in seconds of the CPU on this machine, once a
    run; macs: modelled as multiply-accumulates; or timing.json of an `elastic search` on the terminals' device."""
    strategy: Annotated[str, one_of(STRATEGIES)] = "refined"
    """Of the search before the first window (docs/elastic-search.md)."""
    evaluations: Annotated[int, EVALUATIONS] = 120
    """Paths whose accuracy that search may measure, for each budget."""
    frames: Annotated[int, Range(1, 10_000)] = 96
    """In-domain frames that it measures them on."""
    candidates: Annotated[int, Range(0, 1000)] = 5
    """Best paths of the pool that are scored again before and after each training, beside the best of each level of
    latency; 0: a terminal stays on the path that was found for it."""
    margin: Annotated[float, SHARE] = 0.02
    """By which another path must do better on labelled frames than the one in force, of the headline score."""

    @property
    def supernet_file(self) -> Path:
        """Base and branches as they were built."""
        return Path(self.supernet or "") / SUPERNET

    @property
    def parts_folder(self) -> Path:
        """ONNX files of the branches."""
        return Path(self.supernet or "") / PARTS
