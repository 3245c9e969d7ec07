"""Edited pictures made by any program: a script of one's own, a batch mode, a ComfyUI workflow's client."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt, MinLen

from diffharmon.method.describing import describe
from diffharmon.method.edits.instruction import INSTRUCTION, check_template, instruct
from diffharmon.method.program import OUTPUT
from diffharmon.method.program import Program as Command
from diffharmon.protocols import Describer
from diffharmon.types import Composite, Edit, ignore

PROMPT = "{prompt}"


class Program:
    """Runs a program that reads the composite as a PNG file and writes an edited picture of any size.

    Args:
        command: Program and arguments, started without a shell; inside an argument ``{image}``, ``{mask}`` and
            ``{output}`` become file names, and ``{prompt}`` the instruction in words.
        describer: Finds the words, if the command has ``{prompt}``.
        instruction: Template of the instruction with ``{object}``, ``{foreground}`` and ``{background}``.
        timeout: Seconds after which the program is killed.

    Raises:
        ConfigError: The command lacks ``{image}`` or ``{output}``, or the template its place.
        ModelError: There is no such program.
    """

    def __init__(
        self,
        command: Annotated[Sequence[str], MinLen(1)],
        describer: Describer,
        instruction: str = INSTRUCTION,
        timeout: Annotated[float, Gt(0)] = 600.0,
    ) -> None:
        self.program = Command(command, ("{image}", OUTPUT), timeout, "method.source.command")
        self.describer = describer
        self.instruction = check_template(instruction)

    def edit(self, composite: Composite) -> Edit:
        """Return what the program makes of a composite.

        Raises:
            DescriberError: The words could not be had.
            ModelError: The program fails, takes too long or leaves no image.
        """
        if not self.program.asks_for(PROMPT):
            return Edit(self.program.run(composite))
        description = describe(self.describer, None, composite, (), ignore)
        prompt = instruct(self.instruction, description)
        return Edit(self.program.run(composite, {PROMPT: prompt}), description)
