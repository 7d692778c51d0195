"""`pila push`: an adapter, its card and its figures to the Hugging Face hub."""
