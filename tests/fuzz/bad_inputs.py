"""One table of bad inputs a command: what is typed, and the files that are there."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faults import JSON, JSON_LINES, ONNX, SAFETENSORS, TOML, Content
from small_run import SMALL


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One command line that must be refused."""

    name: str
    words: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    says: str = ""
    """A regular expression that the message must match."""


def _each(command: str, words: tuple[str, ...], path: str, faults: Mapping[str, Content],
          beside: Mapping[str, Content] | None = None) -> Iterator[BadInput]:  # fmt: skip
    """The same command with every fault of one file, and without the file."""
    for fault, content in faults.items():
        yield BadInput(
            name=f"{command}-{Path(path).name}-{fault}", words=words, files={**(beside or {}), path: content}
        )
    yield BadInput(name=f"{command}-{Path(path).name}-missing", words=words, files=beside or {})


def _typed(command: str, first: tuple[str, ...], lines: tuple[str, ...],
           files: Mapping[str, Content] | None = None) -> Iterator[BadInput]:  # fmt: skip
    """The same command with different words behind it."""
    for line in lines:
        yield BadInput(name=f"{command} {line}"[:70], words=(*first, *line.split(" ")), files=files or {})


TASKS = json.dumps([{"name": "a", "memory_gb": 1.0, "duration_s": 5.0}, {"name": "b", "memory_gb": 2, "duration_s": 3}])
TASK_FAULTS: Mapping[str, Content] = {
    name: json.dumps([{"name": "a", "memory_gb": 1.0, "duration_s": 5.0, **changes}])
    for name, changes in {
        "memory-negative": {"memory_gb": -1},
        "memory-infinite": {"memory_gb": float("inf")},
        "memory-nan": {"memory_gb": float("nan")},
        "memory-too-much": {"memory_gb": 1e30},
        "memory-text": {"memory_gb": "much"},
        "duration-zero": {"duration_s": 0},
        "duration-nan": {"duration_s": float("nan")},
        "cores-zero": {"cores": 0},
        "cores-many": {"cores": 10**9},
        "gain-over-one": {"expected_gain": 2},
        "gain-nan": {"expected_gain": float("nan")},
        "arrives-negative": {"arrives_s": -1},
        "arrives-infinite": {"arrives_s": float("inf")},
        "priority-text": {"priority": "high"},
        "name-empty": {"name": ""},
        "name-number": {"name": 1},
        "unknown-key": {"nonsense": 1},
    }.items()
} | {"twice-the-same": json.dumps(2 * [{"name": "a", "memory_gb": 1.0, "duration_s": 5.0}])}


def schedule() -> Iterator[BadInput]:
    """Of `schedule`."""
    yield from _each("schedule", ("schedule", "tasks.json"), "tasks.json", {**JSON, **TASK_FAULTS})
    yield from _typed(
        "schedule", ("schedule", "tasks.json"),
        ("--memory-gb nan", "--memory-gb inf", "--memory-gb -1", "--memory-gb 0", "--memory-gb 1e300", "--memory-gb x",
         "--workers 0", "--workers -1", "--workers 1000000000000", "--duration-error nan", "--duration-error -1",
         "--duration-error inf", "--duration-error 1e300", "--memory-error nan", "--memory-error -1",
         "--contention nan", "--contention -1", "--contention inf", "--patience-s nan", "--patience-s -1",
         "--window-s nan", "--window-s 0", "--window-s -5", "--policy none", "--plot plan.jpg",
         "--plot /proc/none/plan.png", "--no-such-option"),
        {"tasks.json": TASKS},
    )  # fmt: skip


FACTORIES: Mapping[str, Content] = {
    "nets.py": """
from torch import nn
def raises(): raise RuntimeError("first line\\nsecond [red]line\\x1b[2J")
def divides(): return 1 / 0
def asserts(): assert False
def exits(): raise SystemExit(3)
def interrupts(): raise KeyboardInterrupt
def recurses(): return recurses()
def wants(one, two): return nn.Linear(one, two)
def inner_type_error(): return len(5)
class Bad(nn.Linear):
    def forward(self, x): raise RuntimeError("in forward")
class Odd(nn.Linear):
    def forward(self, x): return {"a": 1}
def does_not_run(): return Bad(4, 2)
def answers_a_table(): return Odd(4, 2)
class Net(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.layer, self.answer = nn.Linear(4, 2), answer
    def forward(self, x): return self.answer(x)
def leave(x): raise SystemExit(0)
def runs_into_a_key(): return Net(lambda x: {}["scores"])
def runs_and_leaves(): return Net(leave)
def answers_nothing(): return Net(lambda x: None)
def answers_texts(): return Net(lambda x: ["a", "b"])
def answers_one_number(): return Net(lambda x: 3.0)
def holds_nan():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2))
    nn.init.constant_(net[1].weight, float("nan"))
    return net
def text(): return "model"
def nothing(): pass
def class_instead(): return nn.Linear
def no_layers(): return nn.ReLU()
value = 3
""",
    "broken.py": "def (",
    "raising.py": "raise RuntimeError('while importing')",
    "missing.py": "import no_such_module_anywhere",
    "leaving.py": "raise SystemExit(0)",
}
_FACTORY_NAMES = (
    *(f"nets:{name}" for name in ("raises", "divides", "asserts", "exits", "recurses", "wants", "inner_type_error",
                                  "text", "nothing", "class_instead", "no_layers", "value", "absent", "")),
    "broken:f", "raising:f", "missing:f", "leaving:f", "no_such_module:f", ":f", ":", "a:b:c", "..:f", "nets.py:text",
)  # fmt: skip
_MODELS = (*_FACTORY_NAMES, "no-such-model", "x\x1b[2J", "[/red]", "A" * 100_000, ".onnx", "nowhere.onnx")
_UNFIT = (
    "nets:does_not_run", "nets:answers_a_table", "nets:runs_into_a_key", "nets:runs_and_leaves", "nets:answers_nothing",
    "nets:answers_texts", "nets:answers_one_number", "nets:holds_nan",
)  # fmt: skip
"""They can be mapped, but not run."""
CHIP_FAULTS: Mapping[str, Content] = {**TOML, "no-figures": 'name = "x"\ntitle = "y"'}


DEVICE_FAULTS: Mapping[str, Content] = {
    **TOML,
    **{
        f"device-{name}": f"[conductance]\ng_max_us = 25.0\n{text}"
        for name, text in {
            "window-nan": "g_min_us = nan",
            "window-turned": "g_min_us = 30.0",
            "deviation-negative": "[programming]\ndeviation_us = -1.0",
            "deviation-nan": "[programming]\ndeviation_us = nan",
            "table-empty": "[programming]\ndeviation_us = { target_us = [], values = [] }",
            "table-unsorted": "[programming]\ndeviation_us = { target_us = [25.0, 0.0], values = [1.0, 1.0] }",
            "table-short": "[programming]\ndeviation_us = { target_us = [0.0, 5.0], values = [1.0, 1.0] }",
            "table-long": f"[programming]\ndeviation_us = {{ target_us = {[1.0] * 12_000}, values = [1.0] }}",
            "curve-deep": "[programming]\ndeviation_us = " + "{ power = " * 3000,
            "no-time": "[drift]\nt0_s = 0.0\nmean = 0.1\ndeviation = 0.1",
            "stuck-all-twice": "[stuck]\nat_g_min = 0.7\nat_g_max = 0.7",
            "no-such-layer": "[[layers]]\npattern = 'nowhere'\ntile = 64",
            "layer-escapes": "[[layers]]\npattern = '[red]'\ndevice = \"\\u001b[2J\"",
        }.items()
    },
    "device-no-model": "model = 'os:system'\n[conductance]\ng_max_us = 25.0\n[model_arguments]\ncommand = 'false'",
    "device-model-missing": "model = 'nowhere:None'\n[conductance]\ng_max_us = 25.0",
}


def map_model() -> Iterator[BadInput]:
    """Of `map`."""
    for model in _MODELS:
        yield BadInput(name=f"map {model}"[:60], words=("map", model), files=FACTORIES)
    yield from _each("map", ("map", "model.onnx"), "model.onnx", ONNX)
    faults = {**SAFETENSORS, "spec-size-huge": SAFETENSORS["spec-size-zero"]}
    yield from _each("map", ("map", "fasterrcnn-tiny", "--no-program", "--weights", "w.safetensors"),
                     "w.safetensors", faults)  # fmt: skip
    yield from _each("map-resnet", ("map", "resnet18", "--no-program", "--weights", "w.safetensors"),
                     "w.safetensors", {k: v for k, v in SAFETENSORS.items() if "spec" not in k})  # fmt: skip
    yield from _each("map", ("map", "digits-cnn", "--no-program", "--chip", "chip.toml"), "chip.toml", CHIP_FAULTS)
    yield from _each("map", ("map", "digits-cnn", "--no-program", "--analog", "mine.toml"), "mine.toml", DEVICE_FAULTS)
    yield from _typed(
        "map", ("map", "digits-cnn", "--no-program"),
        ("--tile 0", "--tile -1", "--tile x", "--tile 1x", "--tile 256x0", "--tile nan", "--tile 1e99",
         "--tile 99999999999999999999", "--pairs 0", "--pairs -1", "--pairs 1000000000", "--weight-bits -1",
         "--weight-bits 1000000", "--cell-bits 1000000", "--weight-bits 8", "--cell-bits 2",
         "--weight-bits 8 --cell-bits -2", "--device none", "--analog none", "--analog nowhere.toml", "--analog .",
         "--analog .toml", "--chip none", "--chip rtx-3080", "--chip nowhere.toml",
         "--chip isaac --chips 0", "--chip isaac --chips -1", "--chip isaac --frames 0", "--chip isaac --frames -1",
         "--chip isaac --size 0x0", "--chip isaac --size x", "--chip isaac --size 720", "--chip isaac --size -1x5",
         "--chip isaac --size 100000x100000", "--chip isaac --size 99999999999x1", "--keep-digital nowhere",
         "--plot tiles.jpg", "--plot /proc/none/t.png", "--plot .", "--weights nowhere.safetensors"),
    )  # fmt: skip


def bench_noise() -> Iterator[BadInput]:
    """Of `bench-noise`."""
    for model in (*_MODELS, *_UNFIT):
        yield BadInput(name=f"bench-noise {model}"[:60], words=("bench-noise", model, "--quick"), files=FACTORIES)
    yield from _each("bench-noise", ("bench-noise", "model.onnx", "--quick"), "model.onnx", ONNX)
    yield from _each("bench-noise", ("bench-noise", "--compare", "one", "two"), "one/results.json", JSON)
    yield from _each("bench-noise", ("bench-noise", "fasterrcnn-tiny", "--weights", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip
    yield from _typed(
        "bench-noise", ("bench-noise", "digits-cnn", "--quick"),
        ("--mu nan", "--mu inf", "--mu -1", "--mu x", "--mu ,", "--mu 1e300", "--times nan", "--times -1",
         "--times inf", "--times 1e300", "--adc-bits 0", "--adc-bits -1", "--adc-bits 1.5", "--adc-bits 1000",
         "--adc-bits nan", "--output-noise nan", "--output-noise -1", "--output-noise inf", "--sweep none",
         "--sweep mu=", "--sweep =", "--sweep mu=a", "--sweep tile=0", "--sweep tile=x", "--sweep analog=none",
         "--sweep stuck_cells=2", "--sweep stuck_cells=nan", "--sweep read_noise=-1", "--sweep ir_drop=nan",
         "--sweep student_mu=nan", "--noise-aware nan", "--noise-aware -1", "--noise-aware inf", "--student none",
         "--students --student none", "--repeats 1", "--repeats 0", "--repeats 1000000000000", "--frames 0",
         "--frames 1000000000000", "--workers 0", "--workers 1000000000", "--device none", "--analog none", "--tile 0",
         "--tile x", "--keep-digital nowhere", "--backend none", "--out file", "--seed x", "--seed 1e5",
         "--noise-aware-weights nowhere.safetensors", "--weights nowhere.safetensors", "--compare", "second-model",
         "--sweep analog=", "--sweep adc_bits=17", "--sweep dac_bits=1", "--sweep tile=1e9", "--sweep mu --mu 0.1",
         "--sweep student_mu", "--students", "--noise-aware 0.1", "--keep-digital ", "--resume --out nowhere",
         "--resume --out folder", "--out file/x"),
        {"file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip

    detector = ("bench-noise", "fasterrcnn-tiny", "--quick")
    yield from _typed(
        "bench-noise fasterrcnn-tiny", detector,
        ("--students --student digits-cnn-m1", "--students --student nowhere.safetensors", "--students --student .",
         "--student fasterrcnn-tiny-m1", "--noise-aware 0.1 --noise-aware-weights w.safetensors"),
    )  # fmt: skip
    yield from _each("bench-noise-student", (*detector, "--students", "--student", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip


def sensitivity() -> Iterator[BadInput]:
    """Of `sensitivity`."""
    for model in (*_MODELS, *_UNFIT):
        yield BadInput(name=f"sensitivity {model}"[:60], words=("sensitivity", model, "--quick"), files=FACTORIES)
    yield from _typed(
        "sensitivity", ("sensitivity", "digits-cnn", "--quick"),
        ("--age nan", "--age -1", "--age inf", "--age 1e300", "--target-loss nan", "--target-loss 2", "--tile 0",
         "--target-loss -1", "--repeats 0", "--repeats 1000000000000", "--frames 0", "--frames 1000000000000",
         "--device none", "--analog none", "--backend none", "--out file", "--weights nowhere.safetensors",
         "--out file/x", "--analog reram-wan --age 5", "--backend fold", "--perfect-io --backend fused",
         "--weights w.safetensors"),
        {"file": "in the way", "w.safetensors": "text"},
    )  # fmt: skip


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
    yield from _each("report", ("report", "run"), "run/run.json", {**JSON, **RUN_FAULTS})
    lines = {**JSON_LINES, **EVENT_FAULTS}
    yield from _each("report", ("report", "run"), "run/metrics.jsonl",
                     {k: v if not isinstance(v, str) or v.endswith("\n") else v + "\n" for k, v in lines.items()},
                     {"run/run.json": json.dumps({**RUN, "status": "complete"})})  # fmt: skip
    yield from _typed("report", ("report",), ("nowhere", "/dev/null", "file", "A" * 5000, "no\nwhere"), {"file": "x"})


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
    yield from _each("evolve", started, "evolve.toml", TOML)
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
    yield from _each("evolve-teacher", started, "w.safetensors", SAFETENSORS, {"evolve.toml": checkpoint})
    profiled = _changed("execution", 'profile = "w.safetensors"')
    yield from _each("evolve-profile", started, "w.safetensors", SAFETENSORS, {"evolve.toml": profiled})
    yield from _each("evolve-resume", ("evolve", "--resume", "run"), "run/run.json", {**JSON, **RUN_FAULTS})
    yield from _typed(
        "evolve", ("evolve", "small.toml"),
        ("--windows 0", "--windows 1000000000000", "--windows x", "--workers 0", "--workers 1000000000",
         "--executor magic", "--device tpu", "--method magic", "--seed x", "--out file", "--out /proc/none",
         "--preset magic --resume nowhere", "--resume nowhere", "--executor ray --address local",
         "--executor ray --address x", "--out full", "--address x", "--resume small.toml", "--resume full --windows 3",
         "--out file/x", "--memory-gb 0.1"),
        {"small.toml": SMALL, "file": "in the way", "full/mine.txt": "mine"},
    )  # fmt: skip
    yield from _typed("evolve", ("evolve",), ("--preset magic", "--preset ../quick", "nowhere.toml", ".", "--resume ."))


def compare() -> Iterator[BadInput]:
    """Of `compare`."""
    yield from _each("compare", ("compare", "evolve.toml"), "evolve.toml", TOML)
    yield from _typed(
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
    yield from _typed(
        "profile", ("profile", "--out", "p"),
        ("--samples 0", "--samples 1000000000000", "--held-out 0", "--held-out 1000000000000", "--passes 0",
         "--passes 1000000000000", "--minutes nan", "--minutes 0", "--minutes -1", "--seed x", "--out file",
         "--resume", "--resume --out folder", "--out file/x"),
        {"file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip


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


def _png(width: int, height: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        from PIL import Image

        Image.new("RGB", (width, height)).save(path)

    return write


def pretrain() -> Iterator[BadInput]:
    """Of `pretrain`."""
    taught = ("pretrain", "--out", "made", "--video", "frames", "--labels", "labels.json", "--steps", "1")
    frames = {"frames/1.png": _png(64, 64)}
    yield from _each("pretrain", taught, "labels.json", {**JSON, **COCO_FAULTS}, frames)
    yield from _typed(
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
        {"labels.json": json.dumps(COCO), "frames/1.png": _png(64, 64), "file": "x", "folder/mine.txt": "mine"},
    )  # fmt: skip
    yield from _each("pretrain-from", ("pretrain", "--out", "made", "--from", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip
    resumed = ("pretrain", "--out", "made", "--resume")
    for fault, content in JSON_LINES.items():
        yield BadInput(name=f"pretrain-journal-{fault}", words=resumed,
                       files={"made/fasterrcnn-tiny-journal.jsonl": content})  # fmt: skip


ADAPTER = '[outputs]\nkind = "scored"\nboxes = "boxes"\nscores = "scores"\n'


def label() -> Iterator[BadInput]:
    """Of `label`."""
    frames = {"frames/1.png": _png(64, 64)}
    usual = ("label", "frames", "--out", "out.json", "--labeller", "net.onnx")
    yield from _each("label", usual, "net.onnx", ONNX, frames)
    yield from _each("label-adapter", (*usual, "--adapter", "mine.toml"), "mine.toml", TOML, frames)
    yield from _typed(
        "label", ("label", "frames", "--out", "out.json"), ("--labeller mine.toml", "--labeller frames"),
        {**frames, "mine.toml": ADAPTER},
    )  # fmt: skip
    yield from _typed(
        "label", usual,
        ("--adapter magic", "--score 2", "--score 0.1 --unsure 0.5", "--stride 0", "--threads 0", "--class-map x",
         "--against nowhere.json", "--resume", "--out mine.toml", "--out file/x"),
        {**frames, "mine.toml": ADAPTER, "file": "x", "net.onnx": "none"},
    )  # fmt: skip


def other() -> Iterator[BadInput]:
    """Of the group, `init` and `doctor`."""
    yield from _typed(
        "group",
        (),
        (
            "magic",
            "--magic",
            "evolve --magic",
            "x\x1b[2J",
            "evolve nowhere\x1b[2J.toml",
            "evolve --preset \x1b[2J",
            "report \u202egnp",
            "schedule t --policy \x1b[2J",
            "evolve --seed \x1b[2J",
        ),
    )
    yield from _typed(
        "init-device", ("init-device",),
        ("d.ini", "folder.toml", "file.toml", "d.toml --from magic", "d.toml --rpu nowhere:x", "d.toml --rpu x",
         "d.toml --rpu os:getcwd", "d.toml --from pcm --rpu a:b", "/proc/none/d.toml", "null.toml --force"),
        {"file.toml": "in the way", "folder.toml/x": "x", "null.toml": lambda p: p.symlink_to("/dev/null")},
    )  # fmt: skip
    yield from _typed(
        "init", ("init",),
        ("--preset magic", "--preset ../quick", "file", "folder --force", "folder", "/proc/none/x.toml", "file/x.toml",
         "A" * 300, "fifo --force", "null --force"),
        {"file": "in the way", "folder/x": "x", "fifo": JSON["fifo"], "null": lambda p: p.symlink_to("/dev/null")},
    )  # fmt: skip


COMMANDS: Mapping[str, Callable[[], Iterator[BadInput]]] = {
    "schedule": schedule, "map": map_model, "bench-noise": bench_noise, "sensitivity": sensitivity, "report": report,
    "evolve": evolve, "compare": compare, "profile": profile, "pretrain": pretrain, "label": label,
    "other": other,
}  # fmt: skip
BAD_INPUTS: tuple[BadInput, ...] = tuple(bad for of_command in COMMANDS.values() for bad in of_command())
