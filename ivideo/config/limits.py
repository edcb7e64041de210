"""Numbers that settings must reach."""


def check_least(settings: object, **least: int) -> None:
    """Raise ValueError for a field that is smaller than is said here; None is no value and passes."""
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and value < lowest:
            raise ValueError(f"{name} is {value}; expected at least {lowest}")
