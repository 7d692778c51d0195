"""Pictures of what models and measures do."""
