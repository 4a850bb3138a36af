"""How a check says what is wrong."""


def require(condition: bool, message: str) -> None:
    """Raise unless a condition holds; unlike a bare assert, also under `python -O`.

    Raises:
        AssertionError: with the message.
    """
    if not condition:
        raise AssertionError(message)
