"""The shipped price books: one YAML file per provider."""
