"""What works for months says what happens, and not each minute that it is at work."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from nestevo_hw.commands.pulse import pulse_of_command
from nestevo_hw.commands.serve import serve
from nestevo_hw.commands.terminal import terminal


def test_a_terminal_at_work_has_no_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("token").write_text("a")
    Image.new("RGB", (8, 8)).save("a.png")
    over = list[bool]()
    monkeypatch.setattr(
        "nestevo_hw.terminals.terminal.Terminal.run", lambda *_: over.append(pulse_of_command()._over.is_set())
    )
    words = ("http://127.0.0.1:9", "--name", "gate", "--token-file", "token", "--source", ".")
    assert CliRunner().invoke(terminal, words).exit_code == 0
    assert over == [True]


def test_a_server_has_none_from_when_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = list[bool]()

    def served(*_, on_start, **__) -> None:
        over.append(pulse_of_command()._over.is_set())
        on_start(1)
        over.append(pulse_of_command()._over.is_set())

    monkeypatch.setattr("nestevo_hw.server.serve.serve", served)
    monkeypatch.setattr("nestevo_hw.commands.serve.ServerProcess", nullcontext)
    example = Path(__file__).parents[2] / "examples" / "serve.toml"
    done = CliRunner().invoke(serve, (str(example), "--state", str(tmp_path / "state")))
    assert done.exit_code == 0, done.output
    assert over == [False, True]
