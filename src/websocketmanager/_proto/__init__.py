"""Generated from `protos/` by `make protos`; only the pools are written by hand."""
