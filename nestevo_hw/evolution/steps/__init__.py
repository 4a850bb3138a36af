"""The tasks of an evolution window: functions that read files, write files and return JSON.

Every path a task reads or writes stands in its payload, so a task can run in any worker on any machine that sees the
run folder, and a finished one need not run again.
"""

# Workers are forked from a process that has imported this package, and so all steps.
from nestevo_hw.evolution.steps import camera, labels, lessons, results, teachers

__all__ = ["camera", "labels", "lessons", "results", "teachers"]
