"""Training: one loop, and a task for each thing that is trained."""
