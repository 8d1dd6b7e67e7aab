"""Tests of the rules: synchronous tables."""
