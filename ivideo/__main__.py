"""`ivideo` as a program: the script of that name, and `python -m ivideo`."""

import atexit
import os
import sys
from typing import NoReturn

from ivideo.cli import main


def run() -> NoReturn:
    """Run `ivideo` and leave with its exit status."""
    status = main()
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        # Gloo's threads may outlive their group, and would abort a process that is taken apart while they run.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
