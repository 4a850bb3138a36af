"""Bad inputs of the commands about runs."""

import json
from collections.abc import Iterator, Mapping

from bad_input import BadInput, each, typed
from faults import JSON, JSON_LINES, SAFETENSORS, TOML, Content
from small_run import SMALL

RUN: Mapping[str, object] = {"format": 2, "status": "running", "method": "NestEvo", "config": {}}
"""A run.json with which `report` is content."""
RUN_FAULTS: Mapping[str, Content] = {
    name: json.dumps({**RUN, **changes})
    for name, changes in {
        "format-old": {"format": 1},
        "format-new": {"format": 3},
        "format-text": {"format": "2"},
        "format-true": {"format": True},
        "format-float": {"format": 2.5},
        "status-unknown": {"status": "half"},
        "status-number": {"status": 1},
        "method-list": {"method": []},
        "config-list": {"config": []},
        "config-terminals-text": {"config": {"terminals": "campus"}},
        "config-section-text": {"config": {"teacher": "pcm", "refresh": 5}},
        "seed-text": {"seed": "a"},
        "classes-number": {"classes": 5},
        "kinds-text": {"kinds": {"label": "x"}},
        "summary-list": {"summary": []},
    }.items()
}
EVENT_FAULTS: Mapping[str, Content] = {
    "no-event": "{}\n",
    "event-number": '{"event": 1}\n',
    "window-huge": '{"event": "absent", "window": 1000000000, "terminal": "a", "reason": "b"}\n',
    "window-negative": '{"event": "absent", "window": -5, "terminal": "a", "reason": "b"}\n',
    "window-text": '{"event": "absent", "window": "0", "terminal": "a", "reason": "b"}\n',
    "field-missing": '{"event": "absent", "window": 0}\n',
    "score-nan": '{"event": "accuracy", "window": 0, "model": "a", "scene": "a", "stage": "before", "score": NaN}\n',
    "score-infinite": '{"event": "accuracy", "window": 0, "model": "a", "scene": "a", "stage": "after", "score": 1e999'
                      "}\n",
    "score-huge": '{"event": "accuracy", "window": 0, "model": "a", "scene": "a", "stage": "after", "score": 7}\n',
    "task-times-huge": '{"event": "task", "window": 0, "name": "a", "kind": "label", "submitted_s": 0, "started_s": 0,'
                       ' "ended_s": 1e300, "worker": 0, "predicted_s": 1, "predicted_bytes": 1, "peak_bytes": 1}\n',
    "task-ends-before": '{"event": "task", "window": 0, "name": "a", "kind": "label", "submitted_s": 9, "started_s": 8,'
                        ' "ended_s": 1, "worker": 0, "predicted_s": 1, "predicted_bytes": 1, "peak_bytes": 1}\n',
    "worker-huge": '{"event": "task", "window": 0, "name": "a", "kind": "label", "submitted_s": 0, "started_s": 0,'
                   ' "ended_s": 1, "worker": 1000000000, "predicted_s": 1, "predicted_bytes": 1, "peak_bytes": 1}\n',
}  # fmt: skip


def report() -> Iterator[BadInput]:
    """Of `report`."""
    yield from each("report", ("report", "run"), "run/run.json", {**JSON, **RUN_FAULTS})
    lines = {**JSON_LINES, **EVENT_FAULTS}
    yield from each("report", ("report", "run"), "run/metrics.jsonl",
                     {k: v if not isinstance(v, str) or v.endswith("\n") else v + "\n" for k, v in lines.items()},
                     {"run/run.json": json.dumps({**RUN, "status": "complete"})})  # fmt: skip
    yield from typed("report", ("report",), ("nowhere", "/dev/null", "file", "A" * 5000, "no\nwhere"), {"file": "x"})


def _changed(section: str, line: str) -> str:
    """The small configuration with one more line in a section."""
    head = f"[{section}]\n"
    if not section:
        return f"{line}\n{SMALL}"
    if head in SMALL:
        kept = SMALL.split("\n")
        at = kept.index(head.strip())
        key = line.partition(" =")[0]
        end = next((i for i in range(at + 1, len(kept)) if kept[i].startswith("[")), len(kept))
        kept[at + 1 : end] = [line, *(text for text in kept[at + 1 : end] if not text.startswith(f"{key} ="))]
        return "\n".join(kept)
    return SMALL.replace("[[terminals]]", f"{head}{line}\n[[terminals]]", 1)


_CONFIGURATIONS: Mapping[str, tuple[str, ...]] = {
    "": ('task = "magic"', 'method = "magic"', "seed = 1.5", 'seed = "a"', "frame_size = [0, 0]", "frame_size = 5",
         "frame_size = [100000, 100000]", "frame_size = [-1, 160]", "terminals = 5"),
    "window": ("count = 0", "count = -1", "count = 1000000000000", "length_s = 0", "length_s = nan", "length_s = -1",
               "length_s = inf", "upload_frames = 0", "upload_frames = 1000000000", "test_frames = 0",
               "test_frames = 1000000000", "upload_spacing = 0", "upload_spacing = 1000000000000", "recalled = -1"),
    "teacher": ('model = "none"', 'model = "\\u001b[2J"', 'analog = "tpu"', "tile = 0", "tile = -1", 'backend = "x"',
                "age_s = nan", "age_s = -1", "age_s = inf", "delay_s = nan", "delay_s = -1"),
    "refresh": ('policy = "magic"', "period_h = 0", "period_h = nan", "margin = nan", "margin = -1", 'chip = "none"',
                "doubt = nan", "lifetime_years = 0", "lifetime_years = nan"),
    "reference": ("places = []", 'places = ["atlantis"]', "segments_per_place = 0", "segments_per_place = 1000000000",
                  "frames_per_segment = 0", "frames_per_segment = 1000000000"),
    "groups": ('by = "magic"', "count = 0", "count = 1000000000", 'by = "name"'),
    "drift": ("gamma = nan", "gamma = -1", "gamma = inf", "epsilon = -1", "epsilon = 1000000", "min_samples = 0",
              "min_samples = -1", "false_alarm_rate = nan", "false_alarm_rate = 2", "false_alarm_rate = 0"),
    "labels": ("high_confidence = 2", "high_confidence = nan", "low_confidence = -1", "regions = 0", "regions = -1",
               "regions = 1000000000", "low_confidence = 0.9"),
    "confirmation": ("amplify = nan", "amplify = 0", "amplify = 1e300", "zoom = 0", "zoom = nan", "zoom = 1e9",
                     "tracking_share = 2", "tracking_share = nan", "high_confidence = nan", "low_confidence = -1"),
    "generator": ("steps = 0", "steps = -1", "steps = 1000000000000", "weight = nan", "weight = -1"),
    "mutual": ("alpha = nan", "alpha = 2", "beta = -1", "noise_mu = nan", "noise_mu = -1", "replay_frames = -1",
               "replay_frames = 1000000000", "guard_margin = nan"),
    "mutual.plan": ("steps = 0", "steps = 1000000000000", "batch_size = 0", "batch_size = 1000000000",
                    "learning_rate = nan", "learning_rate = -1", "learning_rate = 1e300"),
    "distil.plan": ("steps = -1", "batch_size = -1", "learning_rate = inf"),
    "distil": ("soft_share = 5", "soft_share = nan", "temperature = 0", "temperature = nan"),
    "replay": ("size = -1", "frames = -1"),
    "link": ("upload_mbit_s = 0", "upload_mbit_s = nan", "upload_mbit_s = -1", "download_mbit_s = 0"),
    "execution": ("workers = -1", "workers = 1000000000", "memory_gb = 0", "memory_gb = nan", "memory_gb = -1",
                  "memory_gb = inf", 'executor = "magic"', 'device = "tpu"', 'policy = "magic"', 'address = ""',
                  'address = "host"', 'address = "host:x"', 'address = ":1"', 'profile = "."',
                  "timeout_s = nan", "timeout_s = 0", 'profile = "nowhere.safetensors"', 'executor = "ray"'),
    "sampling": ("budget_frames = 0", "budget_frames = -1", "least_frames = -1", "least_frames = 1000000000"),
    "trigger": ('mode = "magic"', "margin = nan", "margin = 2", "margin = -1"),
}  # fmt: skip
_TERMINALS = (
    'name = ""', 'name = "campus"', 'name = "../../x"', 'name = "a/b"', 'name = "teacher"', "name = 5", 'name = ".."',
    'name = "' + "a" * 300 + '"', 'name = "a\\u0000b"', 'name = "a\\nb"', 'name = "c"\ngroup = "../../x"',
    'name = "c"\nplace = "atlantis"', 'name = "c"\nvideo = "nowhere.mp4"', 'name = "c"\nmodel = "none"',
    'name = "c"\njoins = -1', 'name = "c"\njoins = 2\nleaves = 1', 'name = "c"\nlabels = "nowhere.json"',
    'name = "c"\nvideo = "file"\nlabels = "file"', 'name = "c"\ndrift = [{ window = 0, kind = "x", strength = 0.5 }]',
    'name = "c"\nplace = "park"\ndrift = [{ window = 0, kind = "night", strength = nan }]',
    'name = "c"\nplace = "park"\ndrift = [{ window = 0, kind = "night", strength = 7 }]',
    'name = "c"\nplace = "park"\ndrift = [{ window = -1, kind = "night", strength = 0.5 }]',
    'name = "c"\nplace = "park"\nposition_m = [nan, 0]', 'name = "c"\nplace = ""', 'name = "c"\nplace = "Park"',
    'name = "c"\nclass_map = { a = "b" }', 'name = "c"\nvideo = "."', 'name = "c"\nvideo = ""',
    'name = "c"\nmodel = "."', 'name = "c"\nmodel = ""', 'name = "c"\nmodel = "digits-cnn-m1"',
)  # fmt: skip


def evolve() -> Iterator[BadInput]:
    """Of `evolve`."""
    started = ("evolve", "evolve.toml", "--out", "run")
    yield from each("evolve", started, "evolve.toml", TOML)
    for section, lines in _CONFIGURATIONS.items():
        for line in lines:
            yield BadInput(name=f"evolve [{section}] {line}", words=started,
                           files={"evolve.toml": _changed(section, line)})  # fmt: skip
    for lines in _TERMINALS:
        # Nothing else is wrong with it.
        rest = "".join(
            line for key, line in (("model =", 'model = "fasterrcnn-tiny-m1"\n'), ("place =", 'place = "park"\n'))
            if key not in lines and not (key == "place =" and "video =" in lines)
        )  # fmt: skip
        files = {"evolve.toml": f"{SMALL}[[terminals]]\n{lines}\n{rest}", "file": "x"}
        yield BadInput(name=f"evolve [[terminals]] {lines}"[:110].replace("\n", ", "), words=started, files=files)
    checkpoint = _changed("teacher", 'model = "w.safetensors"')
    yield from each("evolve-teacher", started, "w.safetensors", SAFETENSORS, {"evolve.toml": checkpoint})
    profiled = _changed("execution", 'profile = "w.safetensors"')
    yield from each("evolve-profile", started, "w.safetensors", SAFETENSORS, {"evolve.toml": profiled})
    yield from each("evolve-resume", ("evolve", "--resume", "run"), "run/run.json", {**JSON, **RUN_FAULTS})
    yield from typed(
        "evolve", ("evolve", "small.toml"),
        ("--windows 0", "--windows 1000000000000", "--windows x", "--workers 0", "--workers 1000000000",
         "--executor magic", "--device tpu", "--method magic", "--seed x", "--out file", "--out /proc/none",
         "--preset magic --resume nowhere", "--resume nowhere", "--executor ray --address local",
         "--executor ray --address x", "--out full", "--address x", "--resume small.toml", "--resume full --windows 3",
         "--out file/x", "--memory-gb 0.1"),
        {"small.toml": SMALL, "file": "in the way", "full/mine.txt": "mine"},
    )  # fmt: skip
    yield from typed("evolve", ("evolve",), ("--preset magic", "--preset ../quick", "nowhere.toml", ".", "--resume ."))


def compare() -> Iterator[BadInput]:
    """Of `compare`."""
    yield from each("compare", ("compare", "evolve.toml"), "evolve.toml", TOML)
    yield from typed(
        "compare", ("compare", "small.toml"),
        ("--methods magic", "--methods ,", "--methods A4,A4", "--seeds 0", "--seeds 1000000000000", "--windows 0",
         "--windows 1000000000000", "--workers 0", "--device tpu", "--out file", "--preset magic x",
         "--resume --out nowhere", "--resume --out folder", "--out folder", "--out file/x"),
        {"small.toml": SMALL, "file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip


def profile() -> Iterator[BadInput]:
    """Of `profile`."""
    resumed = ("profile", "--out", "p", "--resume", "--quick")
    for fault, content in JSON_LINES.items():
        yield BadInput(name=f"profile-samples.jsonl-{fault}", words=resumed, files={"p/samples.jsonl": content})
    yield from typed(
        "profile", ("profile", "--out", "p"),
        ("--samples 0", "--samples 1000000000000", "--held-out 0", "--held-out 1000000000000", "--passes 0",
         "--passes 1000000000000", "--minutes nan", "--minutes 0", "--minutes -1", "--seed x", "--out file",
         "--resume", "--resume --out folder", "--out file/x"),
        {"file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip
