"""What every server of this package needs: who may come in, what may be said, how it is run."""
