"""Terms: what may be added, with a weight, to the loss of either player. One file each."""
