"""Colours of all pages and pictures, light and dark, and figures that follow the reader's theme."""

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import replacing, write_text
from nestevo_hw.base.text import visible

FONT = "DejaVu Sans"
"""Ships with matplotlib and is wider than most, so text laid out with it fits in other fonts."""
SMALL = 9.0
"""Size of tick labels, points."""
_DPI, _KEY_ROW_IN, _EDGE_IN = 160, 0.2, 0.05


Place = Literal["outside upper left", "upper right"]


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
    prepare: str
    measure: str
    describe: str
    relate: str
    reference: str
    sense: str
    adapt: str
    inspect: str
    choose: str
    drift: str
    select: str
    rank: str
    recall: str
    maximise: str
    beside: str
    timing: str
    search: str
    path: str
    repath: str
    other: str


LIGHT = Palette(
    ink="#16202c", muted="#566374", grid="#e3e8ee", surface="#ffffff", band="#f2f5f9",
    before="#c05a0b", after="#0b7a75", teacher="#6a3fc8", alarm="#c62f3b",
    upload="#93a1b3", label="#7a4fd6", generator="#d99a14", mutual="#2f6fdb", aggregate="#c03d8f",
    program="#8a5a33", distil="#1c9a63", export="#23a3c4", evaluate="#66758a",
    prepare="#f898f8", measure="#f87878", describe="#085808", reference="#98c848", sense="#980828", adapt="#683870",
    inspect="#a090f0", choose="#204888", drift="#50d0b0", select="#888808", recall="#b07088", maximise="#f0c8a0",
    beside="#404808", timing="#a8d0f8", search="#e8d838", path="#005070", repath="#f07040", relate="#586830",
    rank="#580818", other="#b0b8c2",
)  # fmt: skip
DARK = Palette(
    ink="#e6ebf1", muted="#9aa7b6", grid="#2a3441", surface="#161c24", band="#1d2530",
    before="#f0964a", after="#3cc9bf", teacher="#ab8cff", alarm="#ff6f78",
    upload="#7c8a9c", label="#a585ff", generator="#f0bb4a", mutual="#6aa2ff", aggregate="#ee7cc3",
    program="#c9976a", distil="#4fcf95", export="#56cbe8", evaluate="#8e9db1",
    prepare="#980828", measure="#085808", describe="#2840a8", reference="#883090", sense="#805810", adapt="#305060",
    inspect="#689008", choose="#d85858", drift="#088870", select="#0878b8", recall="#905870", maximise="#703818",
    beside="#c8d8a0", timing="#284868", search="#a89020", path="#b04888", repath="#f8d0d8", relate="#80a0a0",
    rank="#580858", other="#5c6875",
)  # fmt: skip
ROLES = tuple(f.name for f in fields(Palette))
THEMED = Palette(**{role: f"#01{i:02x}fe" for i, role in enumerate(ROLES)})
"""Stand-ins that `inline_svg` turns into the page's CSS variables; not to be looked at."""


LINES: Mapping[str, Any] = {"line": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 2))}
"""Line styles by shape of a mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An entry of a key, in a figure or on a page."""

    text: str
    colour: str
    """Name of a Palette attribute."""
    shape: Literal["dot", "ring", "bar", "line", "dashed", "dotted"] = "bar"


def css_variables(palette: Palette) -> str:
    """The palette as declarations of CSS variables, one a role."""
    return " ".join(f"--{role}: {getattr(palette, role)};" for role in ROLES)


def colour_of(palette: Palette, name: str) -> str:
    """Colour of a role; that of `other` for a name that is no role."""
    return str(getattr(palette, name if name in ROLES else "other"))


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


def name_rows(axes: Axes, names: Sequence[str], *, least: int = 0, top: float = -0.6) -> None:
    """Rows of horizontal bars with their names, the first on top; room for at least `least` of them."""
    axes.set_yticks(range(len(names)), [visible(name) for name in names])
    axes.set_ylim(max(len(names), least) - 0.4, top)


def compare_on_logarithms(
    axes: Axes, ends: tuple[float, float], palette: Palette, *, band: tuple[float, float]
) -> None:
    """Two logarithmic axes of one quantity, the line on which both are equal, and a band around it.

    Args:
        axes: to draw on.
        ends: of both axes, above 0.
        palette: of the figure.
        band: its lower and upper edge, as factors of what lies on the x axis.
    """
    low, high = ([edge * end for end in ends] for edge in band)
    axes.plot(ends, ends, color=palette.muted, lw=1.0, zorder=2)
    axes.fill_between(ends, low, high, color=palette.band, zorder=1)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        # A range within one decade has no major tick of its own: label a few minor ones instead.
        axis.set_major_locator(LogLocator(subs=(1.0,) if ends[1] / ends[0] > 100 else (1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def inline_svg(figure: Figure) -> Markup:
    """A figure drawn in THEMED colours as an <svg> element whose colours and font are the page's; texts are escaped."""
    svg = _svg(figure)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for role in ROLES:
        svg = svg.replace(str(getattr(THEMED, role)), f"var(--{role})")
    return Markup(svg)


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
        better = path.with_suffix(".png") if path.name else "a name that ends in .png"
        raise ConfigError(f"pictures are PNG files; give {better} instead of {path}")
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    with replacing(path) as temporary, _plain_text(figure):
        canvas.print_png(str(temporary), metadata={"Software": None})  # type: ignore[no-untyped-call]


def legend(
    figure: Figure | SubFigure, marks: Sequence[Mark], palette: Palette, *, columns: int, title: str = "",
    loc: Place = "outside upper left",
) -> None:  # fmt: skip
    """A key outside the axes below a title, for which the figure grows; a page has keys of its own, so none there.

    It has as many of the columns as fit into the figure, which grows wider where not even one does.
    """
    if palette is THEMED or not (marks or title):
        return
    columns = min(columns, max(1, len(marks)))
    key = _key(figure, marks, palette, columns, title, loc)
    if isinstance(figure, Figure):
        while columns > 1 and _overhang_in(figure, key) > 0.0:
            key.remove()
            columns -= 1
            key = _key(figure, marks, palette, columns, title, loc)
        figure.set_figwidth(figure.get_figwidth() + max(0.0, _overhang_in(figure, key)))
        figure.set_figheight(figure.get_figheight() + _KEY_ROW_IN * (bool(title) + math.ceil(len(marks) / columns)))


def _key(
    figure: Figure | SubFigure, marks: Sequence[Mark], palette: Palette, columns: int, title: str, loc: Place
) -> Legend:
    key = figure.legend(
        handles=[_handle(mark, palette) for mark in marks], loc=loc, ncols=columns, frameon=False, fontsize=SMALL,
        labelcolor=palette.muted, handlelength=1.4, handleheight=0.9, columnspacing=1.4, borderpad=0.2,
        title=title or None, alignment="left",
    )  # fmt: skip
    key.get_title().set(size=SMALL + 2, color=palette.ink, family=FONT)
    for text in (key.get_title(), *key.get_texts()):
        text.set_fontfamily(FONT)
        text.set_parse_math(False)
    return key


def _overhang_in(figure: Figure, key: Legend) -> float:
    """How much wider than its figure a key is, inches; below 0 where it fits."""
    canvas = FigureCanvasAgg(figure)
    width = key.get_window_extent(canvas.get_renderer()).width  # type: ignore[no-untyped-call]
    return float(width / figure.dpi + 2 * _EDGE_IN - figure.get_figwidth())


def _handle(mark: Mark, palette: Palette) -> Artist:
    colour = colour_of(palette, mark.colour)
    if mark.shape == "bar":
        return Patch(color=colour, label=mark.text)
    if mark.shape in ("dot", "ring"):
        face = colour if mark.shape == "dot" else "none"
        return Line2D([], [], ls="", marker="o", ms=6.5, markerfacecolor=face, markeredgecolor=colour, label=mark.text)
    return Line2D([], [], color=colour, lw=1.8, ls=LINES[mark.shape], label=mark.text)


@contextmanager
def _plain_text(figure: Figure) -> Iterator[None]:
    """Draw names as they are, not as formulas or control characters; the font may lack some, without a warning."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(visible(text.get_text(), lines=True))
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ", category=UserWarning)
        yield


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    # Text as text and fixed ids: smaller files that are equal for equal runs.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nestevo-hw"}), _plain_text(figure):
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return visible(buffer.getvalue().decode(), lines=True)
