"""The smallest set of layers to keep digital so that the score lost on the crossbar stays within a target."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.stats import Estimate, t_margin
from nestevo_hw.studies.sensitivity.measure import Losses, losses_of

Loss = Callable[[frozenset[str], int], Mapping[str, float]]
"""Score lost against the digital model, by scene, with these layers digital, in one programming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepDigitalPlan:
    """Which layers to keep digital, and what that was measured to cost."""

    layers: tuple[str, ...]
    """Names in the model's order; empty if everything may go onto the crossbar."""
    target: float
    """Score that may be lost, the same unit as the score."""
    reached: bool
    """Whether the mean loss is within the target in every scene with 95 % confidence (`upper_bound`)."""
    losses: Losses
    """Measured on fresh programmings, which took part in the search only if these made the plan grow."""
    weights: int
    """Weights kept digital."""
    total_weights: int
    """Weights that could go onto the crossbar."""
    reason: str
    """How the plan came about, for people to read."""

    @property
    def share(self) -> float:
        """Share of the crossbar's weights that is lost to it, 0 to 1."""
        return self.weights / self.total_weights

    @property
    def bound(self) -> float:
        """Below this lies the mean loss with 95 % confidence, in the scene where it is largest."""
        return upper_bound(self.losses)

    @property
    def arguments(self) -> str:
        """The plan as arguments of `nestevo-hw map`."""
        return " ".join(f"--keep-digital {shlex.quote(name)}" for name in self.layers)

    def document(self) -> dict[str, Any]:
        """The plan in the machine-readable report."""
        return {
            "keep_digital": list(self.layers),
            "arguments": self.arguments,
            "target_loss": self.target,
            "reached": self.reached,
            "weights_digital": self.weights,
            "weight_share_digital": self.share,
            "loss_bound95": self.bound,
            "loss": {scene: Estimate.of(values).document() for scene, values in self.losses.items()},
            "loss_by_programming": {scene: list(values) for scene, values in self.losses.items()},
            "reason": self.reason,
        }


def upper_bound(losses: Losses) -> float:
    """Below this lies the mean loss with 95 % confidence (one-sided, Student's t), where it is largest of all scenes.

    Raises:
        ValueError: fewer than two programmings.
    """
    return max(fmean(values) + t_margin(values, 0.95) for values in losses.values())


def find_plan(
    weights: Mapping[str, int],
    orders: Sequence[Sequence[str]],
    loss: Loss,
    *,
    target: float,
    repeats: int,
    thinned: bool = True,
) -> KeepDigitalPlan:
    """Search the set of layers with the fewest weights that keeps the loss within `target`.

    Each order is cut by bisection where the layers before the cut, kept digital, suffice; the cut that costs
    fewest weights is then thinned by returning layers to the crossbar, the largest first, until none can. Every
    candidate is really evaluated. Since a search prefers plans that were lucky, the plan is evaluated again on as
    many fresh programmings, and grows in the same way until these agree.

    Args:
        weights: number of weights of each layer that could go onto the crossbar, in the model's order.
        orders: one or more orders of all names, most worth keeping digital first.
        loss: evaluates a set of digital layers in one programming; deterministic.
        target: score that may be lost.
        repeats: programmings of the search, and again as many fresh ones.
        thinned: whether layers are returned to the crossbar one by one, an evaluation or more for each.

    Returns:
        The plan; at least one layer stays on the crossbar. If no plan was found, the best one-layer crossbar.

    Raises:
        ConfigError: a target below 0, fewer than two repeats, or an order that is no order of `weights`.
    """
    if not target >= 0:
        raise ConfigError(f"need a target loss of 0 or more, got {target}")
    if repeats < 2:
        raise ConfigError(f"need 2 repeats or more for an interval, got {repeats}")
    if not orders or any(sorted(order) != sorted(weights) for order in orders):
        raise ConfigError("every order must name each layer once")
    return _Search(weights, loss, target, repeats, thinned=thinned).run(orders)


class _Search:
    """Candidate plans on the programmings 0 to repeats - 1, the outcome on repeats to 2 repeats - 1."""

    def __init__(self, weights: Mapping[str, int], loss: Loss, target: float, repeats: int, *, thinned: bool) -> None:
        self._weights, self._loss, self._target, self._thinned = weights, loss, target, thinned
        self._seen, self._fresh = range(repeats), range(repeats, 2 * repeats)

    def run(self, orders: Sequence[Sequence[str]]) -> KeepDigitalPlan:
        nothing: frozenset[str] = frozenset()
        plan = nothing if self._within(nothing, self._seen) else self._grown(nothing, orders, self._seen)
        if plan is None:
            return self._unreachable()
        if self._within(plan, self._fresh):
            return self._plan(plan, reached=True, reason="fresh programmings agree with those of the search")
        larger = self._grown(plan, orders, self._fresh)
        if larger is None:
            return self._plan(plan, reached=False, reason="fresh programmings lose more than those of the search")
        why = f"fresh programmings lose more than those of the search, so layers were added to its {len(plan)}"
        return self._plan(larger, reached=True, reason=why)

    def _grown(
        self, base: frozenset[str], orders: Sequence[Sequence[str]], programmings: range
    ) -> frozenset[str] | None:
        """`base` with the cheapest further layers found that suffice; None if no layer may be analog at all."""
        cuts = [cut for order in orders if (cut := self._cut(base, order, programmings)) is not None]
        if not cuts:
            single = self._largest_alone(programmings)
            if single is None:
                return None
            cuts = [frozenset(self._weights) - {single}]
        plan = min(cuts, key=self._cost)
        return self._thinner(plan, base, programmings) if self._thinned else plan

    def _thinner(self, plan: frozenset[str], base: frozenset[str], programmings: range) -> frozenset[str]:
        """A plan from which no single layer beside `base` could go back to the crossbar.

        Errors of layers may cancel, so one that could not go back may once another one has.
        """
        before = None
        while plan != before:
            before = plan
            for name in sorted(before - base, key=self._largest_first):
                if self._within(plan - {name}, programmings):
                    plan -= {name}
        return plan

    def _within(self, digital: frozenset[str], programmings: range) -> bool:
        """Whether the loss is within the target with confidence."""
        sums: dict[str, float] = {}
        for programming in programmings:
            for scene, value in self._loss(digital, programming).items():
                sums[scene] = sums.get(scene, 0.0) + value
            # The bound could only be met by programmings to come that score far above the digital model.
            if max(sums.values()) > self._target * len(programmings):
                return False
        return upper_bound(losses_of(self._loss, digital, programmings)) <= self._target

    def _cut(self, base: frozenset[str], order: Sequence[str], programmings: range) -> frozenset[str] | None:
        """The shortest beginning of `order` that suffices beside `base`, by bisection; None if none does."""
        rest = [name for name in order if name not in base]
        low, high = 0, len(rest) - 1  # `low` layers are too few; one layer stays on the crossbar
        if not self._within(base | frozenset(rest[:high]), programmings):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._within(base | frozenset(rest[:middle]), programmings):
                high = middle
            else:
                low = middle
        return base | frozenset(rest[:high])

    def _largest_alone(self, programmings: range) -> str | None:
        """The layer with the most weights that may be on the crossbar alone."""
        everything = frozenset(self._weights)
        names = sorted(self._weights, key=self._largest_first)
        return next((name for name in names if self._within(everything - {name}, programmings)), None)

    def _largest_first(self, name: str) -> tuple[int, str]:
        return -self._weights[name], name

    def _unreachable(self) -> KeepDigitalPlan:
        everything = frozenset(self._weights)
        bounds = {name: upper_bound(losses_of(self._loss, everything - {name}, self._seen)) for name in self._weights}
        least = min(bounds, key=lambda name: bounds[name])
        why = (
            f"even {least} alone on the crossbar, the layer that loses least, is not shown to lose less than the target"
        )
        return self._plan(everything - {least}, reached=False, reason=why)

    def _plan(self, plan: frozenset[str], *, reached: bool, reason: str) -> KeepDigitalPlan:
        return KeepDigitalPlan(
            layers=tuple(name for name in self._weights if name in plan), target=self._target, reached=reached,
            losses=losses_of(self._loss, plan, self._fresh), weights=self._cost(plan),
            total_weights=sum(self._weights.values()), reason=reason,
        )  # fmt: skip

    def _cost(self, plan: frozenset[str]) -> int:
        return sum(self._weights[name] for name in plan)
