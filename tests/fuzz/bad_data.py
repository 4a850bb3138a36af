"""Bad inputs of the commands that read recordings and labels."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bad_input import BadInput, each, typed
from faults import ANY_FILE, ANY_TEXT, JSON, JSON_LINES, NPZ, ONNX, SAFETENSORS, TOML, Content

COCO = {"images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}], "annotations": [],
        "categories": [{"id": 1, "name": "car"}]}  # fmt: skip
COCO_FAULTS: Mapping[str, Content] = {
    name: json.dumps({**COCO, **changes})
    for name, changes in {
        "images-object": {"images": {}},
        "images-none": {"images": []},
        "image-text": {"images": ["a"]},
        "annotations-object": {"annotations": {"a": 1}},
        "categories-none": {"categories": []},
        "box-text": {"annotations": [{"image_id": 1, "category_id": 1, "bbox": "a"}]},
        "box-nan": {"annotations": [{"image_id": 1, "category_id": 1, "bbox": [float("nan"), 0, 1, 1]}]},
        "image-unknown": {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
    }.items()
} | {"annotations-missing": json.dumps({k: v for k, v in COCO.items() if k != "annotations"})}


def png(width: int, height: int) -> Callable[[Path], None]:
    """What makes an image of this size."""

    def write(path: Path) -> None:
        from PIL import Image

        Image.new("RGB", (width, height)).save(path)

    return write


def clip(frames: int) -> Callable[[Path], None]:
    """What makes a video of so many frames of 128 x 96."""

    def write(path: Path) -> None:
        from tests.streams.clips import write_clip

        write_clip(path, frames)

    return write


def right_detector(path: Path) -> None:
    """Make one that `ADAPTER` reads."""
    from colour_finder import colour_finder

    colour_finder(path)


VIDEO: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "cut": lambda path: clip(9)(path) or path.write_bytes(path.read_bytes()[:300]),  # type: ignore[func-returns-value]
}


def pretrain() -> Iterator[BadInput]:
    """Of `pretrain`."""
    taught = ("pretrain", "--out", "made", "--video", "frames", "--labels", "labels.json", "--steps", "1")
    frames = {"frames/1.png": png(64, 64)}
    yield from each("pretrain", taught, "labels.json", {**JSON, **COCO_FAULTS}, frames)
    yield from typed(
        "pretrain", ("pretrain", "--out", "made"),
        ("--video nowhere.mp4 --labels labels.json", "--video labels.json --labels labels.json", "--video frames",
         "--steps 0", "--model none --steps 1", "--task magic", "--task classification --video frames",
         "--video frames --labels labels.json --class-map x", "--video frames --labels labels.json --class-map a=b",
         "--video frames --labels labels.json --until 0", "--long-side 0",
         "--video frames --labels labels.json --long-side 1000000000", "--workers 0", "--device tpu", "--seed x",
         "--labels labels.json", "--until 5", "--class-map a=b", "--model digits-cnn", "--model fasterrcnn-tiny-m1",
         "--task classification --model fasterrcnn-tiny", "--from none", "--from digits-cnn",
         "--from fasterrcnn-tiny-m1", "--from labels.json", "--from .", "--task classification --from fasterrcnn-tiny",
         "--steps 1000000000000",
         "--terminal-steps 0", "--resume", "--resume --out folder", "--out file", "--out file/x"),
        {"labels.json": json.dumps(COCO), "frames/1.png": png(64, 64), "file": "x", "folder/mine.txt": "mine"},
    )  # fmt: skip
    yield from each("pretrain-from", ("pretrain", "--out", "made", "--from", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip
    yield from each("pretrain-data", ("pretrain", "--out", "made", "--task", "classification", "--data", "data.npz"),
                    "data.npz", NPZ)  # fmt: skip
    given = ("pretrain", "--out", "made", "--task", "classification", "--from", "w.pt", "--new-classes")
    yield from each("pretrain-new-classes", given, "w.pt", {**ANY_FILE, **ANY_TEXT, "pickled": b"cos\nsystem\n(tR."})
    yield from typed(
        "pretrain", ("pretrain", "--out", "made"),
        ("--new-classes", "--from none --new-classes", "--from fasterrcnn-tiny --new-classes --steps 0",
         "--from digits-cnn --new-classes", "--patience 0", "--patience nan", "--frames 0", "--frames 1000000000",
         "--frames 5 --data .", "--size 0x0", "--size 100000x100000", "--size nan", "--data . --video .",
         "--task classification --data nowhere", "--task classification --data .", "--data .", "--classes a,b",
         "--task classification --data file", "--task classification --data os:getcwd", "--precision float8",
         "--task classification --data nowhere:x --classes a,a", "--model nets:absent", "--model nowhere:x",
         "--terminal-steps nan", "--seed nan", "--task nowhere:x", "--task os:getcwd"),
        {"file": "x"},
    )  # fmt: skip
    resumed = ("pretrain", "--out", "made", "--resume")
    for fault, content in JSON_LINES.items():
        yield BadInput(name=f"pretrain-journal-{fault}", words=resumed,
                       files={"made/fasterrcnn-tiny-journal.jsonl": content})  # fmt: skip


ADAPTER = '[input]\nwhite = 1.0\n[outputs]\nkind = "scored"\nboxes = "boxes"\nscores = "scores"\n'
ADAPTER_FAULTS: Mapping[str, Content] = {
    **TOML,
    **{
        name: ADAPTER + text
        for name, text in {
            "score-nan": "[thresholds]\nscore = nan",
            "score-large": "[thresholds]\nscore = 2",
            "overlap-negative": "[thresholds]\noverlap = -1",
            "detections-many": "[thresholds]\ndetections = 1000000000",
            "unknown-key": "[thresholds]\nnonsense = 1",
            "strides-huge": "strides = [1000000000]",
        }.items()
    },
    **{
        name: f"[input]\n{text}\n" + ADAPTER.partition("\n[outputs]")[1] + ADAPTER.partition("[outputs]")[2]
        for name, text in {
            "size-huge": "size = [1000000000, 1000000000]",
            "size-large": "size = [65535, 65535]",
            "size-zero": "size = [0, 0]",
            "size-other": "size = [8, 8]",
            "mean-nan": "mean = [nan, 0.0, 0.0]",
            "std-zero": "std = [0.0, 1.0, 1.0]",
            "pad-large": "pad = 256",
            "layout-unknown": 'layout = "CWH"',
            "layout-other": 'layout = "NHWC"',
            "dtype-other": 'dtype = "uint8"',
        }.items()
    },
    "output-unknown": ADAPTER.replace('"boxes"', '"nowhere\\u001b[2J"'),
    "classes-many": f"classes = {json.dumps(['x' * 100] * 100_000)}\n{ADAPTER}",
    "classes-few": f'classes = ["a"]\n{ADAPTER}',
    "class-unknown": f'class_map = {{ nowhere = "car" }}\n{ADAPTER}',
}


def label() -> Iterator[BadInput]:
    """Of `label`."""
    frames: dict[str, Content] = {"frames/1.png": png(64, 64)}
    right = {**frames, "mine.toml": ADAPTER, "net.onnx": right_detector}
    usual = ("label", "frames", "--out", "out.json", "--labeller", "net.onnx", "--adapter", "mine.toml")
    yield from each("label", usual, "net.onnx", ONNX, {**frames, "mine.toml": ADAPTER})
    yield from each("label", usual, "mine.toml", ADAPTER_FAULTS, {**frames, "net.onnx": right_detector})
    yield from each("label", ("label", "clip.mp4", *usual[2:]), "clip.mp4", VIDEO, right)
    yield from each("label-against", (*usual, "--against", "labels.json"), "labels.json", {**JSON, **COCO_FAULTS},
                    right)  # fmt: skip
    work = {f"out.json.partial/frames.jsonl-{name}": content for name, content in JSON_LINES.items()}
    for name, content in work.items():
        path, _, fault = name.partition(".jsonl-")
        yield BadInput(name=f"label-journal-{fault}", words=(*usual, "--resume"),
                       files={**right, f"{path}.jsonl": content})  # fmt: skip
    yield from typed(
        "label", usual,
        ("--adapter magic", "--adapter nowhere.toml", "--adapter .toml", "--adapter .", "--score 2", "--score nan",
         "--score -1", "--unsure nan", "--unsure inf", "--score 0.1 --unsure 0.5", "--stride 0", "--stride -1",
         "--stride 1000000000000", "--stride nan", "--threads 0", "--threads 1000000000", "--class-map x",
         "--class-map =", "--class-map a=b", "--class-map red=", "--against nowhere.json", "--against frames",
         "--resume", "--out mine.toml", "--out file/x", "--out .", "--out " + "A" * 300, "--out " + "B" * 250,
         "--out /proc/none/x.json", "--out broken", "--labeller mine.toml", "--labeller frames", "--labeller .onnx"),
        {**right, "file": "x", "broken": lambda path: path.symlink_to("elsewhere")},
    )  # fmt: skip
    yield from typed(
        "label", ("label",),
        (f"{source} --out out.json --labeller net.onnx --adapter mine.toml"
         for source in ("nowhere.mp4", "empty", "file", "A" * 300, "\x1b[2J", "mixed", "huge")),
        {**right, "empty/notes.txt": "x", "file": "x", "mixed/1.png": b"none", "huge/1.png": _huge_png},
    )  # fmt: skip


def _huge_png(path: Path) -> None:
    """The head of an image of 20 000 x 20 000."""
    png(20_000, 1)(path)
    content = bytearray(path.read_bytes())
    content[20:24] = (20_000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def record() -> Iterator[BadInput]:
    """Of `record`."""
    yield from each("record", ("record", "a.mp4", "out.mp4", "--seconds", "1"), "a.mp4", VIDEO)
    files: dict[str, Content] = {"a.mp4": clip(3), "file": "x", "folder.mp4/x": "x", "made.mp4": "x",
                                 "null.mp4": lambda path: path.symlink_to("/dev/null")}  # fmt: skip
    yield from typed(
        "record", ("record", "a.mp4"),
        ("out.mp4", "out.mp4 --seconds nan", "out.mp4 --seconds 0", "out.mp4 --seconds -1", "out.mp4 --seconds inf",
         "out.mp4 --seconds 1e300", "out.mp4 --seconds 1 --fps nan", "out.mp4 --seconds 1 --fps 0",
         "out.mp4 --seconds 1 --fps 1e9", "out.mp4 --seconds 1 --patience nan", "out.mp4 --seconds 1 --patience -1",
         "out.mp4 --seconds 1 --patience 1e30", "out.avi --seconds 1", "out --seconds 1", "made.mp4 --seconds 1",
         "a.mp4 --seconds 1", "folder.mp4 --seconds 1 --force", "null.mp4 --seconds 1 --force",
         "file/out.mp4 --seconds 1", "/proc/none/out.mp4 --seconds 1", "/dev/null --seconds 1 --force",
         "A" * 300 + ".mp4 --seconds 1"),
        files,
    )  # fmt: skip
    yield from typed(
        "record", ("record",),
        (f"{source} out.mp4 --seconds 1"
         for source in ("nowhere.mp4", "file", "folder.mp4", ".", "/dev/null", "/dev/zero", "ftp://a/b", "file:///a",
                        "rtsp://127.0.0.1:9/a", "http://127.0.0.1:9/a", "rtsp://", "http://[", "rtsp://a:b@[::1",
                        "concat:a.mp4|a.mp4", "B" * 5000, "rtsp://me:secret@127.0.0.1:9/\x1b[2J", "\x1b[2J")),
        files,
    )  # fmt: skip


def init_video() -> Iterator[BadInput]:
    """Of `init --video`."""
    usual = ("init", "mine.toml", "--video", "clip.mp4")
    yield from each("init-video", usual, "clip.mp4", VIDEO)
    yield from each("init-labels", (*usual, "--labels", "labels.json"), "labels.json", {**JSON, **COCO_FAULTS},
                    {"clip.mp4": clip(60)})  # fmt: skip
    yield from each("init-models", (*usual, "--models", "models"), "models/a.safetensors", SAFETENSORS,
                    {"clip.mp4": clip(60)})  # fmt: skip
    yield from typed(
        "init --video", usual,
        ("--video nowhere.mp4", "--video short.mp4", "--video .", "--video file", "--video huge",
         "--labels nowhere.json", "--labels .", "--labels file", "--models nowhere", "--models file", "--models .",
         "--preset quick", "--labels a --labels b", "--video " + "A" * 300, "--video \x1b[2J"),
        {"clip.mp4": clip(60), "short.mp4": clip(3), "file": "x", "huge/1.png": _huge_png},
    )  # fmt: skip
    yield from typed(
        "init --video", ("init",),
        (f"{path} --video clip.mp4" for path in ("file", "folder --force", "null --force", "file/x.toml",
                                                 "/proc/none/x.toml", "A" * 300)),
        {"clip.mp4": clip(60), "file": "x", "folder/x": "x", "null": lambda path: path.symlink_to("/dev/null")},
    )  # fmt: skip


def export() -> Iterator[BadInput]:
    """Of `export`."""
    yield from each("export", ("export", "w.safetensors", "--out", "made"), "w.safetensors", SAFETENSORS)
    yield from typed(
        "export", ("export",),
        ("none", "nowhere.safetensors", ".", "", "A" * 5000, "\x1b[2J", "../digits-cnn", "digits-cnn.onnx",
         "file --out made", "mine"),
        {"file": "x", "mine/x": "x"},
    )  # fmt: skip
    small = ("export", "digits-cnn-m3", "--out", "made")
    yield from typed(
        "export", small,
        ("--score nan", "--score 2", "--score -1", "--score inf", "--colour magic", "--size 0x0", "--size x",
         "--size 100000x100000", "--size 5", "--size -1x5", "--size nanx5", "--task magic",
         "--task detection", "--task nowhere:x", "--task os:getcwd", "--factory nowhere:x", "--factory x",
         "--factory os:getcwd", "--calibrate clip.mp4", "--int8 --floats", "--int8 --calibrate nowhere.mp4",
         "--int8 --calibrate file", "--int8 --calibrate .", "--int8 --calibrate nowhere:x", "--int8 --calibrate huge",
         "--int8 --calibrate short.mp4", "--int8 --calibrate fifo", "--int8 --calibrate /dev/zero", "--out folder",
         "--out file", "--out file/x", "--out /proc/none", "--out " + "A" * 300),
        {"file": "x", "folder/mine.txt": "x", "clip.mp4": clip(9), "short.mp4": clip(1), "huge/1.png": _huge_png,
         "fifo": ANY_FILE["fifo"]},
    )  # fmt: skip
    calibrated = (*small, "--int8", "--calibrate")
    yield from each("export-calibrate", (*calibrated, "clip.mp4"), "clip.mp4", VIDEO)
    yield from each("export-calibrate", (*calibrated, "labels.json"), "labels.json", COCO_FAULTS)
