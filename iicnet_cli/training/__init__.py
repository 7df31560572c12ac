"""Training: a recipe and a folder of pictures in, a model folder out.

```
recipe.py ─┐
data.py ───┼─> run.py ─> loop.py ─> model folder (weights, card, golden files)
plan.py ───┘
```

- ``recipe.py``: the TOML file that defines a run.
- ``plan.py``: what a run is given besides the data (budget, device, callbacks).
- ``data.py``: from files to samplers, and from samplers to batches. The samplers are in
  ``samplers.py``; ``synthetic_motion.py``, ``crop_motion.py`` and ``scenes.py`` serve them.
- ``loop.py``: the loop over the steps. ``state.py`` holds the weights and optimizers that it
  changes, ``losses.py`` and ``rate_proxy.py`` the losses, ``optimizer.py`` Muon, ``validation.py``
  the check on held-out samples, and ``distributed.py`` the processes that share the work.
- ``run.py``: a whole run, from the files to the model folder.
- ``pack.py``: the data of a recipe in one file, for a rented machine.
"""
