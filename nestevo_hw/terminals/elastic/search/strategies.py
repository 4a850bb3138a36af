"""The strategies by name, for whoever lets a user choose."""

from collections.abc import Mapping

from nestevo_hw.terminals.elastic.search.additive import ADDITIVE, REFINED
from nestevo_hw.terminals.elastic.search.baselines import Annealing, exhaustive, random_paths, uniform_pruning
from nestevo_hw.terminals.elastic.search.evolution import NEARBY, PLAIN
from nestevo_hw.terminals.elastic.search.problem import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    "refined": REFINED,
    "additive": ADDITIVE,
    "nearby": NEARBY,
    "evolution": PLAIN,
    "annealing": Annealing(),
    "random": random_paths,
    "uniform": uniform_pruning,
    "exhaustive": exhaustive,
}
