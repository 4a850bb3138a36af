"""A profile of a made-up machine, learned once."""

import pytest
import torch
from made_up_samples import made_up_samples

from nestevo_hw.studies.profile.output import learn_and_judge


@pytest.fixture(scope="session")
def learned():
    return learn_and_judge(
        [*made_up_samples(48), *made_up_samples(40, held_out=True)], {"cpu": "made up"}, device=torch.device("cpu")
    )
