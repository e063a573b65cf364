"""The commands `explain` and `plan`: what the controller would do, and why. They only read."""
