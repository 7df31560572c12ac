"""The engine that puts a file into the low bits of a picture."""
