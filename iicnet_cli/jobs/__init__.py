"""Many files in one call: each is one job, plain data that any worker process can carry out."""
