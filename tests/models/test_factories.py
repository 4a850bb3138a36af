import sys

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.zoo import open_model

SOURCE = """
def raises():
    raise RuntimeError("no [red]weights")

def helper():
    return 1 / 0

def divides():
    return helper()

def leaves():
    raise SystemExit(0)

def wants(size):
    return size
"""


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(SOURCE)
    (tmp_path / "own_broken.py").write_text("x = 1\ndef (")
    (tmp_path / "own_raising.py").write_text("\n\nraise RuntimeError('early')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("own_nets", "own_broken", "own_raising"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_nets:raises", r"failed in your code: RuntimeError: no \[red\]weights \(own_nets\.py, line 3\)"),
        ("own_nets:divides", r"failed in your code: ZeroDivisionError: .* \(own_nets\.py, line 6\)"),
        ("own_nets:leaves", r"failed in your code: SystemExit: 0 \(own_nets\.py, line 12\)"),
        ("own_nets:wants", r"could not be called: wants\(\) missing 1 required positional argument: 'size'"),
        ("own_nets:absent", r"cannot import 'absent' from module 'own_nets'"),
        ("own_broken:f", r"'own_broken' is not valid Python: .* \(own_broken\.py, line 2\)"),
        ("own_raising:f", r"'own_raising' cannot be imported: RuntimeError: early \(own_raising\.py, line 3\)"),
        ("..:f", r"cannot import 'f' from module '\.\.'"),
    ],
)
def test_whose_error_it_is_and_where(name, message):
    with pytest.raises(ConfigError, match=message):
        open_model(name)
