"""Unreadable images, checks against the official release, provenance."""
