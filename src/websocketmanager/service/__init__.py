"""Coordination: what waits and in which order, over the ports alone."""
