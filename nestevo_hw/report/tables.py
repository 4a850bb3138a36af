"""A run's tables, for its page and for the console."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from operator import itemgetter
from typing import Any

from nestevo_hw.base.stats import total
from nestevo_hw.pages.formats import DASH, change, counted, duration, listed, percent, score, share, signed, small
from nestevo_hw.pages.parts import Pill
from nestevo_hw.pages.tables import Cell, Table
from nestevo_hw.report.events import Run
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.recording import Damage, Labels
from nestevo_hw.report.records.teacher import (
    Benefit,
    Calibration,
    Decision,
    Deploy,
    Drift,
    Generator,
    Groups,
    Program,
    Refresh,
)
from nestevo_hw.report.records.terminal import Absent, Borrowed, Candidate, Elastic, Moving, Related, Rollback, Select
from nestevo_hw.report.records.work import Exceeded, Failure, TaskRun
from nestevo_hw.report.summary import Levels, ModelSummary, Summary, read_summary
from nestevo_hw.report.timing import GUESSES
from nestevo_hw.report.wording import memory_name, origins_text
from nestevo_hw.scheduler.outcomes import Outcome, by_kind

_CANDIDATES: dict[Candidate, Pill] = {
    "evolved": Pill(text="the evolved model", tone="good"),
    "adapted": Pill(text="the BatchNorm-adapted one", tone="wait"),
    "old": Pill(text="none: it keeps the old one", tone="bad"),
}


def summary_table(document: Mapping[str, Any]) -> Table:
    """Accuracy of every terminal and the teacher before and after evolving.

    Args:
        document: the summary of `nestevo-hw evolve`, or of an unfinished run.
    """
    summary = read_summary(document)
    origins = origins_text(summary.delay_s.origins)
    together = summary.together
    alike = any(math.isfinite(m.onnx_off) for m in summary.evolved) and all(
        _exported(m) == DASH for m in summary.evolved
    )
    scored = any(math.isfinite(level) for m in summary.terminals for level in (m.before, m.after))
    return Table(
        title=f"{summary.metric}, mean over the windows in which a model evolved"
        if scored
        else "what terminals were given; there is nothing to score them by",
        heads=(
            "terminal",
            "model",
            "before",
            "adapted",
            "after",
            "gain",
            "over adapted",
            "given",
            summary.second_metric[1] or "second metric",
            "ONNX off by",
            "life cycle",
        ),
        rows=[_model(m, summary.second(m)) for m in (*summary.terminals, together, summary.teacher)],
        note=f"mean evolution delay {duration(summary.delay_s.mean)}{f' ({origins})' if origins else ''}, "
        f"wall time {duration(summary.wall_s)}{_forgotten(summary)}{_new_teachers(summary)}{_adapted(together)}"
        f"{_life_cycle(together)}{'; ONNX Runtime gives the same' if alike else ''}",
        marked=frozenset({len(summary.terminals), len(summary.terminals) + 1}),
    ).filled()


def _model(model: ModelSummary, second: Levels) -> tuple[Cell, ...]:
    return (
        model.name, model.pruning or "", score(model.before), score(model.adapted), score(model.after),
        _gain(model.gain), _gain(model.gain_over_adapted), _given(model), change(second.before, second.after),
        _exported(model), score(model.lcp),
    )  # fmt: skip


def _exported(model: ModelSummary) -> str:
    """How far its score in ONNX Runtime is from PyTorch's, where it is another one."""
    return signed(model.onnx_off, 3) if abs(model.onnx_off) >= 0.0005 else DASH


def _gain(gain: float | None) -> Cell:
    return DASH if gain is None else Pill(text=percent(gain), tone="good" if gain > 0 else "bad")


def _adapted(together: ModelSummary) -> str:
    return "; adapted: only its BatchNorm" if math.isfinite(together.adapted) else ""


def _life_cycle(together: ModelSummary) -> str:
    return "; life cycle: mean over whole windows, the time before the new model included" if together.lcp > 0 else ""


def _given(model: ModelSummary) -> str:
    """Which model a terminal was given, and how often where that differed."""
    return ", ".join(f"{name} {n}" if len(model.given) > 1 else name for name, n in model.given.items())


def _new_teachers(summary: Summary) -> str:
    """What became of new teachers; that the teacher in force has the scene's statistics only after evolving."""
    accepted, rejected = (summary.new_teachers.get(word, 0) for word in ("accepted", "rejected"))
    if not rejected:
        return ""
    return f", {accepted} of {accepted + rejected} new teachers deployed (a teacher's gain is also its BatchNorm's)"


def _forgotten(summary: Summary) -> str:
    if not math.isfinite(summary.backward_transfer):
        return ""
    return f", backward transfer {signed(summary.backward_transfer)} on earlier scenes"


def prediction_table(run: Run) -> Table:
    """What each kind of task was predicted to take, and what it took; tasks without times are left out."""
    timed = [task for task in run.of(TaskRun) if math.isfinite(task.ended_s) and math.isfinite(task.predicted_s)]
    outcomes = [Outcome.read(asdict(task)) for task in timed if not task.guessed]
    guesses = counted(len(timed) - len(outcomes), "first guess", "first guesses")
    return Table(
        title="tasks, predicted against actual (means)",
        heads=("kind of task", "tasks", "wait", "predicted", "actual", "off by", f"worst {memory_name(run)}"),
        rows=[
            (run.kind(k.kind).wording, str(k.tasks), duration(k.mean_wait_s), duration(k.mean_predicted_s),
             duration(k.mean_actual_s), f"x {k.typical_duration_factor:.2f}",
             f"{k.worst_memory_ratio:.0%} of predicted")
            for k in by_kind(outcomes)
        ],
        note=GUESSES.format(guesses) if len(outcomes) < len(timed) else "",
    )  # fmt: skip


def decisions_table(run: Run) -> Table:
    """What each window decided: who drifted, which evolution, whether the validation gate let the new teacher in."""
    decided = {(e.window, e.group): e for e in run.of(Decision)}
    expected = {(e.window, e.group): e for e in run.of(Benefit)}
    generated = {(e.window, e.group): e for e in run.of(Generator)}
    deployed = {(e.window, e.group): e for e in run.of(Deploy)}
    rows = []
    for key in sorted({*decided, *expected, *generated, *deployed}):
        decision, generator, deploy = decided.get(key), generated.get(key), deployed.get(key)
        benefit = expected.get(key)
        members = _compared(run, *key)
        rows.append((
            str(key[0]), key[1],
            f"{decision.drifted} of {len(members)} (teacher joins from {decision.epsilon})" if decision else DASH,
            f"{share(benefit.sure)} (adapts below {share(benefit.least)})" if benefit else DASH,
            next((found.mode for found in (decision, benefit) if found), DASH),
            change(generator.emd_before, generator.emd_after) if generator else DASH,
            change(generator.feature_emd_before, generator.feature_emd_after) if generator else DASH,
            change(generator.overall_emd_before, generator.overall_emd_after) if generator else DASH,
            _verdict(deploy) if deploy else DASH,
            ", ".join(sorted({c for d in members for c in d.left_out})),
        ))  # fmt: skip
    heads = ("window", "group", "drifted terminals", "sure of", "evolution", "label distance", "feature distance",
             "distance to all", "validation gate", "too rare to compare")  # fmt: skip
    return Table(heads=heads, rows=rows).filled()


def programmings_table(run: Run) -> Table:
    """When the teacher was programmed, why, and what that cost."""
    programmed = run.of(Program)
    time_s, energy_j, wear = (total(getattr(p, name) for p in programmed) for name in ("time_s", "energy_j", "wear"))
    chips = list(dict.fromkeys(p.chip for p in programmed if p.chip))
    bill = (
        f" All of them together take {duration(time_s)}, {small(energy_j, 'J')} and {small(wear)} of the cells' "
        f"endurance, modelled from figures of {listed(chips)}."
        + "".join(f" {line}" for line in dict.fromkeys(line for p in programmed for line in p.differences))
    )
    return Table(
        heads=("window", "group", "why", "device", "tiles", "weight error", "age at first label",
               "in-domain, fresh", "time", "energy", "wear"),
        rows=[
            ("setup" if p.window == SETUP else str(p.window), p.group, p.cause or DASH, p.analog, _tiles(p),
             share(p.weight_error), duration(p.age_s), score(p.score), duration(p.time_s), small(p.energy_j, "J"),
             small(p.wear))
            for p in programmed
        ],
        note=f"{counted(len(programmed), 'programming')}. Weight error: root mean square of what a weight lands off "
        f"its target, relative.{bill if chips else ''}",
    ).filled()  # fmt: skip


def refreshes_table(run: Run) -> Table:
    """What the refresh policy saw before each window, and what it chose."""
    return Table(
        heads=("window", "group", "age", "in-domain now", "when programmed", "policy", "programmed again", "because"),
        rows=[
            (str(r.window), r.group, duration(r.age_s), score(r.score), score(r.fresh_score), r.policy,
             "yes" if r.refreshed else "no", r.reason)
            for r in run.of(Refresh)
        ],
    ).filled()  # fmt: skip


def selections_table(run: Run) -> Table:
    """Which of its models each terminal was given, and by which scores."""
    return Table(
        heads=("window", "terminal", "deployed", "evolved", "adapted", "old", "frames", "adapted, all", "old, all"),
        rows=[
            (str(s.window), s.terminal, _CANDIDATES[s.chosen],
             *(score(s.scores.get(name, math.nan)) for name in ("evolved", "adapted", "old")), str(s.frames),
             *(score(s.untaught.get(name, math.nan)) for name in ("adapted", "old")))
            for s in run.of(Select)
        ],
        note="Mean of a model's agreement with the labels of frames and with itself on a changed view of them. Adapted "
        "and old model are compared on all uploaded frames, as they have learned from no label of these; the better of "
        "them with the evolved one on held-back frames that no training has seen, on which it has to be ahead by "
        "deployment.margin. No truth is used, so these are no accuracies.",
    ).filled()  # fmt: skip


_STAGES = {"search": "before the first", "before": "before training", "after": "after training"}


def paths_table(run: Run) -> Table:
    """Which path of the supernet each elastic terminal was given, when, and by which scores."""
    chosen = run.of(Elastic)
    return Table(
        title="paths of elastic terminals",
        heads=("window", "terminal", "chosen", "path", "in place of", "time", "budget", "its score", "another's",
               "frames"),
        rows=[
            (
                DASH if e.window == SETUP else str(e.window), e.terminal, _STAGES[e.stage], e.path, e.left or DASH,
                share(e.share), share(e.budget), score(e.scores.get(e.path, math.nan)), score(_of_another(e)),
                str(e.frames),
            )
            for e in chosen
        ],
        note=f"Times are shares of the base's, {listed(list(dict.fromkeys(e.times for e in chosen)))}. Before the "
        "first window a score is an accuracy on in-domain frames, beside the base's. Later it is the agreement with "
        "the labels of the terminal's frames, beside that of the path that was left, or else of the best other one.",
    ).filled()  # fmt: skip


def _of_another(event: Elastic) -> float:
    """Score of the path that was left, else the best of the others."""
    others = [event.left] if event.left else [path for path in event.scores if path != event.path]
    return max((event.scores.get(path, math.nan) for path in others), default=math.nan)


def groups_table(event: Groups) -> Table:
    """Groups of terminals with a teacher each."""
    return Table(heads=("group", "terminals"), rows=[(name, ", ".join(own)) for name, own in event.groups.items()])


def cameras_table(run: Run) -> Table:
    """Cameras that were treated otherwise than most, as they are to be."""
    rows = [(str(e.window), e.terminal, f"sends no frames, so it learned from {e.of}'s") for e in run.of(Borrowed)]
    rows += [(str(e.window), e.terminal, "moves, so no background was subtracted") for e in run.of(Moving)]
    return Table(heads=("window", "camera", "what was done"), rows=sorted(rows))


def related_table(run: Run) -> Table:
    """Whose labelled frames each terminal has learned beside its own, and how far the scenes of all others lay."""
    rows = [
        (str(e.window), e.terminal, ", ".join(e.to) or DASH,
         ", ".join(f"{other} {apart:.2f}" for other, apart in _nearest(e)))
        for e in run.of(Related)
    ]  # fmt: skip
    return Table(
        heads=("window", "terminal", "learns from", "nearest scenes"),
        rows=rows,
        note="How far the scenes of others lie from its own by the statistics of a model's features, where in-domain "
        "frames lie at 1. Of those up to replay.related it learns labelled frames, too.",
    )


def _nearest(event: Related, most: int = 4) -> list[tuple[str, float]]:
    """Terminals whose scenes lie nearest, and how far away."""
    return sorted(event.distances.items(), key=itemgetter(1))[:most]


def troubles_table(run: Run) -> Table:
    """Labels and video to look at, cameras that sent nothing of use, tasks outlived or that took more than reserved."""
    rows = [(str(e.window), e.terminal, "camera", e.reason) for e in run.of(Absent)]
    rows += [(str(e.window), e.terminal, "model", f"went back to {e.back_to}") for e in run.of(Rollback)]
    rows += [(str(e.window), e.terminal or "server", run.kind(e.kind).wording, e.reason) for e in run.of(Failure)]
    rows += [(str(e.window), e.terminal or "server", run.kind(e.kind).wording, _excess(e)) for e in run.of(Exceeded)]
    rows += [("", e.terminal, "labels", text) for e in run.of(Labels) for text in e.warnings]
    rows += [("", e.terminal, "video", text) for e in run.of(Damage) for text in e.warnings]
    rows += [("", e.group or "server", "drift", e.trouble) for e in run.of(Calibration) if e.trouble]
    return Table(heads=("window", "who", "where", "what happened"), rows=sorted(rows))


def _compared(run: Run, window: int, group: str) -> list[Drift]:
    """Terminals of a group whose drift was measured in a window."""
    members = next((set(e.groups.get(group, ())) for e in run.of(Groups)), None)
    return [d for d in run.of(Drift) if d.window == window and (members is None or d.terminal in members)]


def _excess(event: Exceeded) -> str:
    figures = f"{event.peak_bytes / 1e9:.2f} GB taken, {event.reserved_bytes / 1e9:.2f} GB reserved"
    return f"more memory than reserved: {figures}" + (", stopped to run alone" if event.stopped else "")


def _verdict(deploy: Deploy) -> str:
    figures = change(deploy.gate_before, deploy.gate_after)
    text = "accepted" if deploy.accepted else "rejected"
    text += f": {figures}" if figures != DASH else ""
    text += f", first {score(deploy.gate_first)}" if math.isfinite(deploy.gate_first) else ""
    return f"{text} ({deploy.reason})" if deploy.reason else text


def _tiles(program: Program) -> str:
    if program.tiles is None:
        return DASH
    rows, columns = program.tile if isinstance(program.tile, tuple) else (program.tile, program.tile)
    return f"{program.tiles} of {rows} x {columns}"
