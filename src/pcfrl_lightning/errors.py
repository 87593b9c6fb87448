"""Errors that tell a user what is wrong with the input and how to fix it."""


class DataError(ValueError):
    """A data set, list file or label is not what the loader expects; the message names the file and the fix."""


class UsageError(ValueError):
    """A command or setting that cannot work, or a run that failed; the message says what to change."""
