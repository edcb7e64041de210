"""How good imagined frames are: pixels, objects, rewards, and how sure that is."""
