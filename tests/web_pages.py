"""A page as a reader gets it: well-formed, self-contained, and its text with that of its charts."""

import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link", "input", "hr"}


class WebPage(HTMLParser):
    """Checks that every element is closed in order; collects text and what the page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        """Where figures come from, as the page says beside them."""
        self._text: list[str] = []
        self._in_label = False
        self.feed(html)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        """All text but that of the style sheet, each stretch of blanks as one."""
        return re.sub(r"\s+", " ", " ".join(self._text))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data", "poster") and v]
        if tag not in VOID:
            self.open.append(tag)
        self._in_label = ("class", "label") in attrs

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self._text.append(data)
        if self._in_label and data.strip():
            self.labels.append(data)
            self._in_label = False


def read_page(path: Path) -> WebPage:
    """The page in a file, which must load nothing from outside."""
    page = WebPage(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    return page
