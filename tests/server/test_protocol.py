"""What a server answers, to terminals as they should be and to hostile ones."""

import asyncio
import hashlib
import json
import os
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conversation import NAMES, digest, picture, remote_config, talking

from nestevo_hw.server import inboxes
from nestevo_hw.server.inboxes import Sent
from nestevo_hw.server.limits import LimitError, Strangers
from nestevo_hw.server.tokens import VIEWER, new_token
from nestevo_hw.wire.delta import apply_delta


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    with talking(
        tmp_path_factory.mktemp("server") / "state", remote_config(), inbox_frames=5, least_frames=5, frame_mb=0.2
    ) as found:
        yield found


def kept(talk, name="gate"):
    return sorted(p.name for p in talk.served.inboxes.folder(name).glob("*"))


def test_a_server_says_that_it_is_there_and_describes_itself(talk):
    assert httpx.get(f"{talk.url}/health").json()["status"] == "ok"
    paths = httpx.get(f"{talk.url}/openapi.json").json()["paths"]
    assert {"/terminals/{name}/frames/{frame}", "/terminals/{name}/models/{version}/delta", "/api/status"} <= set(paths)


@pytest.mark.parametrize(
    ("path", "who"),
    [("/terminals/gate/hello", "belt"), ("/terminals/nobody/hello", "gate"), ("/terminals/@status/hello", VIEWER)],
)
def test_a_token_opens_its_own_terminal_alone(talk, path, who):
    with talk.client(who) as client:
        assert client.post(path, json={}).status_code == 401
    assert httpx.post(f"{talk.url}{path}", json={}).status_code == 401


def test_the_status_needs_its_own_token(talk):
    for path in ("/api/status", "/"):
        assert httpx.get(talk.url + path).status_code == 401
        assert httpx.get(talk.url + path, headers={"authorization": f"Bearer {talk.tokens['gate']}"}).status_code == 401
        assert httpx.get(talk.url + path, auth=("anyone", talk.tokens[VIEWER])).status_code == 200
    status = httpx.get(f"{talk.url}/api/status", auth=("", talk.tokens[VIEWER])).json()
    assert [t["name"] for t in status["terminals"]] == list(NAMES)
    page = httpx.get(talk.url, auth=("", talk.tokens[VIEWER])).text
    assert all(name in page for name in NAMES)
    assert "<script" not in page


def test_a_new_token_is_taken_at_once_and_the_old_one_is_not(talk):
    old = talk.tokens["belt"]
    talk.tokens["belt"] = new_token(talk.state, "belt")
    assert (talk.state / "tokens.json").stat().st_mode & 0o077 == 0
    assert talk.tokens["belt"] not in (talk.state / "tokens.json").read_text()
    with talk.client("belt") as client:
        assert client.post("/terminals/belt/hello", json={}).status_code == 200
        assert (
            client.post("/terminals/belt/hello", headers={"authorization": f"Bearer {old}"}, json={}).status_code == 401
        )


def test_a_frame_sent_again_is_kept_once_and_another_of_its_name_is_refused(talk):
    with talk.client() as client:
        assert talk.put(client, "again", picture(1)).status_code == 201
        assert talk.put(client, "again", picture(1)).status_code == 200
        refused = talk.put(client, "again", picture(2))
    assert refused.status_code == 409
    assert "give this one another name" in refused.json()["error"]
    assert kept(talk).count("again.jpg") == 1


def test_the_same_frame_sent_many_times_at_once_is_kept_once(talk):
    def send(_: int) -> int:
        with talk.client() as client:
            return talk.put(client, "rush", picture(3)).status_code

    before = talk.served.store.terminal("gate").received
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(send, range(8)))
    assert codes.count(201) == 1
    assert set(codes) <= {200, 201, 429}
    assert talk.served.store.terminal("gate").received == before + 1


def test_a_full_inbox_drops_the_oldest_and_still_knows_it(talk):
    with talk.client("belt") as client:
        for number in range(8):
            assert talk.put(client, f"f{number}", picture(number), "belt").status_code == 201
        assert kept(talk, "belt") == [f"f{number}.jpg" for number in range(3, 8)]
        assert talk.put(client, "f0", picture(0), "belt").status_code == 200
    terminal = talk.served.store.terminal("belt")
    assert (terminal.waiting, terminal.dropped, terminal.received) == (5, 3, 8)


def test_a_frame_sent_again_is_read_to_its_end_as_its_sender_hears_no_answer_before(talk):
    content, read = picture(9), []

    async def chunks():
        for part in (content, b""):
            yield part
            read.append(part)

    sent = Sent(id="again", sha256=hashlib.sha256(content).hexdigest(), taken_s=1.0)
    assert asyncio.run(talk.served.inboxes.receive("belt", sent, chunks()))
    assert not asyncio.run(talk.served.inboxes.receive("belt", sent, chunks()))
    assert read == [content, b""] * 2


@pytest.mark.parametrize(
    ("frame", "content", "status"),
    [
        ("noise", os.urandom(500), 415),
        ("empty", b"", 415),
        ("half", picture(5)[:20], 415),
        ("gif", picture(5, "GIF"), 415),
        ("large", picture(5, "PNG", (400, 400)), 413),
        ("..%2f..%2fout", picture(5), 404),
        ("a.b", picture(5), 422),
        ("%00", picture(5), 422),
        ("x" * 200, picture(5), 422),
    ],
)
def test_what_is_no_frame_leaves_nothing(talk, frame, content, status):
    before = kept(talk)
    with talk.client() as client:
        answer = talk.put(client, frame, content)
    assert answer.status_code == status, answer.text
    assert status != 413 or "raise frame_mb of the server" in answer.text
    assert kept(talk) == before


@pytest.mark.parametrize("side", [6000, 60_000])
def test_a_picture_of_absurd_size_is_refused_by_its_head(talk, side):
    png = bytearray(picture(1, "PNG"))
    png[16:24] = side.to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4, "big")
    with talk.client() as client:
        answer = talk.put(client, "bomb", bytes(png))
    assert answer.status_code == 415
    assert "pixels" in answer.json()["error"]


def test_a_frame_that_is_not_what_its_digest_says_is_refused(talk):
    with talk.client() as client:
        answer = talk.put(client, "damaged", picture(6), **digest(picture(7)))
        assert answer.status_code == 400  # not 415, on which a terminal gives a frame up
        assert talk.put(client, "damaged", picture(6), **{"content-digest": "md5=:x:"}).status_code == 422
        assert client.put("/terminals/gate/frames/damaged?taken_s=1", content=picture(6)).status_code == 422
        assert client.put("/terminals/gate/frames/a?taken_s=nan", content=b"", headers=digest(b"")).status_code == 422


def test_a_frame_without_a_length_or_too_long_for_one_is_refused(talk):
    with talk.client() as client:
        stream = client.put("/terminals/gate/frames/a?taken_s=1", content=iter([b"x"]), headers=digest(b"x"))
        assert stream.status_code == 411
        many = iter([b"x" * 100_000] * 5)
        assert client.post("/terminals/gate/hello", content=many).status_code == 413
        assert client.post("/terminals/gate/hello", content=b"x" * 100_000).status_code == 413


@pytest.mark.parametrize(
    "document",
    [
        {"runs": "../../etc"}, {"runs": 5}, {"tool": "x" * 1000}, [], "hello", {"runs": "A" * 64},
    ],
)  # fmt: skip
def test_a_document_of_another_kind_is_refused_in_one_line(talk, document):
    with talk.client() as client:
        answer = client.post("/terminals/gate/hello", json=document)
    assert answer.status_code == 422
    assert "\n" not in answer.json()["error"]


def test_an_estimate_has_to_be_one(talk):
    estimate = {"remains": 0.5, "agreement": 0.4, "confidence": 0.3}
    with talk.client() as client:
        for wrong in ({"remains": 2}, {"agreement": -1}, {"confidence": "nan"}):
            assert client.post("/terminals/gate/evolution", json={"estimate": estimate | wrong}).status_code == 422
        assert client.post("/terminals/gate/evolution", json={"estimate": estimate}).status_code == 202
    assert talk.served.store.terminal("gate").estimate.remains == 0.5


def test_a_full_disk_is_told_and_leaves_nothing(talk, monkeypatch):
    async def full(path, chunks):
        path.write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    before = kept(talk)
    monkeypatch.setattr(inboxes, "_written", full)
    with talk.client() as client:
        answer = talk.put(client, "full", picture(9))
    assert (answer.status_code, answer.headers["retry-after"]) == (507, "60")
    assert kept(talk) == before
    monkeypatch.undo()
    with talk.client() as client:
        assert talk.put(client, "full", picture(9)).status_code == 201


def test_a_store_that_cannot_grow_is_told_and_stays_whole(tmp_path):
    with talking(tmp_path / "state", remote_config()) as talk, talk.client() as client:
        assert talk.put(client, "before", picture(1)).status_code == 201
        (pages,) = talk.served.store._db.execute("PRAGMA page_count").fetchone()
        talk.served.store._db.execute(f"PRAGMA max_page_count = {pages}")
        codes = [talk.put(client, f"{number}-{'x' * 100}", picture(number)).status_code for number in range(60)]
        assert set(codes) == {201, 507}
        assert codes[-1] == 507
        talk.served.store._db.execute("PRAGMA max_page_count = 100000")
        assert talk.put(client, "after", picture(2)).status_code == 201
        assert talk.served.store.terminal("gate").waiting == codes.count(201) + 2
        talk.served.inboxes.clear("gate")
        assert len(kept(talk)) == codes.count(201) + 2


def test_models_come_whole_in_parts_and_as_differences(talk, models):
    for name in ("first", "next"):
        talk.served.shelf.publish("gate", models[name])
    old, new = ((models[name] / "model.onnx").read_bytes() for name in ("first", "next"))
    version = hashlib.sha256(new).hexdigest()
    with talk.client() as client:
        offer = client.post("/terminals/gate/hello", json={}).json()["offer"]
        assert offer == {"version": version, "window": 0, "file_bytes": len(new)}
        base = f"/terminals/gate/models/{version}"
        manifest = client.get(f"{base}/manifest.json")
        assert manifest.json()["sha256"] == {"model.onnx": version}
        whole = client.get(f"{base}/model.onnx")
        assert whole.content == new
        assert client.get(f"{base}/model.onnx", headers={"if-none-match": whole.headers["etag"]}).status_code == 304
        part = client.get(f"{base}/model.onnx", headers={"range": "bytes=1000-", "if-range": f'"{version}"'})
        assert (part.status_code, part.content) == (206, new[1000:])
        package = client.get(f"{base}/delta", params={"old": hashlib.sha256(old).hexdigest()})
        assert apply_delta(old, package.content) == new
        assert len(package.content) < 0.9 * len(new)
        assert client.get(f"{base}/delta", params={"old": "0" * 64}).status_code == 404
        assert client.get(f"/terminals/gate/models/{'0' * 64}/model.onnx").status_code == 404
        assert client.get("/terminals/gate/models/..%2f..%2fbelt/model.onnx").status_code == 404
    with talk.client("belt") as client:
        assert client.get(f"/terminals/belt/models/{version}/model.onnx").status_code == 404


def test_wrong_tokens_have_to_wait_and_right_ones_do_not(tmp_path):
    with talking(tmp_path / "state", remote_config()) as talk, talk.client() as client:
        wrong = {"authorization": "Bearer no"}
        codes = [client.post("/terminals/gate/hello", headers=wrong, json={}).status_code for _ in range(30)]
        assert codes[:20] == [401] * 20
        assert codes[-1] == 429
        assert client.post("/terminals/gate/hello", json={}).status_code == 200
        status = client.get("/api/status", headers={"authorization": f"Bearer {talk.tokens[VIEWER]}"})
        assert status.json()["strangers"] == 30
    now_s = [0.0]
    strangers = Strangers(lambda: now_s[0])
    for _ in range(21):
        with pytest.raises(LimitError) as refused:
            strangers.refuse("a", "no")
    assert (refused.value.status, refused.value.refusal.retry_s) == (429, pytest.approx(5.0))
    now_s[0] += 5.0
    for address in ("a", "b"):
        with pytest.raises(LimitError) as refused:
            strangers.refuse(address, "no")
        assert refused.value.status == 401


@pytest.mark.parametrize("path", ["/nothing", "/terminals/gate/hello"])
def test_what_the_framework_refuses_is_told_in_the_same_form(talk, path):
    with talk.client() as client:
        answer = client.post(path, content=b"[" * 60_000, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 404, 422)
    assert set(answer.json()) == {"error", "retry_s"}


def test_who_asks_too_often_waits_and_others_do_not(tmp_path):
    with talking(tmp_path / "state", remote_config(), requests_per_s=0.5) as talk, talk.client() as client:
        codes = [client.post("/terminals/gate/hello", json={}).status_code for _ in range(12)]
        assert codes.count(200) in (5, 6)
        refused = client.post("/terminals/gate/hello", json={})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        with talk.client("belt") as other:
            assert other.post("/terminals/belt/hello", json={}).status_code == 200
        assert talk.served.store.terminal("gate").refused >= 6


def test_who_sends_too_much_within_an_hour_waits(tmp_path):
    content = picture(1, "PNG", (100, 100))
    with talking(tmp_path / "state", remote_config(), mb_per_hour=0.05) as talk, talk.client() as client:
        assert talk.put(client, "a", content).status_code == 201
        assert talk.put(client, "b", content).status_code == 429


def test_connections_that_say_nothing_or_stop_half_way_end(tmp_path):
    with talking(tmp_path / "state", remote_config(), head_s=0.3, body_s=0.3, connections_per_address=8) as talk:
        silent, half, stuck = opened = [socket.create_connection(("127.0.0.1", talk.port)) for _ in range(3)]
        half.sendall(b"POST /terminals/gate/hello HTTP/1.1\r\nHost: a\r\nX")
        head = "PUT /terminals/gate/frames/a?taken_s=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n"
        known = f"Authorization: Bearer {talk.tokens['gate']}\r\nContent-Digest: sha-256=:{'A' * 43}=:\r\n"
        stuck.sendall(f"{head}{known}\r\nabc".encode())
        for waiting in (silent, half, stuck):
            waiting.settimeout(10)
        assert httpx.get(f"{talk.url}/health").status_code == 200
        assert b"408" in stuck.recv(4096)
        assert _ends(silent)
        assert _ends(half)
        assert kept(talk) == []
        for waiting in opened:
            waiting.close()


def test_one_address_may_not_take_every_connection(tmp_path):
    with talking(tmp_path / "state", remote_config(), connections_per_address=3) as talk:
        many = [socket.create_connection(("127.0.0.1", talk.port)) for _ in range(3)]
        deadline = time.monotonic() + 10
        while not _refused(talk.port):
            assert time.monotonic() < deadline
        for one in many:
            one.close()
        while _refused(talk.port):
            assert time.monotonic() < deadline


def _refused(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code != 200
    except httpx.HTTPError:
        return True


def _ends(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def test_state_survives_being_opened_again_and_is_put_right(tmp_path):
    state = tmp_path / "state"
    with talking(state, remote_config()) as talk, talk.client() as client:
        for number in range(3):
            talk.put(client, f"f{number}", picture(number))
        client.post("/terminals/gate/evolution", json={})
    folder = state / "frames" / "gate"
    (folder / "f0.jpg").unlink()
    (folder / "stray.jpg").write_bytes(b"its row was never written")
    (folder / ".f9.abcdef.part").write_bytes(b"half")
    with talking(state, remote_config()) as talk:
        talk.served.inboxes.repair(list(NAMES))
        assert kept(talk) == ["f1.jpg", "f2.jpg"]
        terminal = talk.served.store.terminal("gate")
        assert terminal.waiting == 2
        assert terminal.asked_s is not None
        with talk.client() as client:
            assert talk.put(client, "f0", picture(0)).status_code == 201
            assert talk.put(client, "f1", picture(1)).status_code == 200
            assert json.loads(client.post("/terminals/gate/hello", json={}).text)["pending"] is True
