"""Define the command line: `darkconv COMMAND ...`.

Each command lives in a module of its own, imported when it is called, so that help is quick.
"""

import click

from darkconv import __version__
from darkconv.console.printing import echo_lines
from darkconv.console.program import ProgramGroup
from darkconv.files.notice import telling_once

TASKS = {
    "Convert": {
        "info": "Show the layers of a network: shapes, parameters, cost.",
        "convert": "Write a model as ONNX, Keras, LiteRT, PyTorch or Darknet files.",
        "verify": "Compare a file, or the frameworks, with the model.",
        "fetch": "Download a well-known model.",
        "serve": "Show the pages of a folder in the browser.",
    },
    "Use and measure": {
        "detect": "Find objects in pictures and draw boxes.",
        "eval": "Measure how well a model finds what is labelled.",
    },
    "Make smaller": {
        "reclass": "Make a model for some of its classes.",
        "dissect": "Keep some classes, and the channels that matter most for them.",
        "profile": "Measure what each channel does on pictures.",
        "prune": "Remove the channels that matter least.",
    },
    "Train": {
        "finetune": "Train a model, with labels or with another model as its teacher.",
        "graft": "Copy the weights of a model into another where layers agree.",
        "data": "Check, convert and describe data sets.",
        "anchors": "Find anchors for a data set.",
    },
    "Other": {
        "weights": "Fold, average, cut and compare weights files.",
        "demo": "Show the main job on the bundled model.",
        "completion": "Let the shell complete commands and options.",
    },
}
"""Name and short help of every command, by task; each module has its command's name."""
COMMANDS = {name: text for commands in TASKS.values() for name, text in commands.items()}


@click.group(
    cls=ProgramGroup,
    tasks=TASKS,
    package="darkconv.cli",
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(__version__, "--version", message="darkconv %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Darknet models to PyTorch, Keras and ONNX and back, exactly; fewer classes, smaller files.

    A MODEL is two files, `net.cfg net.weights`, or one that darkconv has written, such as
    `net.safetensors`. Where no weights are needed, `net.cfg` alone or the name of a bundled
    network such as `yolov3` will do.
    """
    ctx.with_resource(telling_once())
    if ctx.invoked_subcommand is None:
        echo_lines(ctx.get_help())
