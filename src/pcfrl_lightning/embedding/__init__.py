"""Features of any number of pictures to one file, as they are computed."""

from pcfrl_lightning.embedding.inputs import Input, open_input
from pcfrl_lightning.embedding.run import Job, Report, embed_to_file

__all__ = ["Input", "Job", "Report", "embed_to_file", "open_input"]
