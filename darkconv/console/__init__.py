"""What a command line is made of that knows no models: streams, progress, values, files."""
