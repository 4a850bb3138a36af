"""The one shell of all pages: a template and typed values become one HTML file without anything outside it."""

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from nestevo_hw.base.text import visible
from nestevo_hw.pages import formats
from nestevo_hw.pages.parts import ORIGINS
from nestevo_hw.pages.style import DARK, LIGHT, css_variables

_FILTERS = (
    "change", "counted", "duration", "interval", "memory", "metric_meaning", "metric_text", "percent", "score", "share",
    "signed",
)  # fmt: skip


def render(template: str, values: Mapping[str, object]) -> str:
    """The HTML of a page; every text among the values is shown as it is.

    Args:
        template: name of a file in templates/ that extends shell.html.
        values: what the template names; it may not name anything else.
    """
    return visible(_environment().get_template(template).render(values), lines=True)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nestevo_hw.pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals |= {
        "origins": ORIGINS, "dash": formats.DASH, "light": css_variables(LIGHT), "dark": css_variables(DARK),
    }  # fmt: skip
    environment.filters |= {name: getattr(formats, name) for name in _FILTERS}
    return environment
