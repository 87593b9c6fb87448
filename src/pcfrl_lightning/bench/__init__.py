"""``pcfrl bench step``; the recorded figures are in ``benchmarks/README.md``."""
