"""The engine whose payload lies in the DCT lattice: it survives JPEG."""
