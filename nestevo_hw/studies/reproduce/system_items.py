"""The paper's section 7.2.5 and 7.3: thresholds, delays, compression, noise and the crossbar's time."""

from collections.abc import Iterator

from nestevo_hw.crossbar.chips.estimates import PAPER_ISAAC_TOTAL_S, PAPER_MFLOPS
from nestevo_hw.pages.parts import MEASURED, MODELLED, SIMULATED
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.item import Claim, Item, Row
from nestevo_hw.studies.reproduce.methods import LEVELS

_MEMORY_GB = {1: (3.141, 2.989), 3: (4.831, 4.236)}
_TIME_S = {1: (453.46, 321.33), 2: (359.76, 248.23), 3: (327.35, 227.53)}
"""Without and with compression, by batch size."""
_HIGHEST = f"{LEVELS[-1]:g}"


def figure_11(effort: Effort) -> Item:
    """At the thresholds that are run."""
    texts = [*(f"gamma {gamma:g}" for gamma in effort.thresholds[:-1]), "gamma out of reach"]
    return Item(
        name="figure-11", title="accuracy and evolutions of the teacher against the drift threshold", origin=SIMULATED,
        says="a higher gamma means fewer evolutions of the teacher and a lower mean accuracy; below 50 accuracy hardly "
        "rises, though the teacher evolves nearly twice as often; above it falls below 0.5",
        how="seven cameras over handwritten digits with growing drift, epsilon 4 as in the paper, the teacher on "
        "simulated phase-change tiles; accuracy of the terminals after evolving",
        rows=(
            *(Row(name=f"{text}, accuracy", key=f"threshold/accuracy/{k}") for k, text in enumerate(texts)),
            *(Row(name=f"{text}, evolutions", key=f"threshold/updates/{k}", unit="number")
              for k, text in enumerate(texts)),
            Row(name="mean drift score (eq. 11), gamma out of reach", key="threshold/score/last", unit="number"),
        ),
        claims=(
            Claim(text="a higher threshold means fewer evolutions of the teacher", more="threshold/updates/0",
                  less="threshold/updates/last"),
            Claim(text="and costs the terminals accuracy", more="threshold/accuracy/0", less="threshold/accuracy/last"),
        ),
        lacks="seven detectors for half an hour would take hours here: digits take their place. The paper's gamma does "
        "not compare, as it grows with the features' width and the number of classes",
    )  # fmt: skip


def _figure_13() -> Iterator[Row]:
    for batch, papers in _MEMORY_GB.items():
        for name, paper in zip(("whole", "pooled"), papers, strict=True):
            yield Row(name=f"batch of {batch}, {name}", key=f"memory/{batch}/{name}", unit="GB", paper=paper)
        yield Row(name=f"batch of {batch}, change", key=f"memory/{batch}/pooled", over=f"memory/{batch}/whole",
                  unit="share", paper=papers[1] / papers[0] - 1)  # fmt: skip


def _table_5() -> Iterator[Row]:
    for batch, papers in _TIME_S.items():
        for name, paper in zip(("whole", "compressed"), papers, strict=True):
            yield Row(name=f"batch of {batch}, {name}", key=f"compression/{batch}/{name}/time", unit="s", paper=paper)
        yield Row(name=f"batch of {batch}, change", key=f"compression/{batch}/compressed/time", unit="share",
                  over=f"compression/{batch}/whole/time", paper=papers[1] / papers[0] - 1)  # fmt: skip
    yield Row(name="frames that are pooled", key="compression/pooled", unit="share")


FIGURE_12 = Item(
    name="figure-12", title="mean evolution delay under three schedules", origin=SIMULATED,
    says="Algorithm 3 gives each of four terminals the shortest delay of ten evolutions; the abstract speaks of "
    "51.98 % less",
    how="trainings as long as those of NestEvo's runs of table 4 were measured to be, ten times with other errors of "
    "prediction, in a simulated card of 10 GB that holds two of them (figure 13); once as if tasks beside each other "
    "cost nothing, once as if they took turns",
    rows=(
        *(Row(name=f"{policy}, {text}", key=f"schedule/{name}/{key}", unit="s")
          for name, text in (("apart", "tasks do not hinder each other"), ("shared", "tasks take turns"))
          for key, policy in (("random", "B1"), ("serial", "B2"), ("knapsack", "Algorithm 3"))),
        Row(name="Algorithm 3 against B1, not hindering", key="schedule/apart/knapsack", over="schedule/apart/random",
            unit="share"),
        Row(name="Algorithm 3 against B2, not hindering", key="schedule/apart/knapsack", over="schedule/apart/serial",
            unit="share", paper=-0.5198),
        Row(name="Algorithm 3 against B2, taking turns", key="schedule/shared/knapsack", over="schedule/shared/serial",
            unit="share"),
    ),
    claims=(
        Claim(text="Algorithm 3 waits less than random tasks in parallel (B1)", more="schedule/apart/random",
              less="schedule/apart/knapsack"),
        Claim(text="and than one after another (B2)", more="schedule/apart/serial", less="schedule/apart/knapsack"),
        Claim(text="also where tasks beside each other take turns", more="schedule/shared/serial",
              less="schedule/shared/knapsack"),
    ),
    doubts=("it is not said against what 51.98 % are saved; it stands here beside B2",),
    lacks="an RTX 3080, and numbers in the text. benchmarks/evolution_delay.py measures the delay of the whole system",
)  # fmt: skip
FIGURE_13 = Item(
    name="figure-13", title="memory of mutual learning with and without adaptive compression", origin=MODELLED,
    says="3141 MB fall to 2989 MB with batches of one, 4831 to 4236 MB with batches of three: 5 to 12 % less",
    how="two Faster R-CNN ResNet-50 FPN at 720 x 1280 through a step on fake tensors, which have sizes and lifetimes "
    "but no values; pooled: every frame of the batch at half its size, the most that compression can save",
    rows=tuple(_figure_13()),
    claims=tuple(
        Claim(text=f"pooled frames take less memory with batches of {batch}", more=f"memory/{batch}/whole",
              less=f"memory/{batch}/pooled")
        for batch in (1, 3)
    ),
    doubts=("one batch of whole frames sets the peak of a training, so pooling some frames saves nothing at the peak",),
    lacks="an RTX 3080 with CUDA 11.1: the peak is of tensors, without the library's 850 MB",
)  # fmt: skip
TABLE_5 = Item(
    name="table-5", title="time of mutual learning with and without adaptive compression", origin=MEASURED,
    says="pooling frames without small objects saves 29 to 31 % of the time, at every batch size",
    how="processor time of mutual learning of a tiny terminal and its intermediate over all frames of one rainy "
    "camera, small objects being below 12 px",
    rows=tuple(_table_5()),
    claims=(
        *(Claim(text=f"compression saves time with batches of {batch}", more=f"compression/{batch}/whole/time",
                less=f"compression/{batch}/compressed/time") for batch in (1, 2, 3)),
        Claim(text="batches of one take longer than batches of two", more="compression/1/whole/time",
              less="compression/2/whole/time"),
    ),
    doubts=("30 % less is what pooling every frame gives here (docs/method.md), and the paper compresses only some",),
    lacks="an RTX 3080, and the paper's detectors and frames, so seconds do not compare",
)  # fmt: skip
FIGURE_14 = Item(
    name="figure-14", title="accuracy with and without adaptive compression", origin=MEASURED,
    says="compression does not change accuracy beyond its error",
    how="the terminals of table 5 on later frames",
    rows=tuple(
        Row(name=f"batch of {batch}, {name}", key=f"compression/{batch}/{name}/accuracy")
        for batch in (1, 2, 3) for name in ("whole", "compressed")
    ),
    claims=tuple(
        Claim(text=f"compression costs no more than 0.02 with batches of {batch}", margin=0.02,
              more=f"compression/{batch}/compressed/accuracy", less=f"compression/{batch}/whole/accuracy")
        for batch in (1, 2, 3)
    ),
    lacks="numbers in the text",
)  # fmt: skip
FIGURE_15 = Item(
    name="figure-15", title="the teacher under weight noise, learned with such noise and without", origin=SIMULATED,
    says="an averaged teacher whose intermediate models learned under weight noise loses less to it",
    how="the last averaged teachers of NestEvo's runs with noise of 0.02 and without, under noise of 0 to 0.06 of each "
    "layer's weight range (eq. 18 to 20), each camera with its own BatchNorm statistics",
    rows=tuple(
        Row(name=f"{text}, noise {level:g}", key=f"noise/{name}/{level:g}")
        for name, text in (("noise-aware", "learned with noise"), ("plain", "learned without")) for level in LEVELS
    ),
    claims=(
        Claim(text="noise costs the teacher accuracy", more="noise/plain/loss"),
        Claim(text="who learned under noise loses less", more="noise/plain/loss", less="noise/noise-aware/loss"),
        Claim(text="and scores higher under the highest noise", more=f"noise/noise-aware/{_HIGHEST}",
              less=f"noise/plain/{_HIGHEST}"),
    ),
    lacks="numbers in the text, which does not say either how much noise there is",
)  # fmt: skip
TABLE_6 = Item(
    name="table-6", title="time to label 1200 frames on a crossbar and on a GPU", origin=MODELLED,
    says="Faster R-CNN on 1200 frames of 1280 x 720: 20.83 s on ISAAC, of which 2.1 s load the model, and 143.7 s on "
    "an RTX 3080",
    how="the balanced pipeline of docs/costs.md on one ISAAC chip, from ISAAC's published figures; the GPU's are the "
    "paper's own",
    rows=(
        Row(name="ISAAC, all frames", key="chip/isaac/total", unit="s", paper=PAPER_ISAAC_TOTAL_S),
        Row(name="ISAAC, between two frames", key="chip/isaac/frame", unit="ms", paper=15.61),
        Row(name="ISAAC, to the first frame", key="chip/isaac/first", unit="s"),
        Row(name="ISAAC at its published peak, a frame", key="chip/isaac/peak", unit="ms"),
        Row(name="ISAAC, chips that hold the model", key="chip/isaac/chips", unit="number", paper=1.0),
        Row(name="as many chips, all frames", key="chip/isaac/enough", unit="s"),
        Row(name="operations of a frame", key="chip/work", unit="GFLOP", paper=PAPER_MFLOPS / 1e3),
        Row(name="RTX 3080, all frames", key="chip/gpu/total", unit="s", paper=143.7, borrowed=True),
    ),
    claims=(Claim(text="the crossbar is faster than the GPU", more="chip/gpu/total", less="chip/isaac/total"),),
    doubts=(
        "11.72 MFLOPS are 35 000 times too few for this detector",
        "one ISAAC chip does not hold the model, so 15.6 ms a frame need two chips or two passes",
    ),
    lacks="an ISAAC chip, which nobody has built, and an RTX 3080",
)  # fmt: skip
