"""The public contract of this service, in a descriptor pool of its own."""
