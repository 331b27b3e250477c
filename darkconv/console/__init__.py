"""Hold the parts of a command line that know no models: streams, progress, values and files."""
