"""Command line: ``pcfrl``."""
