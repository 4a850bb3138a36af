"""Figures over seeds with 95 % intervals: ratios of means, and differences of ratios.

Every seed is one independent draw of streams, noise and training. Values of different methods at the same seed share
their frames, so differences and ratios are formed within a seed first.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from nestevo_hw.base.stats import Estimate, student_t, t_margin


def minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Differences within each seed.

    Raises:
        ValueError: unequal numbers of seeds.
    """
    return [a - b for a, b in zip(first, second, strict=True)]


def ratio_of(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Ratio of two means over the same seeds, with Fieller's interval.

    The interval holds every ratio r for which the t-interval of numerator - r * denominator over the seeds covers zero.
    For normal pairs its coverage is exact at any number of seeds (Fieller, J. R. Stat. Soc. B 16, 1954), which neither
    the delta method nor a bootstrap of five seeds can say. It is unbounded where the seeds cannot tell the denominator
    from zero; then there is no interval here.

    Args:
        numerators: one a seed; NaN leaves the seed out.
        denominators: of the same seeds.

    Returns:
        Not defined (NaN) where the mean denominator is not positive.

    Raises:
        ValueError: unequal numbers of seeds.
    """
    pairs = [(x, y) for x, y in zip(numerators, denominators, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if not pairs:
        return Estimate()
    x, y = fmean(p[0] for p in pairs), fmean(p[1] for p in pairs)
    if y <= 0.0:
        return Estimate()
    n = len(pairs)
    if n < 2:
        return Estimate(mean=x / y)
    scale = student_t(0.975, n - 1) ** 2 / (n * (n - 1))
    xx = scale * sum((a - x) ** 2 for a, _ in pairs)
    yy = scale * sum((b - y) ** 2 for _, b in pairs)
    xy = scale * sum((a - x) * (b - y) for a, b in pairs)
    # Roots of r^2 (y^2 - yy) - 2 r (x y - xy) + (x^2 - xx) = 0.
    square, linear, constant = y * y - yy, x * y - xy, x * x - xx
    if square <= 0.0:
        return Estimate(mean=x / y)
    spread = math.sqrt(max(linear * linear - square * constant, 0.0))
    return Estimate(mean=x / y, ci95=((linear - spread) / square, (linear + spread) / square))


def difference_of_ratios(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]]
) -> Estimate:
    """Difference of two ratios of means over the same seeds.

    The interval is that of the mean of the seeds' linearised differences by Student's t (delta method): good where the
    denominators vary little over seeds, as accuracies do.

    Args:
        first: numerators and denominators, one a seed.
        second: the same of what is subtracted.
    """
    seeds = zip(*first, *second, strict=True)
    kept = [values for values in seeds if all(math.isfinite(v) for v in values)]
    if not kept:
        return Estimate()
    a, b, c, d = (fmean(column) for column in zip(*kept, strict=True))
    if min(b, d) <= 0.0:
        return Estimate()
    gap, n = a / b - c / d, len(kept)
    if n < 2:
        return Estimate(mean=gap)
    influence = [(p - a / b * q) / b - (r - c / d * s) / d for p, q, r, s in kept]
    half = t_margin(influence, 0.975)
    return Estimate(mean=gap, ci95=(gap - half, gap + half))


def less_one(ratio: Estimate) -> Estimate:
    """A ratio as a relative change."""
    bounds = None if ratio.ci95 is None else (ratio.ci95[0] - 1, ratio.ci95[1] - 1)
    return Estimate(mean=ratio.mean - 1, ci95=bounds)
