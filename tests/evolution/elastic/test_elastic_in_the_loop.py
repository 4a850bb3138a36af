"""The model of a path is a terminal's model like any other: it evolves, is deployed, and stays that path."""

import json

import pytest
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.models.checkpoint import load_model, pretrained_path, read_spec
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.store import save_path
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.streams.digits import DigitStream

LOOP = """
task = "classification"
frame_size = [32, 32]
[window]
count = 1
length_s = 530.0
upload_frames = 24
upload_spacing = 3
test_frames = 40
[teacher]
model = "digits-cnn"
tile = 128
[refresh]
policy = "always"
[reference]
places = ["campus", "village", "downtown", "crossing", "suburb"]
frames_per_segment = 24
[drift]
gamma = 0.0
min_samples = 1
[gate]
margin = 1.0
total_margin = 1.0
[mutual.plan]
steps = 4
[distil.plan]
steps = 4
[execution]
workers = 1
[[terminals]]
name = "counter"
model = "PATH"
place = "counter"
drift = [{ window = 0, kind = "dusk", strength = 0.5 }]
"""


@pytest.mark.slow
def test_a_path_evolves_in_the_loop(tmp_path):
    file, spec = tmp_path / "path.safetensors", read_spec(pretrained_path("digits-mobilenet"))
    images = DigitStream(name="a", place="campus", seed=0, role="training").read(range(24)).images.float() / 255
    supernet = expand(load_model(pretrained_path("digits-mobilenet"))[0], images, spans=(2,), rates=(0.5,))
    path = (Branch(0, 2), Branch(2, 1, 0.5), *(Branch(k) for k in range(3, 10)))
    save_path(supernet, spec, path, file)
    (tmp_path / "loop.toml").write_text(LOOP.replace("PATH", str(file)))
    result = CliRunner().invoke(
        main, ["evolve", str(tmp_path / "loop.toml"), "--out", str(tmp_path / "run"), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["terminals"]
    evolved = read_spec(tmp_path / "run" / "windows" / "000" / "counter" / "terminal.safetensors")
    assert evolved.blocks is not None
    assert evolved.blocks.path == path
