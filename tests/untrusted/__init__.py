"""What must hold of any bytes that darkconv reads, whoever makes them: hypothesis or atheris."""
