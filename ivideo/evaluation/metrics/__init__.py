"""How alike frames, and sets of clips, are."""
