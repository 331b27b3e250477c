"""Runs ONNX files in OpenCV 5; tests/opencv5.py starts it in an environment of its own.

Reads one request per line from standard input and answers each with one line, both JSON:

    {"load": file, "engine": "auto"}          -> {"outputs": [name, ...]}
    {"run": inputs.npz, "into": outputs.npz}  -> {}

What OpenCV refuses is answered by {"error": text}.
"""

import json
import os
import sys

import cv2
import numpy as np


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever OpenCV prints must not mix with the answers
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = worker.load(**request) if "load" in request else worker.run(**request)
        except cv2.error as error:
            answer = {"error": " ".join(str(error).split())}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """Holds the network that was loaded last."""

    def load(self, load: str, engine: str) -> dict:
        """Read a file."""
        self.net = cv2.dnn.readNetFromONNX(load, getattr(cv2.dnn, f"ENGINE_{engine.upper()}"))
        self.outputs = list(self.net.getUnconnectedOutLayersNames())
        return {"outputs": self.outputs}

    def run(self, run: str, into: str) -> dict:
        """Run the network once."""
        with np.load(run) as inputs:
            for name, value in inputs.items():
                self.net.setInput(value, name)
        values = self.net.forward(self.outputs)
        empty = np.empty(0, np.float32)  # OpenCV gives None where there is nothing
        values = [empty if value is None else value for value in values]
        np.savez(into, **{str(place): value for place, value in enumerate(values)})
        return {}


if __name__ == "__main__":
    main()
