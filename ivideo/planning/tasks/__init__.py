"""What there is to plan: the pushing table, and tasks of simulators that are extras."""
