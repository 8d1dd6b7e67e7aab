"""The programs that the service is measured beside, and both ends of the measurement."""
