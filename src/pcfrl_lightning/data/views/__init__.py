"""Views of an image for contrastive training."""
