"""Where episodes come from: one module per layout, all turning files into `Episode`s."""
