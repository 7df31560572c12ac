"""Shim until the payload room is merged."""

from iicnet_cli.container.png import EmbeddingReader as EmbeddingReader
