"""Old windows leave the disk, so that a run may go on for hundreds of them."""

from nestevo_hw.evolution.server import Server

LARGE = (".safetensors", ".onnx", ".jpg", ".png")
"""Files that a window leaves behind; results and events are small and stay."""


def tidy(server: Server, number: int) -> None:
    """Delete the large files of windows before the last `execution.keep_windows`, unless they are still in use.

    A resumed run does not miss them: tasks that have finished are not run again.
    """
    keep = server.config.execution.keep_windows
    if keep is None or number < keep:
        return
    in_use = server.files_in_use()
    for folder in server.layout.windows.iterdir():
        if int(folder.name) <= number - keep:
            for file in [f for f in folder.rglob("*") if f.suffix in LARGE and f not in in_use]:
                file.unlink()
