"""Gemini through google-genai, the maintained SDK."""

from collections.abc import Sequence
from typing import ClassVar

from diffharmon.describer.gemini_service import GeminiService
from diffharmon.language_model.genai import GenAI, text_of


class GoogleGenAI(GeminiService):
    """Asks Gemini through ``google-genai`` (extra ``google-genai``); settings as `GeminiService` documents them."""

    label: ClassVar[str] = "google_genai"

    def _request(self, text: str, files: Sequence[bytes]) -> str:
        return text_of(GenAI(*self._connection(), self.pace).ask(text, files, self.sampling))
