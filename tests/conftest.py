"""Settings of every test run. Nothing of ours is imported here: the shape checks hook into later imports only."""

import os

import pytest
from hypothesis import HealthCheck, settings

# One thread: the tensors of the tests are too small for more, and test machines have few cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# A test that reaches for the network is a mistake; the Hub's client then says so at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# No test is judged by the clock, since others may compute on the same machine.
settings.register_profile("ivideo", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("ivideo")

LONG = {"test_worlds.py"}
"""Files that begin first: one of them at the end would leave a process of two without work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
