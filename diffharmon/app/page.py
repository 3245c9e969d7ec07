"""The page's layout and what its parts do, in Gradio."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from diffharmon.app.actions import Actions, Asked, Proposal
from diffharmon.app.finished import Finished
from diffharmon.app.visits import Visit
from diffharmon.app.watching import Cancelled
from diffharmon.app.wording import caption, choices, links, plain, sentence
from diffharmon.errors import DiffharmonError
from diffharmon.images import SUFFIXES

log = logging.getLogger(__name__)

TITLE = "diffharmon"
PAINT = ("#ff4d4d", 0.55)
VARIANTS = 3
DROP = 150  # height of a field for a file, pixels
PROGRESS = gr.Progress()  # as a default it asks Gradio for the progress of the event
STOPPING, STOPPED = (f"<p><span>{text}</span></p>" for text in ("Stopping.", "Stopped."))
# In the browser, when a button is pressed: the moment by the visitor's clock, in place of the last input.
MOMENT = "(...inputs) => [...inputs.slice(0, -1), Date.now()]"
EMPTY = "<p><span>The result appears here: before on the left of the line, after on its right.</span></p>"
INTRODUCTION = (
    "# diffharmon\nA pasted object gets the light of the photo around it. "
    "Photos stay on the machine that runs this page."
)


class Page:
    """Connects the parts of the page with its actions.

    Args:
        actions: What the page does.
        folders: The page's own folders, which errors do not name.
    """

    def __init__(self, actions: Actions, folders: Sequence[Path] = ()) -> None:
        self.actions, self.folders = actions, folders
        self.takes = actions.harmonizer.takes

    def build(self) -> gr.Blocks:
        """Lay the page out."""
        limits = self.actions.limits
        age = int(limits.hours * 3600)
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(min(age, 600), age)) as page:
            gr.Markdown(INTRODUCTION, elem_id="title")
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=330):
                    self.photo()
                    self.light()
                with gr.Column(scale=7, min_width=330):
                    self.results()
            self.connect(page)
        page.queue(max_size=limits.waiting, api_open=False, default_concurrency_limit=4)
        return page

    def photo(self) -> None:
        """Lay out the photo and its mask."""
        types = list(SUFFIXES)
        self.composite = gr.File(label="Photo with the pasted object", file_types=types, height=DROP, elem_id="photo")
        with gr.Tabs(visible=False) as self.masks:
            with gr.Tab("Paint the mask") as self.painting_tab:
                self.painting = gr.ImageEditor(
                    label="Paint over the pasted object",
                    show_label=False,
                    type="pil",
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=gr.Brush(default_size=40, colors=[PAINT], default_color=PAINT, color_mode="fixed"),
                    buttons=["fullscreen"],
                    interactive=True,
                    elem_id="painting",
                )
            with gr.Tab("Drop a mask") as self.mask_tab:
                self.mask = gr.File(label="Mask: white on the object", file_types=types, height=DROP, elem_id="mask")
                self.checked = gr.Image(label="What it selects", visible=False, buttons=[], interactive=False)

    def light(self) -> None:
        """Lay out words, strength and the buttons; what the method does not take is not shown."""
        takes, config = self.takes, self.actions.harmonizer.config.method
        words = "words" in takes
        with gr.Group(visible=bool(takes)):
            boxes: dict[str, Any] = {
                "multiselect": True,
                "allow_custom_value": True,
                "choices": choices(),
                "visible": words,
            }
            self.foreground = gr.Dropdown(label="Light on the object now", elem_id="foreground", **boxes)
            self.background = gr.Dropdown(label="Light of the scene", elem_id="background", **boxes)
            with gr.Row(visible=words, elem_id="reading"):
                gr.Markdown("Left empty, the words are read from the photo.")
                self.propose = gr.Button("Read them now", size="sm", scale=0, min_width=130, elem_id="propose")
            self.object = gr.Textbox(
                label="Object", placeholder="cat", max_lines=1, visible=words or "object" in takes, elem_id="object"
            )
            strength = config.get("strength", (config.get("recomposer") or {}).get("strength", 1.0))
            self.strength = gr.Slider(0, 2, strength, step=0.05, label="Strength", visible="strength" in takes)
            self.variants = gr.Slider(1, 8, VARIANTS, step=1, label="Variants", visible="variants" in takes)
            with gr.Accordion("More", open=False):
                self.seed = gr.Number(
                    config.get("seed", 0), label="Seed", precision=0, minimum=0, visible="seed" in takes
                )
                self.colour = gr.Checkbox(label="Let a grey photo have colours")
        with gr.Row(elem_id="buttons"):
            self.go = gr.Button("Harmonize", variant="primary", scale=3, min_width=120, elem_id="go")
            self.stop = gr.Button("Stop", variant="secondary", scale=1, min_width=80, elem_id="stop")

    def results(self) -> None:
        """Lay out the result, its variants, downloads, attention maps and the history."""
        self.slider = gr.ImageSlider(
            label="Before and after", show_label=False, interactive=False, buttons=["fullscreen"], elem_id="slider"
        )
        self.status = gr.HTML(EMPTY, elem_id="status")
        self.notice = gr.HTML("", elem_id="notice")
        self.gallery = gr.Gallery(
            show_label=False,
            visible=False,
            columns=4,
            fit_columns=False,
            height="auto",
            object_fit="contain",
            allow_preview=False,
            buttons=[],
            interactive=False,
            elem_id="variants",
        )
        self.links = gr.HTML("", elem_id="links")
        with gr.Accordion("Where each word looks", open=False, visible=False) as self.looks:
            self.attention = gr.Gallery(
                show_label=False, columns=3, height="auto", buttons=[], interactive=False, elem_id="attention"
            )
        with gr.Accordion("Results of this visit", open=False, visible=False) as self.past:
            self.history = gr.Gallery(
                show_label=False,
                columns=4,
                fit_columns=False,
                height="auto",
                allow_preview=False,
                buttons=[],
                interactive=False,
                elem_id="history",
            )
            self.forget = gr.Button("Delete them all", size="sm", elem_id="forget")

    def connect(self, page: gr.Blocks) -> None:
        """Connect buttons and inputs with their actions."""
        proposal, shown, painted = gr.State(None), gr.State(-1), gr.State(True)
        moment = gr.Number(0, precision=0, visible=False)
        newest = gr.Number(-1, precision=0, visible="hidden")  # in the browser, which sends what it has at each press
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        model: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
        # Every press takes its turn, and Stop ends those before it: Gradio's own cancelling leaves the page deaf.
        pressed: dict[str, Any] = {"js": MOMENT, "trigger_mode": "multiple"}
        asked = [self.composite, self.mask, self.painting, self.object, self.foreground, self.background]
        asked += [proposal, self.strength, self.variants, self.seed, self.colour, painted, newest, moment]
        result = [self.slider, self.status, self.gallery, self.links, self.looks, self.attention, shown]
        past = [self.past, self.history]
        page.load(self.sweep, **hidden)
        self.composite.change(self.open, [self.composite], [self.masks, self.painting, self.mask], **hidden)
        self.mask.change(self.check, [self.composite, self.mask], [self.checked], **hidden)
        words = [self.foreground, self.background, proposal]
        gr.on([self.composite.change, self.mask.change], self.outdate, words, words, **hidden)
        self.painting_tab.select(lambda: True, None, [painted], queue=False, **hidden)
        self.mask_tab.select(lambda: False, None, [painted], queue=False, **hidden)
        notice = [self.notice]
        gr.on([self.go.click, self.propose.click], None, None, notice, js="() => ''", **hidden)
        boxes = [self.foreground, self.background]
        self.propose.click(self.read_light, asked, [*words, *notice], show_progress_on=boxes, **model, **pressed)
        shows = [*result, *past, *notice, newest]
        self.go.click(self.harmonize, asked, shows, show_progress_on=[self.slider], **model, **pressed)
        self.stop.click(None, None, notice, js=f"() => '{STOPPING}'", **hidden)
        self.stop.click(self.halt, [moment], notice, queue=False, **pressed, **hidden)
        self.gallery.select(self.choose, [shown], result, **hidden)
        self.history.select(self.recall, None, result, **hidden)
        self.forget.click(self.clear, [moment], [*result, *past, newest], **pressed, **hidden)

    def sweep(self) -> None:
        """Remove what earlier visitors left."""
        self.actions.visits.sweep(self.actions.limits.hours)

    def visit(self, request: gr.Request) -> Visit:
        """Return the visit of a request."""
        return self.actions.visits.of(request.session_hash)

    def attempt(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Run an action; show the visitor an error as one plain sentence, but for ``Cancelled``."""
        try:
            return action(*arguments)
        except Cancelled:
            raise
        except Exception as error:
            if not isinstance(error, DiffharmonError):
                log.exception("an action of the page failed")
            raise gr.Error(plain(error, self.folders), duration=20, title="", print_exception=False) from error

    def open(self, composite: str | None) -> tuple[Any, ...]:
        """Show a photo to paint its mask on."""
        if composite is None:
            return gr.update(visible=False), None, None
        picture = self.attempt(self.actions.preview, composite)
        return gr.update(visible=True), {"background": picture, "layers": [], "composite": None}, None

    def check(self, composite: str | None, mask: str | None) -> Any:
        """Show what a mask selects."""
        if mask is None:
            return gr.update(value=None, visible=False)
        return gr.update(value=self.attempt(self.actions.check, composite, mask), visible=True)

    def read_light(self, request: gr.Request, *asked: Any) -> tuple[Any, ...]:
        """Put the describer's words into the boxes."""
        try:
            found = self.attempt(self.actions.propose, self.visit(request), Asked(*asked))
        except Cancelled:
            return *[gr.skip()] * 3, STOPPED
        return found.foreground, found.background, found, ""

    def outdate(self, foreground: list[str], background: list[str], proposal: Proposal | None) -> tuple[Any, ...]:
        """Empty the words where they are a proposal for another photo or mask; keep the visitor's own."""
        if proposal is None or (foreground, background) != (proposal.foreground, proposal.background):
            return foreground, background, proposal
        return [], [], None

    def harmonize(self, request: gr.Request, progress: gr.Progress = PROGRESS, *asked: Any) -> tuple[Any, ...]:
        """Harmonize and show the best result."""
        visit = self.visit(request)

        def report(step: int, steps: int, stage: str) -> None:
            progress((step, steps) if steps else None, desc=stage, unit="steps")

        try:
            finished = self.attempt(self.actions.harmonize, visit, Asked(*asked), report)
        except Cancelled:
            return *[gr.skip()] * 9, STOPPED, gr.skip()
        return (*self.shown(visit, finished, finished.record["best"]), *self.past_of(visit), "", finished.number)

    def shown(self, visit: Visit, finished: Finished, variant: int) -> tuple[Any, ...]:
        """Return what the result's parts show of one variant."""
        record = finished.record
        best = record["variants"][record["best"]]
        entries = [(str(finished.after(n)), caption(one, best)) for n, one in enumerate(record["variants"])]
        maps = [(str(finished.folder / name), word) for name, word in record["attention"].items()]
        error = self.attempt(finished.lut_error, variant)
        return (
            (str(finished.before), str(finished.after(variant))),
            sentence(record, variant),
            gr.update(value=entries, visible=len(entries) > 1, selected_index=variant),
            links(visit.folder.name, finished.number, variant, record, error),
            gr.update(visible=bool(maps)),
            maps,
            finished.number,
        )

    def past_of(self, visit: Visit) -> tuple[Any, Any]:
        """Return what the history shows."""
        history = self.actions.history(visit)
        return gr.update(visible=bool(history)), history

    def choose(self, number: int, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        """Show another variant."""
        visit = self.visit(request)
        return self.shown(visit, self.attempt(self.actions.finished, visit, number), int(event.index))

    def recall(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        """Show a former result."""
        visit = self.visit(request)
        folder = visit.results()[int(event.index)]
        finished = self.attempt(self.actions.finished, visit, int(folder.name))
        return self.shown(visit, finished, finished.record["best"])

    def halt(self, request: gr.Request, moment: int) -> Any:
        """Stop all that this visitor has asked for; what runs says itself when it has ended."""
        return gr.skip() if self.visit(request).stop(moment) else STOPPED

    def clear(self, request: gr.Request, moment: int) -> tuple[Any, ...]:
        """Delete all results of this visitor."""
        self.visit(request).clear(moment)
        gone = gr.update(value=None, visible=False)
        return None, EMPTY, gone, "", gr.update(visible=False), None, -1, gr.update(visible=False), None, -1
