"""Gains and what is won back, worked out by hand; what is imitated, and what cannot be."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.stats import t_interval
from nestevo_hw.models.zoo import load_model
from nestevo_hw.studies.harden.output import scores_table, sentences
from nestevo_hw.studies.harden.results import AS_GIVEN, HARDENED, NOISE_AWARE, Outcome
from nestevo_hw.studies.harden.training import imitation_loss
from nestevo_hw.studies.noise.plan import DIGITAL, Trial

DAY_S = 86_400.0
ABOUT = {"model": "net", "weights": "made up", "analog": "pcm", "metric": "map50", "metrics": ["map50"], "seeds": 2,
         "repeats": 2, "compared_mu": 0.04}  # fmt: skip


def scored(training: str, digital: float, fresh: Sequence[float], aged: Sequence[float]) -> dict[Trial, dict]:
    """Scores of one model, on two programmings."""
    found = {Trial(sweep=DIGITAL, value=DIGITAL, repeat=0, training=training): digital}
    for age_s, scores in ((0.0, fresh), (DAY_S, aged)):
        found |= {Trial(sweep="time_s", value=age_s, repeat=r, training=training): s for r, s in enumerate(scores)}
    return {trial: {"night": {"map50": score}} for trial, score in found.items()}


OUTCOME = Outcome(
    about=ABOUT,
    age_s=DAY_S,
    scores={
        **scored("", 0.60, (0.50, 0.54), (0.38, 0.42)),
        **scored("hardened-0", 0.60, (0.56, 0.58), (0.50, 0.52)),
        **scored("hardened-1", 0.62, (0.58, 0.60), (0.52, 0.50)),
        **scored("noise-aware-0", 0.55, (0.50, 0.50), (0.38, 0.40)),
        **scored("noise-aware-1", 0.51, (0.50, 0.50), (0.40, 0.38)),
    },
)


def test_scores_are_means_over_trainings_with_intervals_over_programmings() -> None:
    assert OUTCOME.kinds == (AS_GIVEN, NOISE_AWARE, HARDENED)
    aged = OUTCOME.score(HARDENED, "night", DAY_S)
    assert aged.mean == pytest.approx(0.51)
    assert aged.ci95 == pytest.approx(t_interval([0.51, 0.51]))
    digital = OUTCOME.score(HARDENED, "night", DIGITAL)
    assert digital.mean == pytest.approx(0.61)
    low, high = t_interval([0.60, 0.62])
    assert digital.ci95 == pytest.approx((low, min(high, 1.0)))
    assert OUTCOME.score(AS_GIVEN, "night", DIGITAL).ci95 is None


def test_gains_are_paired_by_programming() -> None:
    gain = OUTCOME.gain(HARDENED, "night", DAY_S)
    assert gain.mean == pytest.approx(0.11)
    assert gain.ci95 == pytest.approx(t_interval([0.51 - 0.38, 0.51 - 0.42]))
    assert OUTCOME.gain(NOISE_AWARE, "night", DIGITAL).mean == pytest.approx(-0.07)


def test_won_back_is_the_share_of_what_the_device_takes() -> None:
    # The device takes 0.60 - 0.40; both trainings give 0.51 - 0.40 back.
    assert OUTCOME.won_back(HARDENED, "night").mean == pytest.approx(0.55)
    assert OUTCOME.won_back(NOISE_AWARE, "night").mean == pytest.approx(-0.05)
    lossless = Outcome(about=ABOUT, age_s=DAY_S, scores=scored("", 0.5, (0.5, 0.5), (0.5, 0.5)))
    assert not lossless.won_back(AS_GIVEN, "night").known


def test_the_table_and_the_sentences_say_the_same() -> None:
    rows = {row[1]: row for row in scores_table(OUTCOME).rows}
    assert rows["as given"][2] == "0.600"
    assert rows["hardened"][-1] == "55.0 %"
    assert rows["weight noise 0.04 (eq. 18-20)"][-1] == "-5.0 %"
    (line,) = [line for line in sentences(OUTCOME) if "hardened" in line]
    assert line.startswith("night: hardened: +0.110 ")
    assert "55.0 % of what the device takes" in line
    assert OUTCOME.document()["gains"][1]["won_back"]["mean"] == pytest.approx(0.55)


class _Two(nn.Module):
    """Class scores beside something that never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(x), "aux": torch.ones(2)[0]}


def test_the_distance_is_relative_to_the_variance_of_each_output() -> None:
    clean = _Two()
    model, x = copy.deepcopy(clean), torch.randn(50, 4)
    assert float(imitation_loss(model, clean, x).detach()) == 0.0
    model.layer.bias.data += 0.5
    wanted = clean.layer(x).detach()
    variance = float((wanted - wanted.mean(0)).square().mean())
    assert float(imitation_loss(model, clean, x).detach()) == pytest.approx(0.25 / variance, rel=1e-4)


def test_a_detector_imitates_features_and_heads_on_the_same_proposals() -> None:
    clean = load_model("fasterrcnn-tiny").requires_grad_(requires_grad=False)
    model = copy.deepcopy(clean).requires_grad_()
    batch = list(torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(0)))
    assert float(imitation_loss(model, clean, batch).detach()) == pytest.approx(0.0, abs=1e-9)
    for name in ("roi_heads.box_predictor.cls_score", "rpn.head.cls_logits", "backbone.body.stem.0"):
        model.get_parameter(f"{name}.weight").data.mul_(1.1)
        loss = imitation_loss(model, clean, batch)
        assert float(loss.detach()) > 0.0
        model.get_parameter(f"{name}.weight").data.div_(1.1)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_what_cannot_be_compared_is_refused() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 3)

    class Kept(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def forward(self, x: Tensor) -> Tensor:
            return x[: self.count]

    x = torch.randn(5, 3)
    with pytest.raises(InputError, match="nothing to imitate"):
        imitation_loss(Constant(), Constant(), x)
    with pytest.raises(InputError, match="other shapes under noise"):
        imitation_loss(Kept(2), Kept(3), x)
