"""Pictures as arrays, and measures of their quality."""
