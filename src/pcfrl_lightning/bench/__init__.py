"""Measurements of speed and memory behind ``pcfrl bench``; see ``benchmarks/README.md`` for the recorded figures."""
