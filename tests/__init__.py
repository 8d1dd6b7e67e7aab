"""The tests, in the shape of `src/`."""
