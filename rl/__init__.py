"""Learners that act in an imagined environment; they see only the public names of `ivideo`."""
