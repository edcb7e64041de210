"""A world model for many at once, over the network: `ivideo serve`, and the environments that its clients see."""
