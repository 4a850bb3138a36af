"""Tasks whose workers died: a resumed run tries them again, and does anew what followed from their absence."""

from nestevo_hw.evolution.journal import read_result
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.taskid import window_of
from nestevo_hw.scheduler.task import TaskFailure, TaskResult


def deaths(layout: RunLayout) -> list[int]:
    """Windows in which tasks failed without a word: their workers were killed or ran too long."""
    windows = {path: window_of(path.name) for path in layout.results.glob("*.json")}
    return sorted(w for path, w in windows.items() if w is not None and _died(read_result(path)))


def forget_deaths(layout: RunLayout, *, files_kept: bool) -> None:
    """Remove the results of the first window in which a worker died, and of all later ones, which follow from it.

    Args:
        layout: of the run.
        files_kept: whether the files of all earlier windows are still there to start from; else all windows go.
    """
    dead = deaths(layout)
    if not dead:
        return
    first = dead[0] if files_kept else 0
    windows = {path: window_of(path.name) for path in layout.results.glob("*.json")}
    gone = [path for path, window in windows.items() if window is not None and window >= first]
    # Failures last: who is killed here finds them again.
    for path in sorted(gone, key=lambda path: _died(read_result(path))):
        path.unlink()


def _died(result: TaskResult | TaskFailure) -> bool:
    return isinstance(result, TaskFailure) and not result.error_type
