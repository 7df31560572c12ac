"""What an embedding carries in its pixels: the mark, its parts, and the samples they lie in."""
