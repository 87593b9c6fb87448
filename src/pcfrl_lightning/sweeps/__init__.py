"""Many training runs from one file: ablations, and sweeps over keys of the configuration."""
