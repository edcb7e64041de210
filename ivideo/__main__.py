"""`python -m ivideo` is `ivideo`."""

import os
import sys

from ivideo.cli import main

status = main()
distributed = sys.modules.get("torch.distributed")
if distributed is not None and distributed.is_available() and distributed.is_initialized():
    # Threads of gloo may outlive their group, and abort a process that takes apart its memory while they run.
    distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
sys.exit(status)
