"""Quantization of embeddings to 8 bits: lattices, error diffusion, trellis codes."""
