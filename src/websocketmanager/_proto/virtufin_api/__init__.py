"""The platform API as this service calls it, in a descriptor pool of its own."""
