"""A folder in which a user's own files lie, found as Python finds those of the current folder."""

import sys
from pathlib import Path

import numpy as np
import pytest
import your_task_page as page

from nestevo_hw.tasks import named


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with nothing in it; modules of other tests' folders are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    before = set(sys.modules)
    named._own.cache_clear()
    yield tmp_path
    named._own.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def shown(here: Path) -> Path:
    """The page's files and the images that its commands read."""
    for name, text in page.files().items():
        (here / name).write_text(text, encoding="utf-8")
    page.folders(here / "images", *page.shapes(150, 0))
    page.folders(here / "south", *page.shapes(160, 1, bright=0.6))
    for name, count, bright in (("north", 160, 0.45), ("reference", 240, 1.0)):
        images, labels = page.shapes(count, count, bright=bright)
        np.savez(here / f"{name}.npz", x=images, y=labels)
    return here
