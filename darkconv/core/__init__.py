"""What a Darknet network is, free of file formats and frameworks."""
