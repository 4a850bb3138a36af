"""Names of the tasks, for command lines and configurations that must not load torch."""

TASKS = {
    "detection": "objects in street scenes, by Faster R-CNN",
    "classification": "one class an image, by a small convolutional network or a classifier of your own",
}
"""What each task is, by the name of the module of `nestevo_hw.tasks` that holds it as `TASK`."""
TASK_NAMES = tuple(TASKS)
