"""The Python of the pages runs as it is printed."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "your-model.md"


def test_the_curve_of_the_page():
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in lines.splitlines() if line and "import" not in line]) <= 20
    found, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(lines, str(PAGE), "exec"), found)
    curve = {when: sum(each) / len(each) for when, each in found["curve"].items()}
    assert list(curve) == ["digital", "0 d", "1 d", "30 d", "365 d"]
    assert curve["digital"] > 0.85
    assert 0.5 < curve["365 d"] <= curve["0 d"] + 0.02
    assert len(printed.getvalue().splitlines()) == 5
