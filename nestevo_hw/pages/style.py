"""Colours of the report, light and dark, and figures that follow the reader's theme."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import replacing, write_text

FONT = "DejaVu Sans"
"""Ships with matplotlib and is wider than most, so text laid out with it fits in other fonts."""
SMALL = 9.0
"""Size of tick labels, points."""
_DPI = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours by their role, "#rrggbb"."""

    ink: str
    muted: str
    grid: str
    surface: str
    band: str
    """Background of a stretch with changed conditions."""
    before: str
    after: str
    teacher: str
    alarm: str
    upload: str
    label: str
    generator: str
    mutual: str
    aggregate: str
    program: str
    distil: str
    export: str
    evaluate: str
    other: str


LIGHT = Palette(
    ink="#16202c", muted="#566374", grid="#e3e8ee", surface="#ffffff", band="#f2f5f9",
    before="#c05a0b", after="#0b7a75", teacher="#6a3fc8", alarm="#c62f3b",
    upload="#93a1b3", label="#7a4fd6", generator="#d99a14", mutual="#2f6fdb", aggregate="#c03d8f",
    program="#8a5a33", distil="#1c9a63", export="#23a3c4", evaluate="#66758a", other="#b0b8c2",
)  # fmt: skip
DARK = Palette(
    ink="#e6ebf1", muted="#9aa7b6", grid="#2a3441", surface="#161c24", band="#1d2530",
    before="#f0964a", after="#3cc9bf", teacher="#ab8cff", alarm="#ff6f78",
    upload="#7c8a9c", label="#a585ff", generator="#f0bb4a", mutual="#6aa2ff", aggregate="#ee7cc3",
    program="#c9976a", distil="#4fcf95", export="#56cbe8", evaluate="#8e9db1", other="#5c6875",
)  # fmt: skip
ROLES = tuple(f.name for f in fields(Palette))
KIND_ROLES = {
    "capture": "upload",
    "judge": "program",
    "generate": "generator",
    "merge": "aggregate",
    "relabel": "teacher",
    "profile": "muted",
}
"""Roles of kinds of task that have no role of their own name."""
THEMED = Palette(**{role: f"#01{i:02x}fe" for i, role in enumerate(ROLES)})
"""Stand-ins that `inline_svg` turns into the page's CSS variables; not to be looked at."""


def css_variables(palette: Palette) -> str:
    """The palette as declarations of CSS variables, one a role."""
    return " ".join(f"--{role}: {getattr(palette, role)};" for role in ROLES)


def kind_colour(palette: Palette, kind: str) -> str:
    """Colour of a kind of task; kinds that do the same share one."""
    return str(getattr(palette, KIND_ROLES.get(kind, kind if kind in ROLES else "other")))


def new_figure(width_in: float, height_in: float, palette: Palette) -> Figure:
    """An empty figure; without pyplot, so nothing outlives it."""
    return Figure(figsize=(width_in, height_in), facecolor=palette.surface, layout="constrained")


def dress(axes: Axes, palette: Palette, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Quiet axes: no box, thin grid lines behind the data, muted labels."""
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.grid)
    axes.tick_params(colors=palette.muted, labelsize=SMALL, length=0, which="both", labelfontfamily=FONT)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(palette.muted)
        label.set_fontsize(SMALL)
        label.set_fontfamily(FONT)
    axes.grid(axis=grid, color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def inline_svg(figure: Figure, description: str) -> str:
    """A figure drawn in THEMED colours as an <svg> element whose colours and font are the page's.

    Args:
        figure: the figure; drawn, but not changed.
        description: what it shows, for readers who cannot see it, plain text.
    """
    svg = _svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for role in ROLES:
        svg = svg.replace(str(getattr(THEMED, role)), f"var(--{role})")
    opening = f'<svg role="img" aria-label="{escape(description)}"'
    return svg.replace("<svg", opening, 1)


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as an SVG file of its own."""
    write_text(path, _svg(figure))


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        ConfigError: the name does not end in .png.
        OutputError: the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(f"pictures are PNG files; give {path.with_suffix('.png')} instead of {path}")
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        canvas.print_png(str(temporary), metadata={"Software": None})  # type: ignore[no-untyped-call]


def legend(figure: Figure, handles: Sequence[Patch], palette: Palette, *, columns: int) -> None:
    """A legend above the axes; nothing where there is nothing to explain."""
    if handles:
        figure.legend(
            handles=list(handles), loc="outside upper left", ncols=columns,
            frameon=False, fontsize=SMALL, labelcolor=palette.muted, handlelength=1.0, handleheight=0.9,
            columnspacing=1.4, borderpad=0.2,
        )  # fmt: skip


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    # Text as text and fixed ids: smaller files that are equal for equal runs.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nestevo-hw"}):
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue().decode()
