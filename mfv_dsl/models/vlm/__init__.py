"""Vision-language models of transformers, each architecture one row of a table."""
