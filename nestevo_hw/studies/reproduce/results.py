"""What was found for each item: figures with their intervals, and whether the paper's claims hold here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nestevo_hw.base.stats import Estimate, or_none
from nestevo_hw.studies.compare.intervals import less_one, minus, ratio_of
from nestevo_hw.studies.reproduce.item import Claim, Item, Row, Unit

Verdict = Literal["agrees", "contradicts", "open", "not measured"]
Values = Mapping[str, Sequence[float]]
"""Of each key one a seed; NaN where a seed has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim with what was found."""

    claim: Claim
    apart: Estimate
    """By how much the one value is above the other, paired by seed; its margin is added."""
    unit: Unit = "score"

    @property
    def verdict(self) -> Verdict:
        """What our seeds say of it; with one seed its sign alone."""
        if not self.apart.known:
            return "not measured"
        low, high = self.apart.ci95 or (self.apart.mean, self.apart.mean)
        if low > 0.0:
            return "agrees"
        return "contradicts" if high < 0.0 else "open"

    @property
    def alone(self) -> bool:
        """Whether a single value speaks, so that others could speak otherwise."""
        return self.apart.known and self.apart.ci95 is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One item with everything measured for it."""

    item: Item
    values: Values

    def estimate(self, row: Row) -> Estimate:
        """Mean over seeds with its interval; of a relative change the ratio of the means less 1."""
        if row.borrowed or not set(row.keys) <= set(self.values):
            return Estimate()
        own = self.values[row.key]
        return less_one(ratio_of(own, self.values[row.over])) if row.over else Estimate.of(own)

    @property
    def rows(self) -> list[tuple[Row, Estimate]]:
        """Figures that are there, ours or borrowed."""
        both = [(row, self.estimate(row)) for row in self.item.rows]
        return [(row, estimate) for row, estimate in both if estimate.known or row.borrowed]

    @property
    def left_out(self) -> list[str]:
        """Figures that are not: left out by --quick, or undefined here."""
        known = {row.name for row, _ in self.rows}
        return [row.name for row in self.item.rows if row.name not in known]

    @property
    def judged(self) -> list[Judged]:
        """Every claim."""
        units = {row.key: row.unit for row in self.item.rows}
        return [
            Judged(claim=claim, apart=self._apart(claim), unit=units.get(claim.more, "score"))
            for claim in self.item.claims
        ]

    @property
    def against(self) -> list[str]:
        """What contradicts the paper: claims that do not hold here, and what the paper itself has wrong."""
        wrong = [
            f"not so here: {each.claim.text}" + (f" ({self.single})" if each.alone else "")
            for each in self.judged if each.verdict == "contradicts"
        ]  # fmt: skip
        return [*wrong, *self.item.doubts]

    @property
    def single(self) -> str:
        """What is to be known of a value that stands alone."""
        return "one value" if self.item.draws else "computed"

    def _apart(self, claim: Claim) -> Estimate:
        if not set(claim.keys) <= set(self.values):
            return Estimate()
        more = self.values[claim.more]
        less = self.values[claim.less] if claim.less else [0.0] * len(more)
        return Estimate.of([difference + claim.margin for difference in minus(more, less)])

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.item.name, "title": self.item.title, "paper": self.item.says, "how": self.item.how,
            "origin": self.item.origin,
            "figures": [
                {
                    "name": row.name, "unit": row.unit, **estimate.document(), "paper": row.paper,
                    "by_seed": [or_none(v) for v in self.values[row.key]] if estimate.known and not row.over else None,
                }
                for row, estimate in self.rows
            ],
            "claims": [
                {"claim": one.claim.text, "above_by": one.apart.value, "ci95": one.apart.bounds, "verdict": one.verdict}
                for one in self.judged
            ],
            "contradicts": self.against, "left_out": self.left_out, "not_reproduced": self.item.lacks,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """All items that were asked for."""

    found: tuple[Found, ...]
    seeds: tuple[int, ...]
    quick: bool
    device: str
    """That everything was computed on."""

    @property
    def draws(self) -> bool:
        """Whether other seeds may give other figures."""
        return any(each.item.draws for each in self.found)

    def count(self, verdict: Verdict) -> int:
        """Claims of this verdict."""
        return sum(one.verdict == verdict for each in self.found for one in each.judged)

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {
            "seeds": list(self.seeds), "quick": self.quick, "device": self.device,
            "claims": {v: self.count(v) for v in ("agrees", "contradicts", "open", "not measured")},
            "items": [each.document() for each in self.found],
        }  # fmt: skip
