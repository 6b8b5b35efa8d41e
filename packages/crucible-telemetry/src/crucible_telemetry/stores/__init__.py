"""Where events are kept: the port, and one file per store."""
