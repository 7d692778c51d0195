"""How the embedded generator, its parts and its adapters are trained."""
