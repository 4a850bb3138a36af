"""What `evolve` tells while it runs, and how soon it tells what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from nestevo_hw.commands import progress
from nestevo_hw.commands.progress import progress_bar, telling


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    with telling("loading") as told:
        told.expect(3, "starting")
        for name in ("one", "two", "three"):
            told.advance(name)
            now_s[0] += 6.0
    assert capsys.readouterr().err.splitlines() == ["loading", "starting", "3 of at most 3: three"]


def test_other_bars_need_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(2, "first") as advance:
        advance("second")
    with telling("loading", lines=False):
        pass
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["file.toml"], None, "no file file.toml; write one with `nestevo-hw init file.toml`"),
        (["file.toml"], "seed = = 1", "file.toml is not valid TOML: Invalid value (at line 1, column 8)"),
        (["--preset", "nope"], None, "unknown preset 'nope'; choose from quick, digits, paper, paper-embedded"),
        (["--resume", "gone"], None, "no folder gone to go on in; leave --resume out, or correct the path"),
    ],
)
def test_what_needs_no_torch_to_be_refused_is_refused_without(
    arguments: list[str], text: str | None, said: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "file.toml").write_text(text)
    script = (
        "import sys; from nestevo_hw.cli import main\ntry:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "evolve", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"Error: {said}\n")
