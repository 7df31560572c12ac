"""iicnet: several pictures in one ordinary-looking PNG, and back."""

__version__ = "0.1.0"
