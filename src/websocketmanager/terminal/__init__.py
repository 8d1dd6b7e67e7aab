"""What a person at a terminal sees: remote calls, tables, lines, the live view."""
