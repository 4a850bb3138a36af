"""Models pruned uniformly and trained as long as a supernet, for `nestevo-hw elastic search --against`.

    python benchmarks/elastic_pruning.py [BASE] [--quick] [--json] [--rates 0.375,0.5] [--steps 600] [--frames 800]
                                         [--fresh 400] [--seed 0] [--out DIR]

Each is the base with the same share of the channels of every layer pruned away, fine-tuned on the frames that
`nestevo-hw elastic build BASE --frames N --seed S` learns from, for as many steps of as many frames as its two
trainings have together. Beside them go frames of sceneries that neither has seen, to search and to compare on:

    nestevo-hw elastic build BASE --out runs/elastic --frames 800 --distil-steps 250 --tune-steps 350
    python benchmarks/elastic_pruning.py BASE --out runs/pruned
    nestevo-hw elastic search runs/elastic --out runs/search --frames runs/pruned/fresh.safetensors --cpu-time
        --against runs/pruned/pruned-0.5.safetensors
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.pretrain_frames import PLACES, embedded_source
from nestevo_hw.evolution.pretrain_job import PretrainConfig, score_checkpoint, train_supervised
from nestevo_hw.evolution.rendering import Shots, one_by_one
from nestevo_hw.models.checkpoint import load_model, read_spec, resolve_checkpoint, save_model
from nestevo_hw.models.pruning import prune
from nestevo_hw.models.zoo import task_of
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.storage import concatenate, save_frames
from nestevo_hw.tasks.named import task_named

VARIANTS = 10
"""Sceneries of each place, as `elastic build` has them."""


def fresh(task: str, size: tuple[int, int], count: int, seed: int, out: Path) -> None:
    """Labelled frames of sceneries of their own."""
    shots = [
        Shots(task=task, place=place, seed=derive_seed(seed, "fresh", place), size=size,
              indices=tuple(k * 61 for k in range(-(-count // len(PLACES)))))
        for place in PLACES
    ]  # fmt: skip
    save_frames(concatenate(one_by_one(shots)), out)


def main() -> None:
    """Prune, train, score, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="fasterrcnn-resnet18-slim")
    parser.add_argument("--quick", action="store_true", help="a classifier, two steps")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rates", default="0.375,0.5", help="shares of the channels that are pruned away")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--frames", type=int, default=800, help="to train on, about")
    parser.add_argument("--fresh", type=int, default=400, help="frames to search and to compare on, about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/elastic-pruning"))
    options = parser.parse_args()
    if options.quick:
        options.base, options.rates = "digits-mobilenet", "0.5"
        options.steps, options.frames, options.fresh = 2, 100, 20
    base = resolve_checkpoint(options.base)
    spec, task = read_spec(base), task_of(load_model(base)[0])
    size = (spec.min_size, spec.max_size)
    source = embedded_source(task, seed=options.seed, variants=VARIANTS, size=size,
                             frames_per_scene=-(-options.frames // (len(PLACES) * VARIANTS)))  # fmt: skip
    training, _ = source.read(one_by_one)
    file = options.out / "fresh.safetensors"
    fresh(task, size, options.fresh, options.seed, file)
    plan = replace(PretrainConfig.shipped(task).terminal, steps=options.steps)
    rows = []
    for rate in map(float, options.rates.split(",")):
        model = prune(load_model(base)[0], rate, size)
        begin = time.process_time()
        train_supervised(
            task_named(task), model, training, plan, Augmentation(flip=task_named(task).augmentation.flip),
            seed=options.seed, name=f"pruned {rate:g}", device=torch.device("cpu"),
            state=options.out / f"training-{rate:g}.safetensors",
        )  # fmt: skip
        seconds, checkpoint = time.process_time() - begin, options.out / f"pruned-{rate:g}.safetensors"
        save_model(model.eval(), spec, checkpoint, notes={"pruning": f"{rate:g}", "steps": str(options.steps)})
        scores = score_checkpoint(task_named(task), checkpoint, file, torch.device("cpu"))
        rows.append({"rate": rate, "cpu_seconds": seconds, **scores})
        if not options.json:
            print(f"{checkpoint}: {scores}, trained in {seconds:.0f} s of the CPU", flush=True)
    if options.json:
        print(json.dumps({"base": options.base, "steps": options.steps, "models": rows}))


if __name__ == "__main__":
    main()
