"""Sizes as people write them."""

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.sizes import parse_size


@pytest.mark.parametrize("text", ["720", "720x", "axb", "0x5", "1x2x3", "-1x5"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="need a size as HEIGHTxWIDTH"):
        parse_size(text)


def test_sizes() -> None:
    assert parse_size("720x1280") == (720, 1280)
    assert parse_size("64X32") == (64, 32)
