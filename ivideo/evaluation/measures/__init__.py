"""What is asked of a model, one batch of clips at a time."""
