"""The paper's experiments as tables: jobs with results on disk, and the README's tables of them."""
