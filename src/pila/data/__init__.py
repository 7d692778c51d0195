"""Data as training reads it: batches of latents, captions and categories."""
