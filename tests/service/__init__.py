"""The service over doubles, in virtual time."""
