"""From a prompt to files: what can be asked, the checked plan, the run, its pictures."""
