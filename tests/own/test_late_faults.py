"""Code of the user's own that fails only while a task runs."""

import json

import pytest

from nestevo_hw.base.plugins import place_outside
from nestevo_hw.scheduler.calling import call

TASK = """
def fails(payload):
    raise ValueError("too many images")
"""


def test_the_line_of_somebodys_code_is_told(here, monkeypatch):
    monkeypatch.syspath_prepend(str(here))
    (here / "late_code.py").write_text(TASK)
    import late_code

    monkeypatch.setattr("nestevo_hw.base.text.one_line", late_code.fails)
    error = call("nestevo_hw.base.text:one_line", json.dumps({}))["error"]
    assert (error["type"], error["message"]) == ("ValueError", "too many images (in your code: late_code.py, line 3)")
    assert "late_code.py" in error["traceback"]


def test_an_error_of_a_library_or_of_this_package_has_no_place():
    error = call("nestevo_hw.base.text:one_line", "{}")["error"]
    assert "your code" not in error["message"]
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    library = caught.value.with_traceback(caught.tb.tb_next)
    assert place_outside(library) is None
