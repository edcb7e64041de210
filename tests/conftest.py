"""Settings of every test run. Nothing of ours is imported here: the shape checks hook into later imports only."""

import os

from hypothesis import settings

# One thread: the tensors of the tests are too small for more, and test machines have few cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# A test that reaches for the network is a mistake; the Hub's client then says so at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

settings.register_profile("ivideo", deadline=None, print_blob=True)
settings.load_profile("ivideo")
