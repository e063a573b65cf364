"""The command `render`."""
