"""A server on this machine's own address, with digits to recognise and tasks that cost nothing."""

import base64
import hashlib
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from nestevo_hw.evolution.config import RunConfig, load_preset, parse_config
from nestevo_hw.evolution.steps.deploying import ExportRequest
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.serve import listening, opened
from nestevo_hw.server.tokens import VIEWER, new_token
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.testing.simulated import Asked, typical

NAMES = ("gate", "belt")
FREE = {"keep_free_mb": 0.0}
"""Tests do without a margin on the disk."""


def remote_config(**window: int) -> RunConfig:
    """Digits, from two terminals elsewhere."""
    document = load_preset("digits").document()
    document["terminals"] = [{"name": name, "model": "digits-cnn-m3", "remote": True} for name in NAMES]
    document["window"] |= {"upload_frames": 8, **window}
    return parse_config(document, source="test")


def digits(count: int, first: int = 0) -> list[np.ndarray]:
    """(32, 32, 3) frames."""
    stream = DigitStream(name="gate", place="gate", seed=0, size=(32, 32), drift=None, role="terminal")
    return [image.permute(1, 2, 0).numpy() for image in stream.read(range(first, first + count)).images]


def picture(number: int = 0, kind: str = "JPEG", size: tuple[int, int] = (32, 32)) -> bytes:
    """A file as a camera sends it, other for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def digest(content: bytes) -> dict[str, str]:
    """The header that tells a frame's digest."""
    return {"content-digest": f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"}


@dataclass
class Talk:
    """A running server, and who asks."""

    port: int
    served: object
    state: Path
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, name: str = "gate") -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.tokens[name]}"}, timeout=20)

    def put(
        self, client: httpx.Client, frame: str, content: bytes, name: str = "gate", **headers: str
    ) -> httpx.Response:
        return client.put(
            f"/terminals/{name}/frames/{frame}?taken_s=1.5", content=content, headers=digest(content) | headers
        )


@contextmanager
def talking(state: Path, config: RunConfig, **limits: object) -> Iterator[Talk]:
    """A server in a thread, which takes frames and hands out models; nothing evolves."""
    state.mkdir(exist_ok=True)
    settings = ServeConfig(port=0, **FREE | limits)
    tokens = {name: new_token(state, name) for name in (*NAMES, VIEWER)}
    with opened(config, settings, state) as served, listening(served, settings) as port:
        yield Talk(port=port, served=served, state=state, tokens=tokens)


def exporting(*folders: Path):
    """Answers of tasks that cost nothing; the k-th model that a terminal gets is what lies in the k-th folder."""

    def answer(asked: Asked) -> object:
        request = asked.request
        if isinstance(request, ExportRequest):
            window = request.version.window
            source = folders[min(0 if window is None else window + 1, len(folders) - 1)]
            shutil.copytree(source, request.folder, dirs_exist_ok=True)
        return typical(asked)

    return answer
