"""The judge of annotations while tests run: beartype, told to accept what mypy accepts."""

from collections.abc import Callable
from typing import Any, Self

from beartype import BeartypeConf, beartype

_judge = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand for a float


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its arguments and result checked; `Self`, unknown to beartype outside its class, is not."""
    function.__annotations__ = {name: Any if hint is Self else hint for name, hint in function.__annotations__.items()}
    return _judge(function)
