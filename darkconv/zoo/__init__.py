"""Well-known models: where they are published, and how they come here."""
