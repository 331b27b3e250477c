"""The model of a Darknet network, independent of file formats and frameworks."""
