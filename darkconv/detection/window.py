"""A window that shows pictures, made with Python's tkinter and Pillow."""

from typing import TYPE_CHECKING, Any

from darkconv.errors import DarkconvError

if TYPE_CHECKING:
    from PIL.Image import Image

ENDING = ("q", "Q", "Escape")
"""The keys that close the window."""


class DisplayWindow:
    """A window that shows one picture after the other.

    Attributes:
        is_open: False once the user has closed it, with its button or with one of the keys in
            `ENDING`.
    """

    def __init__(self, title: str) -> None:
        """Open a window.

        Raises:
            DarkconvError: there is no screen, or Python has no tkinter.
        """
        try:
            import tkinter
        except ImportError as error:
            hint = "install it: on Debian and Ubuntu, apt install python3-tk"
            raise DarkconvError("a window needs tkinter, which Python lacks", hint=hint) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            hint = "-o FILE writes what would be shown"
            raise DarkconvError(f"there is no screen to show it on: {error}", hint=hint) from error
        self._failures = tkinter.TclError
        self.is_open = True
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ENDING:
            self._root.bind(f"<{key}>" if len(key) > 1 else key, lambda _: self.close())
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._shown: Any = None

    def show(self, image: "Image") -> bool:
        """Show a picture.

        Args:
            image: the PIL image, shown in its own size.

        Returns:
            False if the window was closed.
        """
        from PIL import ImageTk

        try:
            self._shown = ImageTk.PhotoImage(image, master=self._root)
            self._label.configure(image=self._shown)
            self._root.update()
        except self._failures:  # closed while it was drawn
            self.is_open = False
        return self.is_open

    def wait(self) -> bool:
        """Wait for a key or a click.

        Returns:
            False if the window was closed.
        """
        import tkinter

        pressed = tkinter.BooleanVar(self._root)
        for event in ("<Key>", "<Button>", "<Destroy>"):
            self._root.bind(event, lambda _: pressed.set(True), add="+")
        try:
            self._root.wait_variable(pressed)
        except self._failures:
            self.is_open = False
        return self.is_open

    def close(self) -> None:
        """Close the window."""
        if self.is_open:
            self.is_open = False
            self._root.destroy()
