"""`pcfrl evaluate`: probes over a table of tasks."""
