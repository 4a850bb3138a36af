"""A build leaves a supernet, parts, frames and results; a killed one goes on; what does not fit is refused."""

import json

import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError, StoppedError
from nestevo_hw.evolution.elastic import build
from nestevo_hw.evolution.elastic.build import Build, ElasticConfig
from nestevo_hw.evolution.pretrain_frames import embedded_source
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import pretrained_path
from nestevo_hw.models.elastic.parts import read_parts
from nestevo_hw.models.elastic.store import load_supernet

SOURCE = embedded_source("classification", seed=0, variants=1, frames_per_scene=2, size=(32, 32))
PLAN = TrainingPlan(steps=2, batch_size=4)
CONFIG = ElasticConfig(
    task="classification", spans=(2,), rates=(), fitted_on=8, recalibrated_on=8, distil=PLAN, tune=PLAN, paths=2,
    scored_on=20,
)  # fmt: skip


def plan(out, base=None, source=SOURCE, config=CONFIG):
    return Build(base=base or pretrained_path("digits-mobilenet"), source=source, out=out, config=config)


def test_a_build_killed_in_its_last_training_goes_on_and_leaves_all_that_a_terminal_needs(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "tune", killed)
    with pytest.raises(StoppedError, match="after 2 of 3 stages"):
        plan(tmp_path).run()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="holds an unfinished build; add --resume"):
        plan(tmp_path).run()
    with pytest.raises(ConfigError, match=r"of another configuration \(config\.paths is 2 there and 3 here"):
        plan(tmp_path, config=ElasticConfig(**{**vars_of(CONFIG), "paths": 3})).run(resume=True)
    built = plan(tmp_path).run(resume=True)
    assert [stage.name for stage in built.stages] == ["fitted", "distilled", "tuned"]
    assert built.stages[0].scores[0] == built.stages[2].scores[0] > 0.9
    supernet, _ = load_supernet(tmp_path / "supernet.safetensors")
    assert read_parts(tmp_path / "parts").space == supernet.space
    assert json.loads((tmp_path / "results.json").read_text())["paths"] == supernet.space.count == built.paths
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "held-out.safetensors", "journal.jsonl", "parts", "results.json", "supernet.safetensors"
    ]  # fmt: skip


def vars_of(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


@pytest.mark.slow
def test_a_killed_build_ends_with_the_same_supernet(tmp_path, monkeypatch):
    plan(tmp_path / "whole").run()

    def killed(*_, **__):
        raise KeyboardInterrupt

    for stage in ("distil", "tune", "export_parts"):
        monkeypatch.setattr(build, stage, killed)
        with pytest.raises(StoppedError):
            plan(tmp_path / "killed").run(resume=stage != "distil")
        monkeypatch.undo()
    plan(tmp_path / "killed").run(resume=True)
    one, other = (load_supernet(tmp_path / name / "supernet.safetensors")[0] for name in ("whole", "killed"))
    assert all(torch.equal(t, other.state_dict()[name]) for name, t in one.state_dict().items())


def test_what_cannot_become_a_supernet_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="no chain of basic blocks"):
        plan(tmp_path / "a", base=pretrained_path("digits-cnn")).run()
    assert not (tmp_path / "a" / "unfinished").exists()
    with pytest.raises(ConfigError, match="knows the classes"):
        plan(tmp_path / "b", base=pretrained_path("fasterrcnn-tiny")).run()
    with pytest.raises(ConfigError, match="holds no build to resume"):
        plan(tmp_path / "c").run(resume=True)
