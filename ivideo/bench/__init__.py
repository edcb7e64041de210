"""Measures how fast a world model imagines on the machine at hand, beside the released implementation's way."""
