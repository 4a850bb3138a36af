"""Files and commands of docs/your-task.md, and images for them."""

import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

PAGE = Path(__file__).parents[2] / "docs" / "your-task.md"
SHAPES = ("circle", "cross", "square")


def files() -> dict[str, str]:
    """Every file that the page shows, by its name in the first line."""
    blocks = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(blocks)


def commands() -> list[list[str]]:
    """Words of every command of the page, without the program's name."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def shapes(count: int, seed: int, *, bright: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(N, 32, 32, 3) uint8 pictures of one shape each, and (N,) which."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % len(SHAPES))
    return np.stack([_shape(int(label), random, bright) for label in labels]), labels


def folders(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Class folders, the images named in their order."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = path / SHAPES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")


def _shape(label: int, random: np.random.Generator, bright: float) -> np.ndarray:
    colour, paper = (tuple(int(v) for v in random.integers(*span, 3)) for span in ((120, 255), (0, 90)))
    picture = Image.new("RGB", (64, 64), paper)
    x, y, side = (int(v) for v in random.integers((8, 8, 22), (28, 28, 30)))
    box, pen = (x, y, x + side, y + side), ImageDraw.Draw(picture)
    if label == 0:
        pen.ellipse(box, fill=colour)
    elif label == 1:
        pen.line(box, fill=colour, width=7)
        pen.line((x, y + side, x + side, y), fill=colour, width=7)
    else:
        pen.rectangle(box, fill=colour)
    pixels = np.asarray(picture.resize((32, 32), Image.Resampling.BOX)) * bright + random.normal(0, 6, (32, 32, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)
