"""Published Darknet networks, in this project's own layout."""
