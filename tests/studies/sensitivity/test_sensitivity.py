"""One layer at a time: against teachers converted for each layer, and ranks that follow the noise."""

import json
import math
from collections.abc import Mapping
from statistics import fmean

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.partial import PartlyAnalog
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.pages.style import LIGHT
from nestevo_hw.studies.sensitivity.measure import ScoreLoss, SensitivityReport, measure_sensitivity
from nestevo_hw.studies.sensitivity.plots import draw_sensitivity

PERFECT_PCM = find_preset("pcm", perfect_io=True)
X = torch.randn(64, 12, generator=torch.Generator().manual_seed(5))


class Net(nn.Module):
    """Two branches into one output: the loud one carries most of the signal, the faint one hardly any."""

    def __init__(self) -> None:
        super().__init__()
        self.faint = nn.Linear(12, 16)
        self.loud = nn.Linear(12, 16)
        self.idle = nn.Linear(12, 16)

    def forward(self, x: Tensor) -> Tensor:
        return 0.05 * self.faint(x) + self.loud(x) + 0.0 * self.idle(x)


def _net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def _evaluate(model: nn.Module) -> Mapping[str, float]:
    """Minus the squared error against the digital model, on two halves of the inputs."""
    with torch.no_grad():
        error = (model(X) - _net()(X)).square().mean(1)
    return {"first": 1.0 - float(error[:32].mean()), "second": 1.0 - float(error[32:].mean())}


def _measured(*, repeats: int = 4, rescues: bool = False) -> tuple[SensitivityReport, ScoreLoss]:
    partly = PartlyAnalog(AnalogTeacher(_net(), device=PERFECT_PCM, tile=16, seed=2), age_s=3600.0)
    loss = ScoreLoss(partly, _evaluate)
    return measure_sensitivity(partly, loss, [X], repeats=repeats, rescues=rescues), loss


def _scores_of_a_teacher(keep_digital: tuple[str, ...], programming: int) -> Mapping[str, float]:
    teacher = AnalogTeacher(_net(), device=PERFECT_PCM, tile=16, seed=2, keep_digital=keep_digital)
    teacher.program(generation=programming)
    teacher.age(3600.0)
    return _evaluate(teacher.module)


def test_losses_are_those_of_teachers_converted_for_each_layer() -> None:
    report, _ = _measured(rescues=True)
    assert [layer.name for layer in report.layers] == ["faint", "loud", "idle"]
    assert report.digital == {"first": 1.0, "second": 1.0}
    for layer in report.layers:
        others = tuple(name for name in ("faint", "loud", "idle") if name != layer.name)
        for programming in range(4):
            alone = _scores_of_a_teacher(others, programming)
            whole = _scores_of_a_teacher((), programming)
            without = _scores_of_a_teacher((layer.name,), programming)
            for scene in ("first", "second"):
                assert layer.losses[scene][programming] == 1.0 - alone[scene]
                assert layer.rescues is not None
                assert layer.rescues[scene][programming] == pytest.approx(without[scene] - whole[scene], abs=1e-12)
        both = [fmean(pair) for pair in zip(*layer.losses.values(), strict=True)]
        assert layer.drop.mean == pytest.approx(fmean(both))


def test_loud_layers_rank_first_and_weights_count_in_the_orders() -> None:
    report, _ = _measured()
    assert [layer.name for layer in report.ranked()] == ["loud", "faint", "idle"]
    assert report.orders() == [("loud", "faint", "idle")] * 2 + [("faint", "loud", "idle")]  # equal sizes
    idle = report.layers[2]
    assert idle.drop is not None
    assert (idle.drop.mean, idle.model_error) == (0.0, 0.0)
    # Its own output is as noisy as that of the others all the same.
    assert idle.output_snr_db == pytest.approx(report.layers[1].output_snr_db, abs=3.0)
    assert len(_measured(rescues=True)[0].orders()) == 4


def test_equal_scores_are_told_apart_by_the_outputs() -> None:
    partly = PartlyAnalog(AnalogTeacher(_net(), device=PERFECT_PCM, tile=16))
    report = measure_sensitivity(partly, ScoreLoss(partly, lambda _model: {"all": 0.5}), [X], repeats=2)
    assert all(layer.drop is not None and layer.drop.mean == 0.0 for layer in report.layers)
    assert [layer.name for layer in report.ranked()] == ["loud", "faint", "idle"]
    assert report.orders()[1] == ("loud", "faint", "idle")


def test_a_large_layer_is_worth_less_for_each_of_its_weights() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Linear(12, 16)
            self.wide = nn.Linear(64, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.large(x) + self.wide(x.repeat(1, 6)[:, :64])

    torch.manual_seed(0)
    model = Wide().eval()
    with torch.no_grad():
        model.wide.weight *= 1.5
    partly = PartlyAnalog(AnalogTeacher(model, device=PERFECT_PCM))
    report = measure_sensitivity(partly, ScoreLoss(partly, lambda _model: {"all": 0.5}), [X], repeats=3)
    assert [layer.name for layer in report.ranked()] == ["wide", "large"]
    assert report.orders()[0] == report.orders()[-1] == ("large", "wide")


def test_noise_powers_of_independent_branches_add_up() -> None:
    report, _ = _measured(repeats=40)
    whole = math.sqrt(fmean(error**2 for error in report.model_errors))
    # Only the cross term of the branches' noise is left; its mean is zero.
    assert whole == pytest.approx(report.predicted_error, rel=0.02)


def test_nothing_is_evaluated_twice() -> None:
    told: list[str] = []
    partly = PartlyAnalog(AnalogTeacher(_net(), device=PERFECT_PCM, tile=16))
    loss = ScoreLoss(partly, _evaluate)
    loss.on_score = told.append
    measure_sensitivity(partly, loss, [X], repeats=2, rescues=True)
    assert loss.evaluations == len(told) == 2 * (3 + 3 + 1)
    assert set(told) == {"1 of 3 layers analog", "2 of 3 layers analog", "3 of 3 layers analog"}
    again = loss({"faint", "idle"}, 1)
    assert again == loss(["idle", "faint"], 1)
    assert len(told) == 14


def test_layers_that_are_not_scored_rank_by_the_models_outputs() -> None:
    partly = PartlyAnalog(AnalogTeacher(_net(), device=PERFECT_PCM, tile=16, seed=2), age_s=3600.0)
    loss = ScoreLoss(partly, _evaluate)
    report = measure_sensitivity(partly, loss, [X], repeats=4, scored=False)
    assert loss.evaluations == 4  # all layers on the crossbar, once a programming
    scored, _ = _measured()
    assert report.losses == scored.losses
    assert [layer.model_errors for layer in report.layers] == [layer.model_errors for layer in scored.layers]
    assert [layer.name for layer in report.ranked()] == ["loud", "faint", "idle"]
    assert report.orders() == scored.orders()[:1]
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert {(layer["drop"], layer["drop_by_scene"], layer["rescue"]) for layer in document["layers"]} == {(None,) * 3}
    figure = draw_sensitivity(report, LIGHT, metric="score", keep_digital=(), title="net")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([fmean(layer.model_errors) for layer in report.layers])
    assert "error of the model's raw outputs" in figure.axes[0].get_xlabel()


def test_one_programming_is_too_few() -> None:
    with pytest.raises(ConfigError, match="need 2 repeats or more"):
        _measured(repeats=1)


def test_the_document_is_json_also_without_any_noise() -> None:
    partly = PartlyAnalog(AnalogTeacher(_net(), device="ideal"))
    report = measure_sensitivity(partly, ScoreLoss(partly, _evaluate), [X], repeats=2)
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    assert {layer["rank"] for layer in document["layers"]} == {1, 2, 3}
    idle = document["layers"][2]
    assert idle["model_output_snr_db"] is None  # no noise at all
    assert idle["model_output_error"] == 0.0
    assert idle["rescue"] is None
    assert document["all_analog"]["drop"]["mean"] == pytest.approx(0.0, abs=1e-9)
    figure = draw_sensitivity(report, LIGHT, metric="score", keep_digital=(), title="ideal")
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["faint", "loud", "idle"]


def test_the_picture_shows_the_drops_and_the_plan() -> None:
    report, _ = _measured()
    figure = draw_sensitivity(report, LIGHT, metric="score", keep_digital=("loud",), title="net")
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [layer.drop.mean for layer in report.layers if layer.drop is not None]
    assert bars[0].get_facecolor() == bars[2].get_facecolor() != bars[1].get_facecolor()
