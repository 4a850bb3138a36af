"""The table of steps: every kind of task of a run, with all that is known of it in one place."""

from dataclasses import replace
from typing import Any

from nestevo_hw.evolution.dryrun import DryRun
from nestevo_hw.evolution.gate import Verdict
from nestevo_hw.evolution.generator import GeneratorEffect
from nestevo_hw.evolution.learning import Trained
from nestevo_hw.evolution.refresh import Programming
from nestevo_hw.evolution.steps import camera, deploying, labels, paths, relating, scoring, teachers, training
from nestevo_hw.evolution.steps.step import Result, Step
from nestevo_hw.evolution.teacher import LabellingTime, Programmed
from nestevo_hw.models.elastic.space import Branch, PathSpace
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel
from nestevo_hw.terminals.elastic.pool import Candidate
from nestevo_hw.wire.signals import Signals

_WRITTEN = Programmed(
    tiles=90,
    weight_error=0.083,
    programming=Programming(time_s=0.6, energy_j=0.002, wear=2e-6),
    labelling=LabellingTime(first_s=2e-4, interval_s=5e-5),
)
_LABELLED = labels.LabelResult(counts={1: 40, 2: 60, 3: 20}, taught={1: 34, 2: 51, 3: 17}, crossbar_frames=96)
_PATH = (Branch(0),)
_TRAINED = training.TrainingResult(trained=Trained(loss=1.0, steps=40, trained_s=6.0))

PREPARE = Step(
    kind="prepare", run=teachers.prepare, request=teachers.PrepareRequest, result=teachers.PrepareResult,
    needs="crossbar", wording="prepares the first teacher", colour="prepare", per="group", typical_s=15.0,
    typical=lambda _: teachers.PrepareResult(
        familiar=teachers.Familiar(gamma=10.0, origin="calibrated", min_samples=8, scores=(8.0,), rate=2.0),
        classes=("a", "b", "c"),
        programmed=_WRITTEN, score=0.8, programming=_WRITTEN.programming, crossbar_frames=60,
    ),
)  # fmt: skip
DRY_RUN = Step(
    kind="dry-run", run=training.profile, request=training.DryRunRequest, result=training.DryRunResult,
    needs="gpu", wording="measures single training steps", colour="measure", typical_s=2.5, trains=True,
    typical=lambda _: training.DryRunResult(dry_run=DryRun(profiles={}, fake={})),
)  # fmt: skip
DESCRIBE = Step(
    kind="describe", run=labels.describe, request=labels.DescribeRequest, result=labels.DescribeResult,
    needs="gpu", wording="describes first frames, to form groups", colour="describe", typical_s=3.0,
    typical=lambda request: labels.DescribeResult(feature=(float(len(str(request.upload))), 0.0)),
)  # fmt: skip
BASELINE = Step(
    kind="baseline", run=camera.sense, request=camera.SenseRequest, result=camera.SenseResult,
    needs="gpu", wording="records a terminal's reference signals", colour="reference", typical_s=0.6,
    typical=lambda _: camera.SenseResult(signals=Signals(agreement=0.8, confidence=0.7)),
)  # fmt: skip
CAPTURE = Step(
    kind="capture", run=camera.capture, request=camera.CaptureRequest, result=camera.CaptureResult,
    needs="cpu", wording="captures frames", colour="upload", typical_s=1.2,
    typical=lambda request: camera.CaptureResult(
        upload_bytes=5_898_240, frames=request.lent.frames if request.lent else request.frames, fault=None,
        spacing_s=0.5, lender=request.lent.of if request.lent else None,
    ),
)  # fmt: skip
SENSE = Step(
    kind="sense", run=camera.sense, request=camera.SenseRequest, result=camera.SenseResult,
    needs="gpu", wording="a terminal estimates its accuracy", colour="sense", typical_s=0.7,
    typical=lambda _: camera.SenseResult(signals=Signals(agreement=0.5, confidence=0.5)),
)  # fmt: skip
ADAPT_BATCH_NORM = Step(
    kind="adapt-batch-norm", run=training.adapt_batch_norm, request=training.BatchNormRequest, result=Result,
    needs="gpu", wording="adapts a terminal's BatchNorm", colour="adapt", typical_s=0.3,
    typical=lambda _: Result(download_bytes=4_000),
)  # fmt: skip
INSPECT = Step(
    kind="inspect", run=teachers.inspect, request=teachers.InspectRequest, result=teachers.InspectResult,
    needs="crossbar", wording="measures the teacher", colour="inspect", part="labelling", per="group", typical_s=3.0,
    typical=lambda _: teachers.InspectResult(score=0.79, crossbar_frames=60),
)  # fmt: skip
PROGRAM = Step(
    kind="program", run=teachers.program, request=teachers.ProgramRequest, result=teachers.ProgramResult,
    needs="crossbar", wording="programs the teacher again", colour="program", per="group", typical_s=5.5,
    typical=lambda _: teachers.ProgramResult(
        programmed=_WRITTEN, score=0.8, programming=_WRITTEN.programming, crossbar_frames=60
    ),
)  # fmt: skip
LABEL = Step(
    kind="label", run=labels.label, request=labels.LabelRequest, result=labels.LabelResult,
    needs="crossbar", wording="labels frames", colour="label", part="labelling", typical_s=10.0,
    typical=lambda _: _LABELLED,
)  # fmt: skip
RELABEL = Step(
    kind="relabel", run=labels.label, request=labels.LabelRequest, result=labels.LabelResult,
    needs="crossbar", wording="the new teacher labels frames", colour="teacher", part="labelling", typical_s=10.0,
    typical=lambda _: _LABELLED,
)  # fmt: skip
SELF_LABEL = Step(
    kind="self-label", run=labels.label_themselves, request=labels.SelfLabelRequest, result=labels.LabelResult,
    needs="gpu", wording="a terminal labels its own frames", colour="label", part="labelling", typical_s=3.0,
    typical=lambda _: _LABELLED,
)  # fmt: skip
GROUND_TRUTH = Step(
    kind="ground-truth", run=labels.ground_truth, request=labels.GroundTruthRequest, result=labels.LabelResult,
    needs="cpu", wording="reads the truth", colour="label", typical_s=1.0, typical=lambda _: _LABELLED,
)  # fmt: skip
CHOOSE = Step(
    kind="choose", run=training.choose, request=training.ChooseRequest, result=training.ChooseResult,
    needs="gpu", wording="tries earlier models", colour="choose", typical_s=1.0,
    typical=lambda request: training.ChooseResult(index=0, scores=(0.6,) * len(request.candidates)),
)  # fmt: skip
RELATE = Step(
    kind="relate", run=relating.relate, request=relating.RelateRequest, result=relating.RelateResult,
    needs="gpu", wording="compares the terminals' scenes", colour="relate", per="group", typical_s=0.5,
    typical=lambda request: relating.RelateResult(
        distances={name: {other: 1.0 for other in request.names if other != name} for name in request.names}
    ),
)  # fmt: skip
DETECT_DRIFT = Step(
    kind="detect-drift", run=labels.detect_drift, request=labels.DriftRequest, result=labels.DriftResult,
    needs="crossbar", wording="detects drift", colour="drift", part="labelling", typical_s=2.2, priority=-1,
    typical=lambda _: labels.DriftResult(score=20.0, left_out=(), blind=False, crossbar_frames=96),
)  # fmt: skip
GENERATE = Step(
    kind="generate", run=training.generate, request=training.GenerateRequest, result=training.GenerateResult,
    needs="gpu", wording="trains the feature generator", colour="generator", per="group", typical_s=1.5,
    typical=lambda _: training.GenerateResult(
        label_loss=0.1,
        effect=GeneratorEffect(
            emd_before=0.3, emd_after=0.2, feature_emd_before=1.0, feature_emd_after=1.0, overall_emd_before=0.5,
            overall_emd_after=0.5,
        ),
    ),
)  # fmt: skip
MUTUAL = Step(
    kind="mutual", run=training.mutual, request=training.MutualRequest, result=training.TrainingResult,
    needs="gpu", wording="terminal and intermediate model learn from each other", colour="mutual", typical_s=17.0,
    plan=lambda config: config.mutual.plan, typical=lambda _: _TRAINED,
)  # fmt: skip
MERGE = Step(
    kind="merge", run=teachers.merge, request=teachers.MergeRequest, result=teachers.MergeResult,
    needs="crossbar", wording="averages intermediate models into a teacher", colour="aggregate", per="group",
    typical_s=5.0,
    typical=lambda _: teachers.MergeResult(
        verdict=Verdict(accepted=True, gate_before=0.8, gate_after=0.81, gate_first=0.8, reason="within the margin"),
        programmed=_WRITTEN, score=0.8, programming=_WRITTEN.programming, crossbar_frames=60,
    ),
)  # fmt: skip
ADAPT_UNLABELLED = Step(
    kind="adapt-unlabelled", run=teachers.adapt_teacher, request=teachers.AdaptTeacherRequest,
    result=teachers.AdaptTeacherResult, needs="crossbar", wording="the teacher adapts to scenes without labels",
    colour="maximise", per="group", typical_s=8.0, trains=True,
    typical=lambda _: teachers.AdaptTeacherResult(loss=-1.0, bytes=4_000, crossbar_frames=6_300, beside_s=6.0),
)  # fmt: skip
ADAPT_LABELLED = Step(
    kind="adapt-labelled", run=teachers.adapt_teacher, request=teachers.AdaptTeacherRequest,
    result=teachers.AdaptTeacherResult, needs="crossbar", wording="the teacher's adapters learn its labels",
    colour="beside", per="group", typical_s=25.0, trains=True,
    typical=lambda _: teachers.AdaptTeacherResult(loss=0.8, bytes=400_000, crossbar_frames=480, beside_s=20.0),
)  # fmt: skip
DISTIL = Step(
    kind="distil", run=training.distil_terminal, request=training.DistilRequest, result=training.TrainingResult,
    needs="gpu", wording="distils the teacher into a terminal", colour="distil", typical_s=11.0,
    plan=lambda config: config.distil.plan, typical=lambda _: _TRAINED,
)  # fmt: skip
ADAPT = Step(
    kind="adapt", run=training.adapt, request=training.AdaptRequest, result=training.TrainingResult,
    needs="gpu", wording="adapts a terminal adversarially", colour="mutual", typical_s=18.0, trains=True,
    typical=lambda _: _TRAINED,
)  # fmt: skip
ADAPT_SCALE_AND_SHIFT = Step(
    kind="adapt-scale-and-shift", run=training.adapt_scale_and_shift, request=training.BatchNormRequest,
    result=training.TrainingResult, needs="gpu", wording="a terminal's BatchNorm learns to be certain",
    colour="adapt", typical_s=12.0, trains=True, typical=lambda _: _TRAINED,
)  # fmt: skip
AVERAGE = Step(
    kind="average", run=deploying.average_terminals, request=deploying.AverageRequest, result=Result,
    needs="cpu", wording="averages terminals", colour="aggregate", per="group", typical_s=1.0,
    typical=lambda _: Result(),
)  # fmt: skip
RANK = Step(
    kind="rank", run=deploying.rank, request=deploying.RankRequest, result=deploying.RankResult,
    needs="gpu", wording="compares what a terminal's evolved model could replace", colour="rank", typical_s=3.2,
    priority=-1, typical=lambda request: deploying.RankResult(scores=dict.fromkeys(request.candidates, 0.5)),
)  # fmt: skip
SELECT = Step(
    kind="select", run=deploying.select, request=deploying.SelectRequest, result=deploying.SelectResult,
    needs="gpu", wording="compares what a terminal could run", colour="select", typical_s=0.6,
    typical=lambda request: deploying.SelectResult(
        chosen="evolved", scores=dict.fromkeys(request.candidates, 0.5), frames=14
    ),
)  # fmt: skip
EXPORT = Step(
    kind="export", run=deploying.export, request=deploying.ExportRequest, result=Result,
    needs="cpu", wording="writes a terminal as ONNX", colour="export", typical_s=1.1,
    typical=lambda _: Result(download_bytes=2_000_000),
)  # fmt: skip
EVALUATE = Step(
    kind="evaluate", run=scoring.evaluate, request=scoring.EvaluateRequest, result=scoring.EvaluateResult,
    needs="crossbar", wording="scores models on later frames", colour="evaluate", typical_s=5.5,
    typical=lambda request: scoring.EvaluateResult(scores=tuple(
        scoring.Score(
            model=m.model, stage=m.stage, score=0.5, metrics={"map50": 0.5}, frames=60, scene_norm=m.scene_norm
        )
        for m in request.models
    )),
)  # fmt: skip
RECALL = Step(
    kind="recall", run=scoring.recall, request=scoring.RecallRequest, result=scoring.RecallResult,
    needs="gpu", wording="scores a terminal on earlier windows", colour="recall", typical_s=0.7,
    typical=lambda request: scoring.RecallResult(scores=dict.fromkeys(request.tests, 0.5)),
)  # fmt: skip

TIME_PATHS = Step(
    kind="time-paths", run=paths.time_paths, request=paths.TimePathsRequest, result=paths.TimePathsResult,
    needs="cpu", wording="times the branches of the supernet", colour="timing", per="group", typical_s=5.0,
    typical=lambda request: paths.TimePathsResult(
        space=PathSpace(1, (Branch(0),)), latency=LatencyModel((BranchTime(Branch(0), 0.01),)),
        shares=dict.fromkeys(request.models, 1.0), sha256="",
    ),
)  # fmt: skip
SEARCH_PATHS = Step(
    kind="search-paths", run=paths.search_for_paths, request=paths.SearchPathsRequest, result=paths.SearchPathsResult,
    needs="gpu", wording="searches for a path of each elastic terminal", colour="search", per="group", typical_s=15.0,
    typical=lambda request: paths.SearchPathsResult(
        pool=(Candidate(_PATH, 0.01, 0.9),), paths=dict.fromkeys(request.budgets_s, _PATH), frames=96
    ),
)  # fmt: skip
CHOOSE_PATH = Step(
    kind="choose-path", run=paths.choose, request=paths.ChoosePathRequest, result=paths.ChoosePathResult,
    needs="gpu", wording="chooses a path to train", colour="path", typical_s=2.0,
    typical=lambda _: paths.ChoosePathResult(live=_PATH, chosen=_PATH, paths=(_PATH,), scores=(0.6,), frames=96),
)  # fmt: skip
CHOOSE_PATH_AGAIN = replace(
    CHOOSE_PATH, kind="choose-path-again", wording="chooses a path to deploy", colour="repath",
)  # fmt: skip

AnyStep = Step[Any, Any]
STEPS: dict[str, AnyStep] = {
    step.kind: step
    for step in (
        PREPARE,
        DRY_RUN,
        DESCRIBE,
        BASELINE,
        CAPTURE,
        SENSE,
        ADAPT_BATCH_NORM,
        INSPECT,
        PROGRAM,
        LABEL,
        RELABEL,
        SELF_LABEL,
        GROUND_TRUTH,
        CHOOSE,
        RELATE,
        DETECT_DRIFT,
        GENERATE,
        MUTUAL,
        MERGE,
        ADAPT_UNLABELLED,
        ADAPT_LABELLED,
        DISTIL,
        ADAPT,
        ADAPT_SCALE_AND_SHIFT,
        AVERAGE,
        RANK,
        SELECT,
        EXPORT,
        EVALUATE,
        RECALL,
        TIME_PATHS,
        SEARCH_PATHS,
        CHOOSE_PATH,
        CHOOSE_PATH_AGAIN,
    )
}
"""Every step by its kind."""
