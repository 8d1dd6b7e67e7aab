"""A small local exchange to try the service on."""
