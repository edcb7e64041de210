"""`python -m ivideo` is `ivideo`."""

import sys

from ivideo.cli import main

sys.exit(main())
