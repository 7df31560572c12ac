"""Files in the low bits of a picture; the PNG must arrive as it is."""
