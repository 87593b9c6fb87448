"""Where `networks.pcl_import` was in version 0.1, for scripts that import it from here."""

from pcfrl_lightning.networks.pcl_import import PCL_TO_PCFRL, _paper_shapes, from_pcl, import_pcl

__all__ = ["PCL_TO_PCFRL", "_paper_shapes", "from_pcl", "import_pcl"]
