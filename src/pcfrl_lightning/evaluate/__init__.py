"""`pcfrl evaluate` and the demo: probes over a table of tasks, calibrated pairs against true labels, reports."""
