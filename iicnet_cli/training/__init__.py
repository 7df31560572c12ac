"""Training: data, losses, optimizer, recipe and loop. Used by ``iicnet train`` only."""
