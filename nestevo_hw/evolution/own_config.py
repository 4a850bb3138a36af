"""The commented configuration of a run on clips of the user's own."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from nestevo_hw.base.documents import parse_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.text import one_line
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.labeller import LabellerConfig
from nestevo_hw.evolution.own_video import Clip, Plan, map_classes
from nestevo_hw.evolution.presets import preset_text
from nestevo_hw.evolution.teacher import SHIPPED
from nestevo_hw.models.checkpoint import ModelSpec, read_spec, resolve_checkpoint
from nestevo_hw.models.pruning import PRUNING_RATIOS

_VALUE = re.compile(r"(?:# )?(?P<key>\w+) *= *(?P<value>[^#]*?) *(?P<comment>#.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """A teacher and the terminals' models made from it."""

    teacher: str
    """A shipped name or the path of a checkpoint."""
    terminals: tuple[str, ...]
    spec: ModelSpec
    labeller: LabellerConfig | None = None
    """In place of the teacher."""

    @classmethod
    def found(cls, folder: Path | None) -> "Models":
        """Those in a folder of `nestevo-hw pretrain`, or the shipped ones.

        Raises:
            ConfigError: the folder does not hold one teacher.
            InputError: its checkpoint is damaged.
        """
        if folder is None:
            names = tuple(f"{SHIPPED}-{variant}" for variant in PRUNING_RATIOS)
            return cls(teacher=SHIPPED, terminals=names, spec=read_spec(resolve_checkpoint(SHIPPED)))
        files = sorted(folder.glob("*.safetensors"))
        teachers = [f for f in files if not any(f.stem.endswith(f"-{variant}") for variant in PRUNING_RATIOS)]
        if len(teachers) != 1:
            held = ", ".join(f.name for f in teachers) or "none"
            raise ConfigError(f"--models: need a folder of `nestevo-hw pretrain` with one teacher, {folder} has {held}")
        pruned = [teachers[0].with_stem(f"{teachers[0].stem}-{variant}") for variant in PRUNING_RATIOS]
        own = tuple(str(f) for f in pruned if f in files) or (str(teachers[0]),)
        return cls(teacher=str(teachers[0]), terminals=own, spec=read_spec(teachers[0]))

    def labelled_by(self, file: Path, adapter: str) -> "Models":
        """The same with a labeller in place of the teacher, and its classes as theirs.

        Raises:
            ConfigError: there is a class that nothing of the labeller's can be.
            InputError: it is missing, damaged, or not as the adapter says.
        """
        config = LabellerConfig(file=str(file), adapter=adapter)
        found = config.open(layered=False).classes
        mapped, others = map_classes(dict.fromkeys(found, 0), self.spec.classes)
        missing = set(self.spec.classes) - set(mapped.values())
        mapped |= {name: target for name, why in others.items() if (target := why.removeprefix("perhaps ")) in missing}
        unlabelled = [name for name in self.spec.classes if name not in mapped.values()]
        if unlabelled:
            raise ConfigError(
                f"--labeller: none of its classes is {unlabelled[0]!r}, which the models know; give --models that were "
                "made for its classes"
            )
        return replace(self, labeller=replace(config, class_map=mapped))


def own_config(clips: Sequence[Clip], plan: Plan, models: Models, path: Path) -> tuple[str, RunConfig]:
    """A configuration as text, and as it is read.

    Args:
        clips: of the terminals.
        plan: that fits them.
        models: to run.
        path: of the file that it is for, for messages.

    Raises:
        ConfigError: a value of it is none that a run takes.
    """
    sizes = [_scaled(clip.size, models.spec.max_size) for clip in clips]
    changes = {
        "frame_size": str([max(16, *sides) for sides in zip(*sizes, strict=True)]),
        "same_size": str(len(set(sizes)) > 1).lower(),
        "window.count": plan.windows, "window.length_s": plan.length_s, "window.upload_frames": plan.upload_frames,
        "window.upload_spacing": plan.upload_spacing, "window.test_frames": plan.test_frames,
        "reference.segments_per_place": plan.segments_per_place,
        "reference.frames_per_segment": plan.frames_per_segment, **_teacher(models),
    }  # fmt: skip
    head, _, _ = preset_text("quick").partition("\n[[terminals]]")
    title, rest = _title(clips, models), head.partition("\n\n")[2]
    tables = [
        _terminal(clip, start, model, models.spec.classes)
        for clip, start, model in zip(clips, plan.starts, cycle(models.terminals), strict=False)
    ]
    text = "\n".join([title, "", _changed(rest, changes).rstrip(), "", *tables])
    return text, parse_toml(text, RunConfig, str(path), error=ConfigError)


def _teacher(models: Models) -> dict[str, object]:
    """Settings for the teacher, by dotted name."""
    labeller = models.labeller
    if labeller is None:
        return {"teacher.model": _text(models.teacher)}
    table = f"file = {_text(labeller.file)}, adapter = {_text(labeller.adapter)}, {_class_map(labeller.class_map)}"
    return {
        "method": _text("terminals-only"), "teacher.model": None, "teacher.labeller": f"{{ {table} }}",
        "teacher.analog": _text(DIGITAL),
    }  # fmt: skip


def _scaled(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    return (round(size[0] * long_side / max(size)), round(size[1] * long_side / max(size)))


def _title(clips: Sequence[Clip], models: Models) -> str:
    lines = [
        f"NestEvo-HW run configuration for recordings of your own ({len(clips)}); it runs as it stands.",
        "Windows, in-domain frames and classes fit what is in the clips; every other value is the embedded default's.",
    ]
    if models.labeller is not None:
        lines.append(
            "A labeller is the teacher, so nothing but the terminals is trained; look whether its class_map is right."
        )
    if models.teacher == SHIPPED:
        lines.append("The shipped models know rendered streets: `nestevo-hw pretrain` on your own labels does better.")
    return "\n".join(f"# {line}" for line in lines)


def _changed(text: str, changes: Mapping[str, object]) -> str:
    """A commented TOML with other values, by dotted name, without those that are None; comments stay."""
    section, lines, left = "", [], dict(changes)
    for line in text.splitlines():
        if table := re.match(r"\[([\w.]+)\]", line):
            section = f"{table[1]}."
        entry = _VALUE.fullmatch(line)
        if entry and (name := f"{section}{entry['key']}") in left:
            if (new := left.pop(name)) is None:
                continue
            value = f"{entry['key']} = {new}"
            column = entry.start("comment") if entry["comment"] else 0
            lines.append(f"{value:{max(column - 2, 0)}}  {entry['comment'] or ''}".rstrip())
        else:
            lines.append(line)
    if left:
        raise ConfigError(f"the preset has no {', '.join(left)}")
    return "\n".join(lines)


def _terminal(clip: Clip, start: int, model: str, classes: Sequence[str]) -> str:
    height, width = clip.size
    lines = [
        "[[terminals]]",
        f"name = {_text(clip.name)}",
        f"model = {_text(model)}",
        f"video = {_text(clip.video)}  # {clip.length} frames of {width} x {height}",
        f"fps = {clip.fps:.6g}",
        *_labels(clip, classes),
        f"start_frame = {start}  # what lies before is in-domain",
        '# drift = [{ window = 0, kind = "night", strength = 0.6 }]  # weather added to the recording',
    ]
    return "\n".join(lines) + "\n"


def _labels(clip: Clip, classes: Sequence[str]) -> list[str]:
    if clip.labels is None:
        return ['# labels = ".."  # without them the loop runs and scores nothing']
    if not clip.labelled:
        return [f"# labels = {_text(clip.labels)}  # are too few to be scored on in any window"]
    mapped, others = map_classes(clip.boxes, classes)
    told = [f"{_text(name)} ({clip.boxes[name]} boxes, {why})" for name, why in others.items()]
    note = [one_line(f"# left out: {', '.join(told)}")] if told else []
    if not mapped:
        return [f"# labels = {_text(clip.labels)}  # none of its classes is one of the models': {', '.join(classes)}",
                *note]  # fmt: skip
    return [f"labels = {_text(clip.labels)}", _class_map(mapped), *note]


def _class_map(mapped: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{_text(name)} = {_text(target)}" for name, target in mapped.items())
    return f"class_map = {{ {pairs} }}"


def _text(text: str) -> str:
    """A TOML string, of which JSON's are a part."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
