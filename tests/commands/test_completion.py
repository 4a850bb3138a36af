"""What a shell completes, without loading any model."""

import os
import subprocess
import sys

import pytest

from nestevo_hw.models import zoo
from nestevo_hw.models.checkpoint import BUILDERS
from nestevo_hw.models.names import ARCHITECTURES, names


def test_the_light_names_are_those_that_can_be_opened():
    assert set(ARCHITECTURES) == {*BUILDERS, *zoo._CLASSIFIERS}
    assert {"fasterrcnn-tiny-m2", "digits-cnn-m3"} < set(names())


def completed(words):
    code = "import sys; from nestevo_hw.cli import main; main(prog_name='nestevo-hw')"
    settings = {
        "_NESTEVO_HW_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    report = "import atexit; atexit.register(lambda: print('torch', 'torch' in sys.modules)); "
    code = code.replace("import sys; ", f"import sys; {report}")
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True,
                          check=True)  # fmt: skip
    *items, torch = done.stdout.splitlines()
    assert torch == "torch False"
    return items


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("nestevo-hw map fasterrcnn-tiny-m", [f"plain,fasterrcnn-tiny-m{i}" for i in (1, 2, 3)]),
        ("nestevo-hw bench-noise res", ["plain,resnet18"]),
        ("nestevo-hw sensitivity x --analog re", ["plain,reram-cmo", "plain,reram-wan"]),
        ("nestevo-hw map x --chip isa", ["plain,isaac"]),
        ("nestevo-hw map ./net", ["file,./net"]),
    ],
)
def test_completion(words, expected):
    assert completed(words) == expected
