"""A whole terminal against a whole server, in one process: all that they say to one another."""

import hashlib
import itertools
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from conversation import digits, remote_config, talking
from PIL import Image

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.locking import one_writer
from nestevo_hw.commands.terminal import terminal
from nestevo_hw.models.onnx.manifest import MODEL
from nestevo_hw.server.tokens import VIEWER
from nestevo_hw.streams.images import read_image
from nestevo_hw.terminals.config import TerminalSettings
from nestevo_hw.terminals.link import AbsentError, Address, Link, RefusedError
from nestevo_hw.terminals.source import jpeg, open_source
from nestevo_hw.terminals.terminal import Terminal
from nestevo_hw.wire.documents import Outcome


def settings(folder: Path, **changes: object) -> TerminalSettings:
    return TerminalSettings(
        name="gate", folder=folder, **{"every_frames": 1, "judged_frames": 8, "poll_s": 0.05} | changes
    )


def linked(talk, folder, transport=None) -> Link:
    return Link(Address(url=talk.url, name="gate", token=talk.tokens["gate"]), folder / "downloads", transport)


def turn(terminal: Terminal, frames: int = 0, first: int = 0) -> None:
    """Some frames, and one turn with the server in which everything is due."""
    for frame in digits(frames, first):
        terminal.take(frame)
    terminal._hello_at = 0.0
    terminal.turn()


@pytest.fixture
def talk(tmp_path):
    with talking(tmp_path / "state", remote_config()) as found:
        yield found


def test_a_terminal_from_its_first_frame_to_its_next_model(talk, tmp_path, models):
    told = []
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link, told.append)
        turn(terminal, 4)
        assert terminal.version is None
        assert talk.served.store.terminal("gate").waiting == 4
        talk.served.shelf.publish("gate", models["first"])
        turn(terminal)
        assert terminal.version == hashlib.sha256((models["first"] / MODEL).read_bytes()).hexdigest()
        turn(terminal, 8, first=4)
        assert terminal.tally.objects > 5
        seen = talk.served.store.terminal("gate")
        assert (seen.runs, seen.outcome.result, seen.asked_s) == (terminal.version, "installed", None)
        talk.served.shelf.publish("gate", models["next"])
        turn(terminal)
        turn(terminal)
    after = talk.served.store.terminal("gate")
    assert after.runs == terminal.version == hashlib.sha256((models["next"] / MODEL).read_bytes()).hexdigest()
    assert list((talk.state / "models" / "gate" / terminal.version).glob("from-*.delta"))
    assert told[0].startswith("no model yet")
    assert [line.split(",")[1] for line in told[1:]] == [" the first model", " of window 0"]
    assert (terminal.tally.sent, after.received) == (12, 12)


def test_a_bad_model_is_rolled_back_told_and_not_fetched_again(talk, tmp_path, models):
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link)
        talk.served.shelf.publish("gate", models["first"])
        turn(terminal, 8)
        good = terminal.version
        talk.served.shelf.publish("gate", models["spoiled"])
        turn(terminal, 8)
        for _ in range(2):
            turn(terminal)
    known = talk.served.store.terminal("gate")
    assert (terminal.version, terminal.tally.rolled_back, known.rolled_back) == (good, 1, 1)
    assert (known.outcome.result, known.outcome.runs, known.offered == good) == ("rolled-back", good, False)
    assert "of what the old model is sure of" in known.outcome.reason
    page = httpx.get(talk.url, auth=("", talk.tokens[VIEWER]))
    assert "1: it finds" in page.text
    assert page.headers["refresh"] == "15"


def test_a_roll_back_while_the_server_is_told_of_the_model_is_told_as_well(tmp_path):
    """The camera's thread may find out that a model fails while that of the link reports it as installed."""
    version, said = "b" * 64, []

    class Server:
        """Stands in for the link: during its first report the model fails on a frame."""

        def outcome(self, outcome):
            said.append(outcome.result)
            if outcome.result == "installed":
                terminal._roll_back(version, "the model fails on a frame")

        def hello(self, _version):
            raise AbsentError("no answer")

    terminal = Terminal(settings(tmp_path / "gate"), Server())
    terminal._say(Outcome(version=version, result="installed", runs=version))
    for _ in range(2):
        with pytest.raises(AbsentError):
            terminal.turn()
    assert (said, terminal._known.unsaid) == (["installed", "rolled-back"], None)


def test_the_only_model_that_fails_on_frames_is_told_once_and_stays(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    told = []
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link, told.append)
        turn(terminal, 2)
        version = terminal.version
        for _ in range(3):
            terminal._roll_back(version, "no such frames")
        turn(terminal)
    assert [line for line in told if "no such frames" in line] == ["the only model there is fails: no such frames"]
    assert (terminal.version, terminal.tally.rolled_back) == (version, 0)
    assert talk.served.store.terminal("gate").outcome.result == "installed"


def test_what_cannot_be_written_down_does_not_end_the_camera(tmp_path):
    told = []
    terminal = Terminal(settings(tmp_path / "gate"), None, told.append)
    terminal._known_path.mkdir(parents=True)  # like a full disk: nothing can be written there
    terminal._say(Outcome(version="b" * 64, result="rolled-back", runs=None))
    assert terminal._known.unsaid.version == "b" * 64
    assert "cannot write" in told[0]


def test_it_asks_when_its_model_no_longer_agrees_with_itself_and_once(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link)
        turn(terminal, 2)
        turn(terminal, 8)
        turn(terminal, 8)
        assert terminal.tally.asked == 0
        for _ in range(3):
            for frame in digits(8):
                terminal.take((frame // 6 + 110).astype(np.uint8))
            turn(terminal)
    asked = talk.served.store.terminal("gate")
    assert terminal.tally.asked == 1
    assert asked.estimate.remains < 0.9


def test_what_is_known_outlasts_the_process(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link)
        turn(terminal, 2)
        turn(terminal, 8)
        again = Terminal(settings(tmp_path / "gate"), link)
        assert again.version == terminal.version
        assert again._known == terminal._known
        assert again._known.signals is not None


def test_a_terminal_with_a_wrong_token_says_so_once_and_ends_with_its_frames(talk, tmp_path):
    told = []
    address = Address(url=talk.url, name="gate", token=talk.tokens["belt"])
    with Link(address, tmp_path / "downloads") as link:
        terminal = Terminal(settings(tmp_path / "gate", patience_s=0.05), link, told.append)
        begun, asked_s, hello = time.monotonic(), [], link.hello
        third = threading.Event()

        def counted(version):
            asked_s.append(time.monotonic() - begun)
            if len(asked_s) == 3:
                third.set()
            return hello(version)

        link.hello = counted

        def frames():
            yield from digits(3)
            assert third.wait(20)

        with pytest.raises(RefusedError, match="not the token of terminal 'gate'"):
            terminal.run(frames())
    assert asked_s[2] - asked_s[0] > 2 * 0.05 * 0.9  # it waits before it asks again
    assert told == [told[0]]
    assert "not the token of terminal 'gate'" in told[0]


def test_the_clock_of_ask_every_begins_with_the_first_model(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate", ask_every_s=3600.0), link)
        turn(terminal, 4)
        turn(terminal)
        assert terminal.version is not None
        assert terminal.tally.asked == 0


def test_an_outcome_of_a_model_that_was_never_offered_is_refused(talk):
    with talk.client() as client:
        told = {"version": "a" * 64, "result": "rolled-back", "runs": None, "reason": "made up"}
        assert client.post("/terminals/gate/outcome", json=told).status_code == 404
    assert talk.served.store.terminal("gate").outcome is None


def test_an_outcome_that_was_not_heard_is_told_later(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    silent = True

    class Cut(httpx.HTTPTransport):
        def handle_request(self, request):
            if silent and request.url.path.endswith("/outcome"):
                raise httpx.ReadError("cut")
            return super().handle_request(request)

    with linked(talk, tmp_path, Cut()) as link:
        turn(Terminal(settings(tmp_path / "gate"), link), 2)
        with pytest.raises(AbsentError):
            turn(Terminal(settings(tmp_path / "gate"), link))
        silent = False
        turn(Terminal(settings(tmp_path / "gate"), link))
    assert talk.served.store.terminal("gate").outcome.result == "installed"


def test_a_download_that_was_cut_off_goes_on_where_it_was(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    content, asked = (models["first"] / MODEL).read_bytes(), []

    class Cutting(httpx.HTTPTransport):
        def handle_request(self, request):
            answer = super().handle_request(request)
            if request.url.path.endswith(MODEL):
                asked.append(request.headers.get("range"))
                if len(asked) < 3:
                    body = answer.stream

                    def cut():
                        yield from itertools.islice((part[:5000] for part in body), 1)
                        raise httpx.ReadError("cut")

                    return httpx.Response(answer.status_code, headers=answer.headers, content=cut())
            return answer

    with linked(talk, tmp_path, Cutting()) as link:
        offer = link.hello(None).offer
        for _ in range(2):
            with pytest.raises(AbsentError):
                link.fetch(offer, None)
        model, _ = link.fetch(offer, None)
    assert model == content
    assert asked == [None, "bytes=5000-", "bytes=10000-"]


def test_a_spoiled_delta_gives_the_whole_model(talk, tmp_path, models):
    for name in ("first", "next"):
        talk.served.shelf.publish("gate", models[name])
    old = (models["first"] / MODEL).read_bytes()
    with linked(talk, tmp_path) as link:
        offer = link.hello(None).offer
        assert (
            link.fetch(offer, (hashlib.sha256(old).hexdigest(), b"not what it was"))[0]
            == (models["next"] / MODEL).read_bytes()
        )


def test_frames_are_kept_while_the_server_is_away_and_sent_when_it_is_back(tmp_path, models):
    address = Address(url="http://127.0.0.1:9", name="gate", token="a")
    with Link(address, tmp_path / "d") as link:
        terminal = Terminal(settings(tmp_path / "gate", spool_frames=5, patience_s=0.01), link)
        terminal.run(digits(8))
    assert (terminal.tally.frames, terminal.tally.sent) == (8, 0)
    with talking(tmp_path / "state", remote_config()) as talk, linked(talk, tmp_path) as link:
        turn(Terminal(settings(tmp_path / "gate"), link))
        assert talk.served.store.terminal("gate").waiting == 5


def test_no_more_is_sent_than_the_budget(talk, tmp_path):
    size = max(len(jpeg(frame)) for frame in digits(20))
    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate", budget_mb=5.5 * size / 1e6, period_s=1e6), link)
        turn(terminal, 20)
    assert terminal.tally.sent in (5, 6, 7)
    assert terminal.tally.sent_bytes <= 5.5 * size + 1


def test_it_runs_by_itself_until_its_frames_end(talk, tmp_path, models):
    talk.served.shelf.publish("gate", models["first"])
    deadline = time.monotonic() + 60

    def frames():
        while terminal.version is None or terminal.tally.objects < 3:
            assert time.monotonic() < deadline
            yield from digits(1)

    with linked(talk, tmp_path) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link)
        terminal.run(frames())
    assert terminal.tally.installed == 1
    assert talk.served.store.terminal("gate").received == terminal.tally.sent > 0


def test_a_frame_larger_than_the_server_takes_is_told_and_not_begun(tmp_path):
    asked, told = [], []

    class Heard(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.method)
            return super().handle_request(request)

    limits = {"frame_mb": 0.0005}
    with talking(tmp_path / "state", remote_config(), **limits) as talk, linked(talk, tmp_path, Heard()) as link:
        terminal = Terminal(settings(tmp_path / "gate"), link, told.append)
        turn(terminal, 2)
    assert (terminal.tally.refused, terminal.tally.sent, set(asked)) == (2, 0, {"POST"})
    assert told[-1].endswith("a frame may have 0.0005 MB; send smaller ones, or raise frame_mb of the server")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_terminal_talks_to_the_server_whose_certificate_it_trusts(tmp_path):
    told = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=a"
    made = [*told.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    files = {"certfile": str(tmp_path / "cert.pem"), "keyfile": str(tmp_path / "key.pem")}
    with talking(tmp_path / "state", remote_config(), **files) as talk:
        url, token = f"https://127.0.0.1:{talk.port}", talk.tokens["gate"]
        with Link(Address(url=url, name="gate", token=token, ca=tmp_path / "cert.pem"), tmp_path) as link:
            assert link.hello(None).wanted_frames == 24
        with Link(Address(url=url, name="gate", token=token), tmp_path) as link, pytest.raises(AbsentError) as refused:
            link.hello(None)
    assert "certificate verify failed" in str(refused.value)
    files["keyfile"] = str(tmp_path / "no.pem")
    with pytest.raises(ConfigError, match="cannot use"), talking(tmp_path / "other", remote_config(), **files):
        pass


def test_a_token_is_not_sent_over_a_network_in_the_open():
    with pytest.raises(ConfigError, match="in the open"):
        Address(url="http://192.0.2.1:8650", name="gate", token="a")
    with pytest.raises(ConfigError, match="need an address"):
        Address(url="server:8650", name="gate", token="a")
    Address(url="http://192.0.2.1", name="gate", token="a", plain_http=True)


@pytest.mark.parametrize("url", ["http://[", "http://a b", "https://\x1b", "http://a:99999", "http://a/" + "b" * 10**5])
def test_what_is_no_address_is_one_short_line(url):
    with pytest.raises(ConfigError, match="such as https://server:8650") as refused:
        Address(url=url, name="gate", token="a")
    assert len(str(refused.value)) < 400
    with pytest.raises(ConfigError, match=r"name: got '\.\./x'"):
        Address(url="https://a", name="../x", token="a")


@pytest.mark.parametrize(
    ("token", "source", "code", "reason"),
    [
        ("a", "none.mp4", 2, "no source none.mp4"),
        ("a", "token", 1, "source token cannot be read"),
        ("", ".", 1, "token holds no token"),
        ("a\0b", ".", 1, "token holds no token"),
    ],
)
def test_a_terminal_that_cannot_work_leaves_no_folder(tmp_path, monkeypatch, token, source, code, reason):
    monkeypatch.chdir(tmp_path)
    Path("token").write_text(token)
    words = ("http://127.0.0.1:9", "--name", "gate", "--token-file", "token", "--source", source)
    refused = CliRunner().invoke(terminal, words)
    assert (refused.exit_code, [path.name for path in tmp_path.iterdir()]) == (code, ["token"])
    assert refused.stderr.startswith(f"Error: {reason}")


def test_a_terminal_whose_folder_is_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("token").write_text("a")
    Image.fromarray(digits(1)[0]).save("a.png")
    with one_writer(Path("held")):
        words = ("http://127.0.0.1:9", "--name", "gate", "--token-file", "token", "--source", ".", "--folder", "held")
        refused = CliRunner().invoke(terminal, words)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: held is in use: process ")


def test_a_jpeg_is_the_frame(tmp_path):
    frame = digits(1)[0]
    (tmp_path / "a.jpg").write_bytes(jpeg(frame))
    (read,) = open_source(str(tmp_path), pace=False, loop=False)
    assert read.shape == frame.shape
    assert np.abs(read.astype(int) - frame).mean() < 4


def test_images_come_in_the_order_in_which_the_loop_reads_them(tmp_path):
    for number in (10, 9, 1):
        Image.new("RGB", (32, 32), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    read = [int(frame[0, 0, 0]) for frame in open_source(str(tmp_path), pace=False, loop=False)]
    assert read == [20, 180, 200]


def test_frames_are_upright_as_the_server_reads_them(tmp_path):
    wide = Image.fromarray(np.repeat(digits(1)[0], 2, axis=1))
    exif = wide.getexif()
    exif[0x0112] = 6
    wide.save(tmp_path / "phone.jpg", exif=exif)
    (frame,) = open_source(str(tmp_path), pace=False, loop=False)
    assert frame.shape == read_image(tmp_path / "phone.jpg").shape == (64, 32, 3)


def test_sources_that_show_nothing_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    for source, reason in (
        (tmp_path / "empty", "no frames"),
        (tmp_path / "text.mp4", "cannot be read"),
        (tmp_path / "no", "no source"),
    ):
        with pytest.raises(InputError, match=reason):
            list(open_source(str(source), pace=False, loop=True))
