"""Frames in and out of safetensors files, as terminals upload them and tasks read them."""

from pathlib import Path

import torch

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.streams.frame import Annotation, FrameBatch


def save_frames(batch: FrameBatch, path: Path) -> None:
    """Write a batch, with its truth if it has one."""
    tensors = {"images": batch.images, "indices": torch.tensor(batch.indices)}
    if batch.truth is not None:
        tensors |= {
            "boxes": torch.cat([a.boxes for a in batch.truth]),
            "labels": torch.cat([a.labels for a in batch.truth]),
            "ignore": torch.cat([a.ignore for a in batch.truth]),
            "counts": torch.tensor([len(a.labels) for a in batch.truth]),
        }
    write_tensors(path, tensors)


def load_frames(path: Path) -> FrameBatch:
    """Read what `save_frames` wrote.

    Raises:
        InputError: the file is missing, corrupt, or holds something else.
    """
    _, tensors = read_tensors(path)
    if "images" not in tensors or "indices" not in tensors:
        raise InputError(f"{path} holds no frames; delete it and run again")
    truth = None
    if "counts" in tensors:
        sizes = tensors["counts"].tolist()
        columns = (tensors[name].split(sizes) for name in ("boxes", "labels", "ignore"))
        truth = tuple(Annotation(boxes=b, labels=k, ignore=i) for b, k, i in zip(*columns, strict=True))
    return FrameBatch(images=tensors["images"], indices=tuple(tensors["indices"].tolist()), truth=truth)


def concatenate(batches: list[FrameBatch]) -> FrameBatch:
    """Frames of several streams of one size, with truth if all have it."""
    truths = [b.truth for b in batches]
    return FrameBatch(
        images=torch.cat([b.images for b in batches]),
        indices=tuple(i for b in batches for i in b.indices),
        truth=tuple(a for t in truths if t is not None for a in t) if None not in truths else None,
    )
