"""Which physical categories a prompt is about: an LLM parser and an offline one."""
