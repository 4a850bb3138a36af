"""Models that terminals can fetch: whole, or as what differs from one that they have."""

import shutil
import threading
import time
from pathlib import Path

from nestevo_hw.base.files import replacing
from nestevo_hw.models.onnx.manifest import MANIFEST, MODEL, read_manifest
from nestevo_hw.server.deltas import model_delta
from nestevo_hw.server.store import Model, Store

WORTH = 0.9
"""Of a whole model's size, above which a difference is not sent."""


class Shelf:
    """Deployments by terminal and version; a version is the SHA-256 of its file and never changes.

    Args:
        folder: to keep them in.
        store: knows which are there.
        keep: versions of each terminal.
    """

    def __init__(self, folder: Path, store: Store, keep: int) -> None:
        self._folder, self._store, self._keep = folder, store, keep
        self._making = threading.Lock()

    def publish(self, name: str, deployed: Path) -> None:
        """Offer a terminal what is in a folder of `tasks.deployment.deploy`.

        Raises:
            InputError: it is damaged.
            OutputError: it cannot be copied.
        """
        manifest = read_manifest(deployed)
        version = manifest.sha256[manifest.model]
        if self._store.terminal(name).offered == version:
            return
        target = self._folder / name / version
        for file, source in ((MODEL, manifest.model), (MANIFEST, MANIFEST)):
            with replacing(target / file) as temporary:
                shutil.copyfile(deployed / source, temporary)
        size = (target / MODEL).stat().st_size
        window = manifest.version.window
        self._store.published(name, Model(version=version, window=window, bytes=size, published_s=time.time()))
        self._tidy(name)

    def file(self, name: str, version: str, file: str) -> Path | None:
        """A file of a model, None where it is not (or no longer) here."""
        if all(model.version != version for model in self._store.models(name)):
            return None
        path = self._folder / name / version / file
        return path if path.is_file() else None

    def delta(self, name: str, old: str, new: str) -> Path | None:
        """The package that makes one version of another, None where the whole model is the better way."""
        before, after = self.file(name, old, MODEL), self.file(name, new, MODEL)
        if before is None or after is None or old == new:
            return None
        path = after.with_name(f"from-{old}.delta")
        with self._making:  # one at a time: it takes memory
            if not path.exists():
                package = model_delta(before.read_bytes(), after.read_bytes())
                with replacing(path) as temporary:
                    temporary.write_bytes(package)
        return path if path.stat().st_size <= WORTH * after.stat().st_size else None

    def _tidy(self, name: str) -> None:
        """Remove all but the last versions, and what a terminal says that it runs."""
        runs = self._store.terminal(name).runs
        for model in self._store.models(name)[self._keep :]:
            if model.version != runs:
                self._store.withdrawn(name, model.version)
                shutil.rmtree(self._folder / name / model.version, ignore_errors=True)
