"""A picture and a link: all that stays of a widget in a batch run."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field

from IPython.display import publish_display_data


@dataclass(frozen=True)
class Still:
    """Shows itself where a widget would stand.

    Parameters
    ----------
    png
        The picture.
    text
        What it shows, where pictures cannot be seen.
    link
        Address below it; empty for none.
    """

    png: bytes = field(repr=False)
    text: str
    link: str = ""

    def _ipython_display_(self) -> None:
        for output in self.outputs():
            publish_display_data(output)  # type: ignore[no-untyped-call]  # IPython

    def outputs(self) -> list[dict[str, str]]:
        """MIME bundles, one per output."""
        bundles = [{"image/png": base64.b64encode(self.png).decode(), "text/plain": self.text}]
        if self.link:
            anchor = f'<a href="{html.escape(self.link)}" target="_blank" rel="noopener">open the session</a>'
            bundles.append({"text/html": anchor, "text/plain": self.link})
        return bundles
