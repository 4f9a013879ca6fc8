"""The trials, by what they are about."""
