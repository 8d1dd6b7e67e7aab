"""The rules, pure: no async, no clock, no dice, no logging, no library but the CloudEvents SDK."""
