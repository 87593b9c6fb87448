"""Errors that tell a user what is wrong with the input and how to mend it."""


class DataError(ValueError):
    """A data set, list file or label is not what the loader expects; the message names the file and the fix."""
