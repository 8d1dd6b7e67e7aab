"""The embedded API, which stands in for the virtufin-api on one machine."""
