"""Published figures, and the commands that would repeat them: at full size, and small enough for two cores."""
