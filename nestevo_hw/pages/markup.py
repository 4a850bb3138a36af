"""Pieces of HTML the page is made of. Arguments called text are plain and escaped here; the rest is HTML."""

from collections.abc import Sequence
from html import escape


def _label(name: str, why: str) -> str:
    return f'<span class="label" title="{why}">{name}</span>'


MEASURED = _label("measured", "observed on this machine in this run")
SIMULATED = _label("simulated", "the crossbar's devices are noise models, not a chip")
MODELLED = _label("modelled", "computed from a stated formula, not observed")


def heading(text: str, label: str = "") -> str:
    """Title of a section, with where its figures come from."""
    return f"<h2>{escape(text)} {label}</h2>"


def note(text: str, label: str = "") -> str:
    """A sentence or two that explain what follows."""
    return f'<p class="note">{escape(text)} {label}</p>'


def tile(text: str, label: str, value: str, hint_text: str) -> str:
    """One main figure."""
    return (
        f'<div class="tile"><div class="name"><span>{escape(text)}</span><span>{label}</span></div>'
        f'<div class="value">{value}</div><div class="hint">{escape(hint_text)}</div></div>'
    )


def pill(text: str, tone: str = "") -> str:
    """A short state; tone is good, bad, wait or empty."""
    return f'<span class="pill {tone}">{escape(text)}</span>'


def card(content: str, caption_text: str = "") -> str:
    """Content of any width on a card, scrolled where it does not fit."""
    caption = f"<figcaption>{escape(caption_text)}</figcaption>" if caption_text else ""
    return f'<figure class="card"><div class="scroll">{content}</div>{caption}</figure>'


def cards(contents: Sequence[str], *, pairwise: bool = False) -> str:
    """Cards side by side: three where there is room, or two."""
    return f'<div class="cards{" pairwise" if pairwise else ""}">{"".join(contents)}</div>'


def wide(content: str, width_px: int) -> str:
    """Content that is scrolled rather than made narrower than `width_px`."""
    return f'<div class="wide" style="min-width:{width_px}px">{content}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, all plain texts."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """A key: (shape, colour role, text) of each mark; shapes are dot, ring, bar and line."""
    items = "".join(
        f'<li><i class="{shape}" style="--mark:var(--{role})"></i>{escape(text)}</li>' for shape, role, text in entries
    )
    return f'<ul class="key">{items}</ul>'
