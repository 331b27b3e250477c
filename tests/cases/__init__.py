"""Small networks by layer family: the last layer of each is the one looked at."""
