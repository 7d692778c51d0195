"""Pictures of what models and measures do, and the numbers behind them; `docs/diagnose.md`."""
