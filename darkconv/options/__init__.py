"""Options that several commands share, and how a command reads what they say."""
