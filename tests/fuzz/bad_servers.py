"""Bad inputs of `serve` and `terminal`."""

import json
from collections.abc import Iterator, Mapping

from bad_data import VIDEO, clip, png
from bad_input import BadInput, each, typed
from faults import JSON, TOML, Content

SERVER = '[[terminals]]\nname = "campus"\nmodel = "fasterrcnn-tiny-m1"\nremote = true\n'
_NEVER, _SPAN = ("nan", "inf", "-1", "1e300"), ("0", "nan", "inf", "-1", "1e300")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "host": ('""', "5", '"0.0.0.0"', '"no such host"', '"192.0.2.1"', '"\\u001b[2J"'),
    "port": ("-1", "65536", "1.5", '"http"', "1000000000000"),
    "certfile": ('"nowhere.pem"', '"file"', '"nowhere.pem"\nkeyfile = "nowhere.key"', '"file"\nkeyfile = "file"'),
    "every_s": _SPAN, "gather_s": _NEVER, "least_frames": ("0", "-1", "1000000000"),
    "inbox_frames": ("0", "1000000000"),
    "inbox_mb": _SPAN, "frame_mb": _SPAN, "frame_megapixels": ("0", "nan", "65"), "requests_per_s": _SPAN,
    "mb_per_hour": _SPAN, "requests_at_once": ("0", "1000000000"), "connections": ("0", "1000000000"),
    "connections_per_address": ("0", "1.5"), "head_s": _SPAN, "body_s": _SPAN, "answer_s": _SPAN,
    "keep_free_mb": _NEVER, "keep_models": ("0", "1000000000"), "nonsense": ("1",),
}  # fmt: skip
TERMINALS = (
    'name = "../../x"\nmodel = "fasterrcnn-tiny-m1"\nremote = true', 'name = "@status"\nmodel = "digits-cnn-m1"',
    'name = "a"\nmodel = "none"\nremote = true', 'name = "a"\nmodel = "w.safetensors"\nremote = true',
    'name = "a"\nmodel = "fasterrcnn-tiny-m1"\nremote = "yes"', 'name = "campus"\nmodel = "fasterrcnn-tiny-m1"',
    'name = "a"\nmodel = "fasterrcnn-tiny-m1"\nremote = true\nplace = "campus"',
    'name = "a"\nmodel = "digits-cnn-m1"\nremote = true',
)  # fmt: skip


def serve() -> Iterator[BadInput]:
    """Of `serve`."""
    usual = ("serve", "office.toml", "--port", "0")
    yield from each("serve", usual, "office.toml", TOML)
    for key, values in SETTINGS.items():
        for value in values:
            yield BadInput(name=f"serve {key} = {value}".replace("\n", ", "), words=usual,
                           files={"office.toml": f"[serve]\n{key} = {value}\n{SERVER}", "file": "x"})  # fmt: skip
    for text in TERMINALS:
        yield BadInput(name=f"serve [[terminals]] {text}".replace("\n", ", "), words=usual,
                       files={"office.toml": f"{SERVER}[[terminals]]\n{text}\n", "w.safetensors": "x"})  # fmt: skip
    right: dict[str, Content] = {"office.toml": SERVER, "file": "x", "folder/mine.txt": "mine"}
    yield from typed(
        "serve", ("serve", "office.toml"),
        ("--port -1", "--port 65536", "--port nan", "--windows 0", "--windows 1000000000000", "--windows nan",
         "--workers 0", "--workers 1000000000", "--device tpu", "--state file", "--state file/x", "--state /proc/none",
         "--state folder", "--new-token nobody", "--new-token ", "--new-token ../x", "--new-token \x1b[2J",
         "--new-token campus --to file/x", "--new-token campus --to folder", "--new-token campus --state file",
         "--to token"),
        right,
    )  # fmt: skip
    for fault in ("binary", "prose", "utf16"):
        yield BadInput(name=f"serve serve.sqlite-{fault}", words=usual,
                       files={**right, "state/serve.sqlite": JSON[fault]})  # fmt: skip
    tokens = {fault: content for fault, content in JSON.items() if fault != "object"}
    renewed = ("serve", "office.toml", "--new-token", "campus", "--to", "token")
    yield from _unless_missing(each("serve-token", renewed, "state/tokens.json", tokens, right))
    begun = {**right, "state/tokens.json": "{}"}
    yield from _unless_missing(each("serve-run", usual, "state/run/run.json", JSON, begun))
    other = json.dumps({"format": 2, "status": "running", "method": "NestEvo", "config": {"seed": 7}})
    yield BadInput(name="serve-run run.json-other", words=usual, files={**begun, "state/run/run.json": other})


def _unless_missing(found: Iterator[BadInput]) -> Iterator[BadInput]:
    """All but the case in which the file is not there, which is right."""
    yield from (bad for bad in found if not bad.name.endswith("-missing"))


def terminal() -> Iterator[BadInput]:
    """Of `terminal`."""
    right: dict[str, Content] = {"clip.mp4": clip(3), "token": "secret\n", "file": "x", "folder/mine.txt": "mine",
                                 "frames/1.png": png(64, 64), "broken/1.png": b"none"}  # fmt: skip
    address = "http://127.0.0.1:9"
    usual = ("terminal", address, "--name", "campus", "--token-file", "token", "--source", "clip.mp4")
    yield from each("terminal", usual, "clip.mp4", VIDEO, {"token": "secret\n"})
    known = {fault: content for fault, content in JSON.items() if "key" not in fault and fault != "object"}
    yield from _unless_missing(each("terminal", usual, "terminal/known.json", known, right))
    yield from _unless_missing(each("terminal", usual, "terminal/current.json", JSON, right))
    escaping = '{"version": "../../folder"}'
    yield BadInput(name="terminal current.json-escapes", words=usual, says="current.json",
                   files={**right, "terminal/current.json": escaping})  # fmt: skip
    tokens = {"folder", "fifo", "endless", "loop", "empty", "binary", "utf16", "nul", "blank"}
    yield from each("terminal", usual, "token", {k: v for k, v in JSON.items() if k in tokens}, {"clip.mp4": clip(3)})
    yield from typed(
        "terminal", usual,
        ("--every 0", "--every -1", "--every 1000000000000", "--every nan", "--budget-mb nan", "--budget-mb 0",
         "--budget-mb -1", "--budget-mb inf", "--period 0", "--period nan", "--period 1e300", "--margin nan",
         "--margin 2", "--margin -1", "--judged 0", "--judged 1000000000", "--ask-every 0", "--ask-every nan",
         "--ask-every inf", "--poll 0", "--poll nan", "--poll inf", "--ca nowhere.pem", "--ca file", "--ca folder",
         "--folder file", "--folder file/x", "--folder /proc/none", "--name ", "--name ../x", "--name \x1b[2J",
         "--name " + "A" * 5000, "--source nowhere.mp4", "--source folder", "--source broken", "--source file",
         "--source ftp://a", "--source rtsp://127.0.0.1:9/a", "--source rtsp://", "--source http://[",
         "--source /dev/zero", "--source /dev/null", "--source ", "--source " + "A" * 5000),
        right,
    )  # fmt: skip
    yield from typed(
        "terminal", ("terminal",),
        (f"{url} --name campus --token-file token --source clip.mp4"
         for url in ("", "x", "ftp://a", "http://", "http://[", "http://127.0.0.1:99999", "http://192.0.2.1:9",
                     "http://a b", "https://\x1b[2J", "http://127.0.0.1:9/" + "A" * 100_000)),
        right,
    )  # fmt: skip
