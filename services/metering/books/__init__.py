"""Price books: one YAML file for each provider."""
