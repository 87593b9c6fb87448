"""Published data sets, a file each, in their official layout."""
