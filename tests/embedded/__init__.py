"""Tests of the embedded API, over a real channel."""
