"""Doubles that stand at the seams: clock and dice, ports, the network."""
