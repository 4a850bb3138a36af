"""One table of bad inputs a command: what is typed, and the files that are there."""

from collections.abc import Callable, Iterator, Mapping

from bad_data import export, init_video, label, pretrain, record
from bad_input import BadInput, typed
from bad_models import bench_noise, harden, map_model, schedule, sensitivity
from bad_runs import compare, evolve, profile, report
from bad_servers import serve, terminal
from faults import JSON


def other() -> Iterator[BadInput]:
    """Of the group, `init` and `doctor`."""
    yield from typed(
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
    yield from typed(
        "init-device", ("init-device",),
        ("d.ini", "folder.toml", "file.toml", "d.toml --from magic", "d.toml --rpu nowhere:x", "d.toml --rpu x",
         "d.toml --rpu os:getcwd", "d.toml --from pcm --rpu a:b", "/proc/none/d.toml", "null.toml --force"),
        {"file.toml": "in the way", "folder.toml/x": "x", "null.toml": lambda p: p.symlink_to("/dev/null")},
    )  # fmt: skip
    yield from typed(
        "init", ("init",),
        ("--preset magic", "--preset ../quick", "file", "folder --force", "folder", "/proc/none/x.toml", "file/x.toml",
         "A" * 300, "fifo --force", "null --force"),
        {"file": "in the way", "folder/x": "x", "fifo": JSON["fifo"], "null": lambda p: p.symlink_to("/dev/null")},
    )  # fmt: skip


COMMANDS: Mapping[str, Callable[[], Iterator[BadInput]]] = {
    "schedule": schedule, "map": map_model, "bench-noise": bench_noise, "sensitivity": sensitivity, "report": report,
    "evolve": evolve, "compare": compare, "profile": profile, "pretrain": pretrain, "label": label,
    "record": record, "init --video": init_video, "export": export, "harden": harden, "serve": serve,
    "terminal": terminal, "other": other,
}  # fmt: skip
BAD_INPUTS: tuple[BadInput, ...] = tuple(bad for of_command in COMMANDS.values() for bad in of_command())
