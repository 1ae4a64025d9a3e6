"""What a demo shows: its progress, and the sentence that ends it."""
import os
import shutil
import time


class Failed(Exception):
    """What ends the demo, in a sentence."""


class Screen:
    """Progress: one line that changes on a terminal, a line for each step elsewhere."""

    def __init__(self, stream):
        self.stream = stream
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.has_colours = self.is_terminal and "NO_COLOR" not in os.environ
        self.started = time.perf_counter()

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.has_colours else text

    def write(self, text):
        self.stream.write(text)
        self.stream.flush()

    def clear(self):
        return "\r\033[K" if self.is_terminal else ""

    def passing(self, text):
        """Something that the next line replaces; not shown where it would stay."""
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 4
            self.write(self.clear() + "  " + self.paint(2, text[:width]))

    def done(self, what, detail):
        mark = self.paint(32, f"{time.perf_counter() - self.started:5.1f} s")
        self.write(f"{self.clear()}  {mark}  {what:<9} {detail}\n")

    def title(self, text):
        self.write("\n" + self.paint(1, text) + "\n\n")

    def failure(self, text):
        self.write(self.clear() + self.paint(31, "FAILED ") + text + "\n")
