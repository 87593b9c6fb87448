"""Images of a user: folders, lists, VoxCeleb."""
