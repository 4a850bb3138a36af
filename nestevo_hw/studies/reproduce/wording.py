"""Figures, claims and conclusions of a reproduction as people read them."""

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.formats import DASH, counted, percent, score
from nestevo_hw.pages.parts import Pill, Tone
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.reproduce.item import Row, Unit
from nestevo_hw.studies.reproduce.results import Found, Judged, Reproduction, Verdict

_DIGITS: dict[Unit, str] = {"s": "{:.3g} s", "ms": "{:.3g} ms", "GB": "{:.2f} GB", "GFLOP": "{:.3g} GFLOP",
                            "nats": "{:.3g}", "number": "{:.3g}"}  # fmt: skip
_APART: dict[Unit, str] = {unit: form.replace("{:", "{:+") for unit, form in _DIGITS.items()}
_COUNTED: dict[Verdict, str] = {
    "agrees": "hold here", "contradicts": "do not", "open": "are open", "not measured": "were not measured",
}  # fmt: skip
_TONES: dict[Verdict, Tone] = {"agrees": "good", "contradicts": "bad", "open": "wait", "not measured": ""}


def figure_text(row: Row, value: float | None) -> str:
    """A figure in its unit; a dash where there is none."""
    if value is None:
        return DASH
    if row.unit == "score":
        return score(value)
    if row.unit == "share":
        return percent(value)
    return _DIGITS[row.unit].format(value)


def interval_text(row: Row, estimate: Estimate) -> str:
    """Its interval; a dash where there is none."""
    if estimate.ci95 is None:
        return DASH
    return " to ".join(figure_text(row, end) for end in estimate.ci95)


def figures_table(found: Found) -> Table:
    """Ours beside the paper's, with the label of every figure."""
    rows = [
        (row.name, figure_text(row, estimate.value), interval_text(row, estimate), figure_text(row, row.paper),
         DASH if row.borrowed else found.item.origin)
        for row, estimate in found.rows
    ]  # fmt: skip
    item = found.item
    return Table(heads=("figure", "ours", "95 % interval", "paper", "ours are"), rows=rows,
                 title=f"{item.heading}: {item.title}")  # fmt: skip


def claims_table(found: Found) -> Table:
    """What the paper claims in an item, and what is so here."""
    rows = [(one.claim.text, apart_text(one), verdict_pill(one, found.single)) for one in found.judged]
    return Table(heads=("the paper's claim", "here above by", "here"), rows=rows)


def apart_text(judged: Judged) -> str:
    """By how much the one value is above the other, with its interval."""
    apart, margin, form = judged.apart, judged.claim.margin, _APART.get(judged.unit, "{:+.3f}")
    if not apart.known:
        return DASH
    shown = form.format(apart.mean - margin)
    if apart.ci95 is None:
        return shown
    return f"{shown} [{', '.join(form.format(end - margin) for end in apart.ci95)}]"


def verdict_pill(judged: Judged, single: str) -> Pill:
    """Whether a claim holds here; `single` says what one value alone is."""
    text = judged.verdict + (f", {single}" if judged.alone else "")
    return Pill(text=text, tone=_TONES[judged.verdict])


def left_out_text(found: Found) -> str:
    """Which figures of the paper have none of ours; empty where all have one."""
    return f"not run, or not defined here: {', '.join(found.left_out)}" if found.left_out else ""


def item_lines(found: Found) -> list[str]:
    """What stands below an item's table on the console."""
    item = found.item
    lines = [f"the paper: {item.says}", f"ours: {item.how}"]
    lines += [
        f"{each.claim.text}: {verdict_pill(each, found.single).text} ({apart_text(each)})" for each in found.judged
    ]
    lines += [f"contradicts the paper: {line}" for line in found.against]
    lines += [f"not reproduced: {item.lacks}"] if item.lacks else []
    return [*lines, left_out_text(found)] if found.left_out else lines


def conclusion(found: Reproduction) -> str:
    """The whole in a sentence."""
    claims = sum(len(each.judged) for each in found.found)
    if not claims:
        return f"{counted(len(found.found), 'item')} of the paper; none of them claims what could be judged."
    told = ", ".join(f"{found.count(v)} {text}" for v, text in _COUNTED.items() if found.count(v))
    doubts = sum(len(each.item.doubts) for each in found.found)
    beside = f" Beside that, {counted(doubts, 'doubt')} about the paper, said with each item." if doubts else ""
    return f"Claims of the paper, {claims} in {counted(len(found.found), 'item')}: {told}.{beside}"


def caution(found: Reproduction) -> str:
    """What must be known before a figure is quoted; empty where nothing must."""
    if not found.draws:
        return ""
    if len(found.seeds) == 1:
        many = "A quick impression: one" if found.quick else "One"
        return f"{many} seed, so no figure has an interval, and other seeds may well come out otherwise."
    return "A quick impression: short runs on few frames." if found.quick else ""
