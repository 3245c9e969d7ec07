"""What happens when a visitor of the page does something; every action is a function of plain values."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from diffharmon import images
from diffharmon.api.harmonizer import Harmonizer
from diffharmon.api.inputs import read_composite
from diffharmon.app.finished import UPLOADS, Finished
from diffharmon.app.limits import Limits
from diffharmon.app.pictures import PAINTED, THUMBNAIL, preview, strokes, veiled, write_painted
from diffharmon.app.visits import Visit, Visits
from diffharmon.app.watching import Cancelled, Follow
from diffharmon.app.wording import caption, words_of
from diffharmon.app.work import Job, harmonize
from diffharmon.errors import InputError
from diffharmon.types.words import write_words

log = logging.getLogger(__name__)

Report = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Proposal:
    """Words that the describer proposed.

    Attributes:
        foreground: For the light on the foreground.
        background: For the light of the scene.
        of: Digest of what it was asked about.
    """

    foreground: list[str]
    background: list[str]
    of: str = ""


@dataclass(frozen=True)
class Asked:
    """What the page's inputs hold when a visitor presses the button; None and empty stand for "as configured".

    Attributes:
        composite: The uploaded photo.
        mask: The uploaded mask.
        painting: The painting's layers.
        object: Name of the foreground object.
        foreground: Words for the light on the foreground.
        background: Words for the light of the scene.
        proposal: What the describer had proposed; the same words for the same photo and mask then count with all it
            knows beyond them.
        strength: How far to go.
        variants: How many results.
        seed: Of all that is random.
        colour: Treat a grey photo as one with colours.
        painted: The painting is in front, so it counts before an uploaded mask; else the other way round.
        newest: Number of the newest result that the visitor had when pressing the button, -1 for none; None where that
            does not matter.
        pressed: When the button was pressed, milliseconds of the visitor's clock.
    """

    composite: str | None
    mask: str | None = None
    painting: Mapping[str, Any] | None = None
    object: str | None = None
    foreground: Sequence[str] | None = None
    background: Sequence[str] | None = None
    proposal: Proposal | None = None
    strength: float | None = None
    variants: int | None = None
    seed: int | None = None
    colour: bool = False
    painted: bool = False
    newest: int | None = None
    pressed: int = 0

    def words(self, of: str = "") -> dict[str, Any]:
        """Return the words as arguments of a call; none where they are left to the describer.

        Args:
            of: Digest of photo and mask.

        Raises:
            InputError: Only one side has words.
        """
        sides = {"foreground": words_of(self.foreground), "background": words_of(self.background)}
        if not any(sides.values()) or self.proposal == Proposal(sides["foreground"], sides["background"], of):
            return {}
        for side, words in sides.items():
            if not words:
                where = "on the object" if side == "foreground" else "of the scene"
                raise InputError(f"choose words for the light {where} too, or for neither")
        return sides


class Actions:
    """All that the page does, for all visitors.

    Args:
        harmonizer: With its models loaded.
        visits: Where visitors' files are.
        limits: What one visitor may ask for.
        overrides: What the harmonizer was configured with, for the records.
    """

    def __init__(self, harmonizer: Harmonizer, visits: Visits, limits: Limits, overrides: Sequence[str] = ()) -> None:
        self.harmonizer, self.visits, self.limits, self.overrides = harmonizer, visits, limits, tuple(overrides)

    def preview(self, composite: str) -> Image.Image:
        """Read an uploaded photo and return the picture that is painted on.

        Raises:
            InputError: It cannot be read.
        """
        picture = images.read_image(composite, self.limits.megapixels)
        return preview(picture.image, PAINTED, picture.alpha)

    def check(self, composite: str | None, mask: str) -> Image.Image:
        """Show what an uploaded mask selects.

        Raises:
            InputError: There is no photo yet, or the mask cannot be used for it.
        """
        if composite is None:
            raise InputError("drop the photo first, then its mask")
        _, made = read_composite(composite, mask, self.limits.megapixels)
        return veiled(made.image, made.mask)

    def propose(self, visit: Visit, asked: Asked) -> Proposal:
        """Ask the describer for words of both sides.

        Raises:
            DiffharmonError: Photo or mask are missing or cannot be read, or the describer failed, or it was stopped.
        """
        with begun(visit, asked) as folder:
            job = self.job(asked, folder)
            options: dict[str, Any] = {"colour": asked.colour, "max_megapixels": self.limits.megapixels}
            found = self.harmonizer.describe(job.composite, job.mask, **options)
        shutil.rmtree(folder, ignore_errors=True)
        return Proposal(
            write_words(found.foreground, found.foreground_weights),
            write_words(found.background, found.background_weights),
            job.digest,
        )

    def harmonize(self, visit: Visit, asked: Asked, report: Report) -> Finished:
        """Harmonize a photo into a new result of the visit.

        Raises:
            DiffharmonError: What is missing or does not fit, or the work was stopped.
        """
        with begun(visit, asked) as folder:
            watch = Follow(report, lambda: not folder.is_dir() or visit.stopped(asked.pressed), self.limits.seconds)
            job = self.job(asked, folder)
            if (there := self.pressed_twice(visit, asked.newest, job)) is not None:
                shutil.rmtree(folder)
                return there
            harmonize(self.harmonizer, job, folder, self.limits.megapixels, watch, self.overrides)
            finished = Finished(folder, self.limits.megapixels)
            finished.lut_error(finished.record["best"])  # fits the table that is shown first, which takes its time
        visit.trim()
        return finished

    def pressed_twice(self, visit: Visit, newest: int | None, job: Job) -> Finished | None:
        """Return the newest result if the same was asked for again before the visitor had it."""
        for folder in visit.results()[:1]:
            there = Finished(folder, self.limits.megapixels)
            if newest is not None and there.number > newest and there.record["asked"] == job.asked():
                return there
        return None

    def job(self, asked: Asked, folder: Path) -> Job:
        """Put photo, mask and settings together in a result's folder.

        Raises:
            InputError: Photo or mask are missing, or only one side has words.
        """
        if asked.composite is None:
            raise InputError("drop a photo first")
        uploads = folder / UPLOADS
        uploads.mkdir(parents=True, exist_ok=True)
        composite = Path(shutil.copy(asked.composite, uploads))
        if asked.mask is not None and not (asked.painted and strokes(asked.painting)):
            mask = Path(shutil.copy(asked.mask, uploads / f"{composite.stem}_mask{Path(asked.mask).suffix}"))
        else:
            mask = uploads / f"{composite.stem}_mask.png"
            size = images.read_image(composite, self.limits.megapixels).image.shape[-2:]
            write_painted(asked.painting, (size[0], size[1]), mask)
        of = digest(composite, mask, asked.colour)
        return Job(composite, mask, self.settings(asked, of), of)

    def settings(self, asked: Asked, of: str) -> dict[str, Any]:
        """Return the arguments of the call; what the method does not take is left out."""
        takes = self.harmonizer.takes
        settings: dict[str, Any] = asked.words(of) if "words" in takes else {}
        name = (asked.object or "").strip()
        if name and (settings or "object" in takes):
            settings["object"] = name
        for key in ("strength", "variants", "seed"):
            if key in takes and getattr(asked, key) is not None:
                settings[key] = getattr(asked, key)
        return settings | {"colour": True} if asked.colour else settings

    def finished(self, visit: Visit, number: int) -> Finished:
        """Return a result of the visit; raises ``InputError`` where it is not kept any more."""
        return Finished(visit.result(number), self.limits.megapixels)

    def history(self, visit: Visit) -> list[tuple[Image.Image, str]]:
        """Return a thumbnail and a caption of each result of the visit, newest first."""
        shown = []
        for folder in visit.results():
            one = Finished(folder, self.limits.megapixels)
            best = one.record["best"]
            with Image.open(one.after(best)) as picture:
                picture.thumbnail((THUMBNAIL, THUMBNAIL))
                shown.append((picture.copy(), f"{one.name}: {caption(one.variant(best))}"))
        return shown

    def download(self, name: str, number: int, variant: int, kind: str) -> tuple[Path, str]:
        """Return a file of a result and the name it is saved under.

        Raises:
            InputError: There is no such visit, result, variant or file.
        """
        finished = self.finished(self.visits.named(name), number)
        return finished.download(variant, kind, self.harmonizer.config)


@contextmanager
def begun(visit: Visit, asked: Asked) -> Iterator[Path]:
    """Yield the folder of a new result; it is removed if the work fails, or the visitor stopped it.

    Raises:
        Cancelled: The visitor stopped it: while it waited for the model, between two steps, or just before its end.
    """
    if visit.stopped(asked.pressed):
        raise Cancelled("stopped")
    folder = visit.begin()
    try:
        yield folder
        if visit.stopped(asked.pressed):
            raise Cancelled("stopped")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Exception) and visit.stopped(asked.pressed):
            raise Cancelled("stopped") from error  # what fails while it is not wanted concerns nobody
        raise


def digest(composite: Path, mask: Path, colour: bool) -> str:
    """Return what tells one photo with its mask, read with colours or not, from any other."""
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (composite, mask)]
    return " ".join([*parts, str(colour)])
