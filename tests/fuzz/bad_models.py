"""Bad inputs of the commands about models, devices and task lists."""

import json
from collections.abc import Iterator, Mapping

from bad_input import BadInput, each, typed
from faults import JSON, JSON_LINES, NPZ, ONNX, SAFETENSORS, TOML, Content

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
    yield from each("schedule", ("schedule", "tasks.json"), "tasks.json", {**JSON, **TASK_FAULTS})
    yield from typed(
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
    yield from each("map", ("map", "model.onnx"), "model.onnx", ONNX)
    faults = {**SAFETENSORS, "spec-size-huge": SAFETENSORS["spec-size-zero"]}
    yield from each("map", ("map", "fasterrcnn-tiny", "--no-program", "--weights", "w.safetensors"),
                     "w.safetensors", faults)  # fmt: skip
    yield from each("map-resnet", ("map", "resnet18", "--no-program", "--weights", "w.safetensors"),
                     "w.safetensors", {k: v for k, v in SAFETENSORS.items() if "spec" not in k})  # fmt: skip
    yield from each("map", ("map", "digits-cnn", "--no-program", "--chip", "chip.toml"), "chip.toml", CHIP_FAULTS)
    yield from each("map", ("map", "digits-cnn", "--no-program", "--analog", "mine.toml"), "mine.toml", DEVICE_FAULTS)
    yield from typed(
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
    yield from each("bench-noise", ("bench-noise", "model.onnx", "--quick"), "model.onnx", ONNX)
    yield from each("bench-noise", ("bench-noise", "--compare", "one", "two"), "one/results.json", JSON)
    yield from each("bench-noise", ("bench-noise", "fasterrcnn-tiny", "--weights", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip
    yield from typed(
        "bench-noise", ("bench-noise", "digits-cnn", "--quick"),
        ("--mu nan", "--mu inf", "--mu -1", "--mu x", "--mu ,", "--mu 1e300", "--times nan", "--times -1",
         "--times inf", "--times 1e300", "--adc-bits 0", "--adc-bits -1", "--adc-bits 1.5", "--adc-bits 1000",
         "--adc-bits nan", "--output-noise nan", "--output-noise -1", "--output-noise inf", "--sweep none",
         "--sweep mu=", "--sweep =", "--sweep mu=a", "--sweep tile=0", "--sweep tile=x", "--sweep analog=none",
         "--sweep stuck_cells=2", "--sweep stuck_cells=nan", "--sweep read_noise=-1", "--sweep ir_drop=nan",
         "--sweep student_mu=nan", "--noise-aware nan", "--noise-aware -1", "--noise-aware inf", "--student none",
         "--students --student none", "--repeats 1", "--repeats 0", "--repeats 1000000000000",
         "--frames 0",
         "--frames 1000000000000", "--workers 0", "--workers 1000000000", "--device none", "--analog none", "--tile 0",
         "--tile x", "--keep-digital nowhere", "--backend none", "--out file", "--seed x", "--seed 1e5",
         "--noise-aware-weights nowhere.safetensors", "--weights nowhere.safetensors", "--compare", "second-model",
         "--sweep analog=", "--sweep adc_bits=17", "--sweep dac_bits=1", "--sweep tile=1e9", "--sweep mu --mu 0.1",
         "--sweep student_mu", "--students", "--noise-aware 0.1", "--keep-digital ", "--resume --out nowhere",
         "--resume --out folder", "--out file/x"),
        {"file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip

    detector = ("bench-noise", "fasterrcnn-tiny", "--quick")
    yield from typed(
        "bench-noise fasterrcnn-tiny", detector,
        ("--students --student digits-cnn-m1", "--students --student nowhere.safetensors", "--students --student .",
         "--student fasterrcnn-tiny-m1", "--noise-aware 0.1 --noise-aware-weights w.safetensors"),
    )  # fmt: skip
    yield from each("bench-noise-student", (*detector, "--students", "--student", "w.safetensors"),
                     "w.safetensors", SAFETENSORS)  # fmt: skip


def sensitivity() -> Iterator[BadInput]:
    """Of `sensitivity`."""
    for model in (*_MODELS, *_UNFIT):
        yield BadInput(name=f"sensitivity {model}"[:60], words=("sensitivity", model, "--quick"), files=FACTORIES)
    yield from typed(
        "sensitivity", ("sensitivity", "digits-cnn", "--quick"),
        ("--age nan", "--age -1", "--age inf", "--age 1e300", "--target-loss nan", "--target-loss 2", "--tile 0",
         "--target-loss -1", "--repeats 0", "--repeats 1000000000000", "--frames 0", "--frames 1000000000000",
         "--device none", "--analog none", "--backend none", "--out file", "--weights nowhere.safetensors",
         "--out file/x", "--analog reram-wan --age 5", "--backend fold", "--perfect-io --backend fused",
         "--weights w.safetensors"),
        {"file": "in the way", "w.safetensors": "text"},
    )  # fmt: skip


def harden() -> Iterator[BadInput]:
    """Of `harden`."""
    for model in _UNFIT:
        yield BadInput(name=f"harden {model}"[:60], words=("harden", model, "--quick"), files=FACTORIES)
    usual = ("harden", "digits-cnn", "--quick")
    yield from each("harden", (*usual, "--weights", "w.safetensors"), "w.safetensors",
                    {k: v for k, v in SAFETENSORS.items() if "spec" not in k})  # fmt: skip
    yield from each("harden", (*usual, "--data", "data.npz"), "data.npz", NPZ)
    for fault, content in JSON_LINES.items():
        yield BadInput(name=f"harden-journal-{fault}", words=(*usual, "--resume", "--out", "made"),
                       files={"made/journal.jsonl": content})  # fmt: skip
    yield from typed(
        "harden", usual,
        ("--age nan", "--age -1", "--age inf", "--age 1e300", "--steps 0", "--steps 1000000000000", "--batch-size 0",
         "--batch-size 1000000000", "--learning-rate nan", "--learning-rate 0", "--learning-rate 1e300", "--samples 0",
         "--samples 1000000000000", "--drop-connect nan", "--drop-connect 1", "--clip nan", "--clip -1",
         "--compare nan", "--compare 2", "--seeds 0", "--seeds 1000000000000", "--repeats 1", "--repeats 1000000000000",
         "--frames 0",
         "--frames 1000000000000", "--seed x", "--tile 0", "--tile nan", "--analog none", "--analog ideal --age -1",
         "--device tpu", "--adc-range magic", "--keep-digital nowhere", "--weights nowhere.safetensors", "--resume",
         "--resume --out folder", "--out file", "--out file/x", "--data nowhere.npz",
         "--data nowhere:x", "--data file", "--data .", "--mean nan", "--mean 0,0,0", "--resize 0",
         "--channels 0", "--channels 1000000000",
         "--size 0x0", "--calibration-share nan", "--calibration-share 2", "--batch 0", "--first-class 7"),
        {"file": "in the way", "folder/mine.txt": "mine"},
    )  # fmt: skip
