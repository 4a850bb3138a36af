"""What a configuration of a server may say, and the commands that read it."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.base.errors import ConfigError, NestEvoError, OutputError
from nestevo_hw.base.files import replacing, write_secret
from nestevo_hw.base.locking import one_writer
from nestevo_hw.commands.evolve import evolve
from nestevo_hw.commands.serve import serve
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_config, load_preset, parse_config
from nestevo_hw.server.config import ServeConfig, load_serve_config
from nestevo_hw.server.serve import check_server
from nestevo_hw.server.serve import serve as run_server
from nestevo_hw.server.tokens import TOKENS, Tokens, new_token

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve.toml"


def test_the_example_is_a_server_of_two_cameras():
    run, limits = load_serve_config(EXAMPLE)
    assert run.remote == ["campus", "village"]
    assert check_run(run) == {}
    assert (limits.least_frames, limits.host, run.execution.keep_windows) == (24, "127.0.0.1", 4)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "server.example"])
def test_a_server_that_others_reach_needs_tls(host):
    with pytest.raises(ConfigError, match="tokens would travel in the open"):
        ServeConfig(host=host)
    assert ServeConfig(host=host, plain_http=True).host == host
    assert ServeConfig(host=host, certfile="a", keyfile="b").host == host
    with pytest.raises(ConfigError, match="both certfile and keyfile"):
        ServeConfig(certfile="a")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_this_machine_alone_needs_none(host):
    assert ServeConfig(host=host).certfile is None


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"place": "campus"}, "give either place, video, data or remote"),
        ({"drift": [{"window": 0, "kind": "night", "strength": 0.5}]}, "leave them out of a remote one"),
        ({"start_frame": 3}, "leave them out of a remote one"),
        ({"labels": "a.json"}, "labels and class_map are of a video"),
    ],
)
def test_a_remote_terminal_has_no_stream(extra, reason):
    terminal = {"name": "campus", "model": "fasterrcnn-tiny-m1", "remote": True} | extra
    with pytest.raises(ConfigError, match=reason):
        parse_config(load_preset("quick").document() | {"terminals": [terminal]}, source="test")


def test_a_run_of_streams_refuses_remote_terminals_and_a_server_those_without(tmp_path):
    (tmp_path / "a.toml").write_text('[[terminals]]\nname = "a"\nmodel = "fasterrcnn-tiny-m1"\nremote = true\n')
    done = CliRunner().invoke(evolve, [str(tmp_path / "a.toml"), "--out", str(tmp_path / "run")])
    assert (done.exit_code, (tmp_path / "run").exists()) == (2, False)
    assert "its frames arrive at `nestevo-hw serve`" in done.output
    (tmp_path / "b.toml").write_text('[[terminals]]\nname = "a"\nmodel = "fasterrcnn-tiny-m1"\nplace = "campus"\n')
    with pytest.raises(ConfigError, match="no terminal is remote"):
        load_serve_config(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_text((tmp_path / "a.toml").read_text() + "[serve]\nprot = 1\n")
    with pytest.raises(ConfigError, match=r"serve: prot"):
        load_serve_config(tmp_path / "c.toml")


def test_a_server_is_checked_before_it_serves(tmp_path):
    state = str(tmp_path / "state")
    done = CliRunner().invoke(serve, [str(EXAMPLE), "--state", state, "--check", "--port", "0", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["terminals"] == 2
    assert [line.split(" ")[0] for line in told["warnings"] if "no token" in line] == ["campus", "village", "@status"]
    assert not (tmp_path / "state").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = [str(EXAMPLE), "--state", state, "--check", "--port", str(taken.getsockname()[1])]
        done = CliRunner().invoke(serve, words)
        served = CliRunner().invoke(serve, [word for word in words if word != "--check"])
    for each in (done, served):
        assert each.exit_code == 1
        assert "cannot listen on" in each.output
    assert not (tmp_path / "state").exists()
    run, limits = load_serve_config(EXAMPLE)
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot use"):
        check_server(run, replace(limits, port=0, certfile=str(tmp_path / "no.pem"), keyfile="no"), tmp_path)


def test_what_a_server_could_never_do_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no terminal could ever take part"):
        ServeConfig(inbox_frames=10, least_frames=20)
    text = EXAMPLE.read_text().replace("[execution]", '[execution]\nexecutor = "ray"')
    (tmp_path / "ray.toml").write_text(text)
    with pytest.raises(ConfigError, match="runs its tasks on this machine"):
        load_serve_config(tmp_path / "ray.toml")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("serve", "is of a server ([serve]); run or check it by"),
        ("regime", "is a grid ([[axes]]); run it by `nestevo-hw compare --grid"),
        ("regime-detection", "is a grid ([[axes]])"),
        ("reram-table", "is of a device ([conductance]); give it to --analog"),
    ],
)
def test_other_files_given_to_evolve_are_told_where_they_belong(name, told):
    done = CliRunner().invoke(evolve, [str(EXAMPLE.with_stem(name)), "--check"])
    assert done.exit_code == 2
    assert told in done.output
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config(EXAMPLE.with_stem(name))


def test_a_token_is_written_for_its_owner_alone(tmp_path):
    state = str(tmp_path / "state")
    words = [str(EXAMPLE), "--state", state, "--new-token", "campus"]
    done = CliRunner().invoke(serve, [*words, "--to", str(tmp_path / "token")])
    text = f"Wrote the token of campus to {tmp_path / 'token'}; its owner alone can read it\n"
    assert (done.exit_code, done.output) == (0, text)
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert Tokens(tmp_path / "state").are_of("campus", (tmp_path / "token").read_text().strip())
    shown = json.loads(CliRunner().invoke(serve, [*words, "--json"]).output)
    assert Tokens(tmp_path / "state").are_of("campus", shown["token"])
    refused = CliRunner().invoke(serve, [str(EXAMPLE), "--state", state, "--new-token", "nobody"])
    assert refused.exit_code == 2
    assert "choose from campus, village, @status" in refused.output


def test_a_token_is_not_written_over_anything_else(tmp_path):
    words = [str(EXAMPLE), "--state", str(tmp_path / "state"), "--new-token", "campus", "--to"]
    (tmp_path / "mine.txt").write_text("precious")
    refused = CliRunner().invoke(serve, [*words, str(tmp_path / "mine.txt")])
    assert refused.exit_code == 2
    assert "holds something else than a token" in refused.output
    assert (tmp_path / "mine.txt").read_text() == "precious"
    lost = CliRunner().invoke(serve, [*words, str(tmp_path / "none" / "t")])
    assert (lost.exit_code, (tmp_path / "none").exists()) == (2, False)
    assert not (tmp_path / "state").exists()
    first = CliRunner().invoke(serve, [*words, str(tmp_path / "t")])
    again = CliRunner().invoke(serve, [*words, str(tmp_path / "t")])
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "the token that campus had no longer holds" in again.output
    assert "no longer" not in first.output


def test_a_damaged_token_file_opens_and_closes_nothing(tmp_path):
    CliRunner().invoke(
        serve, [str(EXAMPLE), "--state", str(tmp_path), "--new-token", "campus", "--to", str(tmp_path / "t")]
    )
    tokens, token = Tokens(tmp_path), (tmp_path / "t").read_text().strip()
    assert tokens.are_of("campus", token)
    (tmp_path / "tokens.json").write_text("{")
    assert tokens.are_of("campus", token)
    assert not tokens.are_of("village", token)
    assert not tokens.are_of("campus", "\udcff")


def test_a_token_that_cannot_be_written_does_not_replace_the_one_in_force(tmp_path):
    words = [str(EXAMPLE), "--state", str(tmp_path / "state"), "--new-token", "campus", "--to"]
    assert CliRunner().invoke(serve, [*words, str(tmp_path / "token")]).exit_code == 0
    token = (tmp_path / "token").read_text().strip()
    assert CliRunner().invoke(serve, [*words, "/proc/no-file-can-be-made-here"]).exit_code == 1
    assert Tokens(tmp_path / "state").are_of("campus", token)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "digits-cnn-m1"}, "expected a Faster R-CNN"),
        ({"model": "none"}, "none"),
        ({"remote": "yes"}, "remote: input should be a valid boolean"),
    ],
)
def test_a_server_that_cannot_run_is_refused_before_anything_is_written(tmp_path, changes, reason):
    terminal = {"name": "campus", "model": "fasterrcnn-tiny-m1", "remote": True} | changes
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in terminal.items())
    (tmp_path / "a.toml").write_text(f"[[terminals]]\n{lines}\n")
    with pytest.raises(NestEvoError, match=reason):
        run_server(*load_serve_config(tmp_path / "a.toml"), tmp_path / "state")
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


def test_a_folder_of_something_else_or_in_use_is_no_state(tmp_path):
    (tmp_path / "mine.txt").touch()
    run, limits = load_serve_config(EXAMPLE)
    with pytest.raises(ConfigError, match="holds something else than a server's state"):
        run_server(run, limits, tmp_path)
    with pytest.raises(ConfigError, match="holds something else than a server's state"):
        new_token(tmp_path, "campus")
    with one_writer(tmp_path / "held"), pytest.raises(ConfigError, match="held is in use: process"):
        run_server(run, limits, tmp_path / "held")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_tokens_that_are_made_at_once_are_all_kept(tmp_path):
    names = [f"camera{number}" for number in range(16)]
    with replacing(tmp_path / "state" / "tokens.json") as unfinished:  # as when another one has begun
        unfinished.touch()
        first = new_token(tmp_path / "state", names[0])
        unfinished.write_text((tmp_path / "state" / "tokens.json").read_text())
    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(names[1:], pool.map(lambda name: new_token(tmp_path / "state", name), names[1:]), strict=True))
    made[names[0]] = first
    tokens = Tokens(tmp_path / "state")
    assert all(tokens.are_of(name, token) for name, token in made.items())


def test_a_token_that_the_server_cannot_keep_is_in_no_file(tmp_path, monkeypatch):
    state, file = tmp_path / "state", tmp_path / "token"
    first = new_token(state, "campus", to=file)

    def full(path, text):
        if path.name == TOKENS:
            raise OutputError("no room")
        write_secret(path, text)

    monkeypatch.setattr("nestevo_hw.server.tokens.write_secret", full)
    with pytest.raises(OutputError):
        new_token(state, "campus", to=file)
    assert file.read_text().strip() == first
    assert Tokens(state).are_of("campus", first)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["token"]
