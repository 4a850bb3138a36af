"""Folders with a label file for each frame: Pascal VOC and YOLO."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import read_text
from nestevo_hw.streams.images import SUFFIXES
from nestevo_hw.streams.label_document import ADVICE, Document, Gathered
from nestevo_hw.streams.sources import FrameSource

CLASS_FILES = ("classes.txt", "obj.names")
_YAML = ("data.yaml", "dataset.yaml", "data.yml")
_NOT_FRAMES = (*CLASS_FILES, "train.txt", "valid.txt", "val.txt", "test.txt")
_NUMBERS = 5
"""On a line of YOLO: class, centre, width and height."""


def holds_labels(path: Path) -> bool:
    """Whether a folder has label files, and no folders, which would be of classes."""
    entries = list(path.iterdir())
    return not any(entry.is_dir() for entry in entries) and any(_is_label(entry) for entry in entries)


def labels_of(path: Path) -> Path:
    """The labels/ of a folder that also has images/, as YOLO's data sets are laid out; any other path as it is."""
    labels = path / "labels"
    return labels if (path / "images").is_dir() and labels.is_dir() and holds_labels(labels) else path


def images_of(path: Path) -> Path:
    """Where the images of a folder of labels usually are: among them, in images/ where that is labels/, in JPEGImages/.

    Raises:
        InputError: in none of these.
    """
    above, last = path.absolute().parts, len(path.absolute().parts) - 1
    swapped = [Path(*above[:k], "images", *above[k + 1 :]) for k in range(last, 0, -1) if above[k] == "labels"]
    for folder in (path, *swapped, path.absolute().parent / "JPEGImages"):
        if folder.is_dir() and any(entry.name.lower().endswith(SUFFIXES) for entry in folder.iterdir()):
            return folder
    raise InputError(
        f"folder {path} has no images in it, nor in images or JPEGImages beside it; say with --images where they are"
    )


def _is_label(file: Path) -> bool:
    return file.name not in _NOT_FRAMES and file.suffix.lower() in (".xml", ".txt")


def read_folder(path: Path, source: FrameSource | None) -> Document:
    """Labels of a folder; with a video, a name ends with the number of its frame, from 0.

    Args:
        path: of the folder.
        source: frames that they belong to; of them YOLO files have their sizes.

    Raises:
        InputError: it holds no such files, or damaged ones.
    """
    files = sorted(filter(_is_label, path.iterdir()))
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) != 1:
        held = "both .xml and .txt labels; keep one kind" if kinds else f"no labels; {ADVICE}"
        raise InputError(f"folder {path} holds {held}")
    found = Gathered(path)
    if kinds == {".xml"}:
        for file in files:
            _add_voc(found, file)
    else:
        _add_yolo(found, path, files, source)
    return found.document()


def _index(name: str) -> int | None:
    """The number at the end of a name."""
    digits = re.search(r"(\d{1,9})$", Path(name).stem)
    return int(digits[1]) if digits else None


def _add_voc(found: Gathered, file: Path) -> None:
    """A frame of Pascal VOC, whose first pixel is 1 and whose right and bottom ones still belong to the box."""
    text = read_text(file, advice=ADVICE)
    if "<!" in text.replace("<!--", ""):
        raise InputError(f"{file} declares entities or types; save it as plain XML")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{file} is not valid XML: {error}; {ADVICE}") from error
    if root.tag != "annotation":
        raise InputError(f"{file} is no label of Pascal VOC but a {root.tag!r}; {ADVICE}")
    name = PureWindowsPath(root.findtext("filename", "").strip()).name or file.stem
    height, width = (int(_number(file, root, f"size/{side}")) for side in ("height", "width"))
    found.frame(name, (height, width), index=_index(name))
    for place, entry in enumerate(root.findall("object")):
        where = f"{file}: object {place}"
        category = entry.findtext("name", "").strip()
        if not category:
            raise InputError(f"{where} has no name; give it one")
        left, top, right, bottom = (
            _number(file, entry, f"bndbox/{side}", where) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        difficult = entry.findtext("difficult", "0").strip() not in ("", "0")
        found.box(category, (left - 1, top - 1, right, bottom), where, ignored=difficult)


def _number(file: Path, parent: ElementTree.Element, place: str, where: str = "") -> float:
    text = parent.findtext(place, "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where or file}: {place} is {text[:40]!r}, no number; correct it")
    return number


def _add_yolo(found: Gathered, path: Path, files: list[Path], source: FrameSource | None) -> None:
    """Frames of YOLO: a box a line, its centre and extent in shares of the frame."""
    if source is None:
        raise InputError(f"labels {path}: YOLO files do not say how large frames are; {ADVICE}")
    names = class_names(path)
    for name in names:
        found.category(name)
    frame_of = {Path(name).stem: (index, name) for index, name in enumerate(source.names)}
    for file in files:
        index, name = frame_of.get(file.stem, (None, file.stem))
        height, width = source.native_size if index is None else source.size_of(index)
        found.frame(name, (height, width), index=None if source.names else _index(name))
        for line, text in enumerate(read_text(file, advice=ADVICE).splitlines(), start=1):
            if text.strip():
                where = f"{file}: line {line}"
                number, x, y, w, h = _yolo_line(text, where)
                if number not in range(len(names)):
                    raise InputError(f"{where}: class {number:g} is none of the {len(names)} named; correct either")
                corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
                found.box(names[int(number)], corners, where)


def _yolo_line(text: str, where: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != _NUMBERS:
        raise InputError(f"{where}: need class, centre x, centre y, width and height, got {text[:60]!r}; {ADVICE}")
    return numbers


def class_names(path: Path) -> list[str]:
    """Names of the classes of a folder of YOLO files, in it or up to two folders above.

    Raises:
        InputError: there is no list of them, or one that cannot be read.
    """
    for folder in (path.absolute(), *path.absolute().parents[:2]):
        for name in CLASS_FILES:
            if (folder / name).is_file():
                lines = [line.strip() for line in read_text(folder / name).splitlines()]
                return _distinct([line for line in lines if line], folder / name)
        for name in _YAML:
            if (folder / name).is_file():
                return _distinct(list(_names_of_yaml(folder / name)), folder / name)
    raise InputError(f"labels {path}: no {' or '.join(CLASS_FILES)} beside them; write one, a class a line")


def _distinct(names: list[str], file: Path) -> list[str]:
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"{file}: need different names of classes, got {len(names)}; write one a line into classes.txt"
        )
    return names


_PLAIN = re.compile(r"[^\s\"'#:,\[\]{}&*!|>%@`-][^\"'#:,\[\]{}]*|\"[^\"\\]*\"|'[^']*'")
"""A name in YAML, in quotes or not, that means what it looks like."""


def _names_of_yaml(file: Path) -> Iterator[str]:
    """The list or map `names` of a YAML file; only as simple as tools write it.

    Raises:
        InputError: it is not there, or not as simple.
    """
    refused = InputError(f"{file}: its `names` cannot be read; write the classes, one a line, into classes.txt")
    lines = [re.sub(r"(^|\s)#.*", "", line).rstrip() for line in read_text(file).splitlines()]
    start = next((k for k, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise refused
    rest = lines[start].partition(":")[2].strip()
    block = []
    for line in lines[start + 1 :]:
        if line and not re.match(r"\s|-\s", line):
            break
        block.append(line.strip())
    if rest and not rest.endswith(("]", "}")):  # a list that goes on over several lines
        rest += " ".join(block)
    entries = (
        rest[1:-1].split(",") if rest[:1] + rest[-1:] in ("[]", "{}") else [] if rest else list(filter(None, block))
    )
    for number, entry in enumerate(entries):
        listed = re.fullmatch(r"(?:-\s+|(\d+)\s*:\s+)?(.*?)", entry.strip())
        name = listed[2] if listed else ""
        if not _PLAIN.fullmatch(name) or (listed and listed[1] is not None and int(listed[1]) != number):
            raise refused
        yield json.loads(name) if name[0] == '"' else name.strip("'")
