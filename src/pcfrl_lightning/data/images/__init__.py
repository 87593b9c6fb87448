"""Where images come from: files, archives, videos, and their decoding."""
