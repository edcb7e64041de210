"""`ivideo rl drqv2` and `ivideo rl mbpo`: agents that learn a task, with and without a world model."""
