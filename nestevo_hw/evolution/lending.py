"""Terminals that upload nothing: they learn from another one of their group, and are tested on their own frames."""

from collections.abc import Mapping
from functools import partial

from nestevo_hw.evolution.methods import Method
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.camera import CaptureRequest, CaptureResult, LentFrames
from nestevo_hw.evolution.steps.table import CAPTURE
from nestevo_hw.report.records.terminal import Absent, Borrowed


def with_borrowers(
    server: Server, method: Method, number: int, captured: Mapping[str, CaptureResult]
) -> dict[str, CaptureResult]:
    """What the terminals of a window have captured, with those that upload nothing; in the order of the configuration.

    One that nobody lends frames to has none, and keeps its model.

    Args:
        server: knows groups and files, and runs the tasks.
        method: whether it shares frames.
        number: of the window.
        captured: of the terminals that upload.
    """
    present = server.config.present(number)
    requests = {
        name: _borrowing(server, method, number, name, captured) for name in present if not server.config.uploads(name)
    }
    done = server.dispatch.run(CAPTURE, number, requests) if requests else {}
    every = {**captured, **{name: finished.value for name, finished in done.items()}}
    return {name: every[name] for name in present if name in every}


def _borrowing(
    server: Server, method: Method, number: int, name: str, captured: Mapping[str, CaptureResult]
) -> CaptureRequest:
    """To capture a terminal's later frames, and what the terminal of its group that has uploaded most lends it."""
    group, wants_truth, lent = server.group_of, method.wants_truth, None
    file = partial(server.layout.window, number)
    others = [other for other in captured if group[other] == group[name]] if method.shares else []
    if others:
        lender = max(others, key=lambda other: captured[other].frames)
        server.journal.log(Borrowed(window=number, terminal=name, of=lender))
        lent = LentFrames(
            of=lender,
            upload=file(lender, "upload.safetensors"),
            truth=file(lender, "truth.safetensors") if wants_truth else None,
            frames=captured[lender].frames,
            spacing_s=captured[lender].spacing_s,
        )
    else:
        reason = "sends no frames, and no terminal of its group lends any"
        server.journal.log(Absent(window=number, terminal=name, reason=reason))
    return CaptureRequest(
        frames=0,
        upload=file(name, "upload.safetensors"),
        test=file(name, "test.safetensors"),
        truth=file(name, "truth.safetensors") if wants_truth else None,
        lent=lent,
    )
