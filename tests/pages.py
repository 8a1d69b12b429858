"""What the browser tests ask of the viewer's page."""

import io

import numpy as np
from PIL import Image

READY = """() => {
  const viewer = document.getElementById("viewer").contentWindow.viewer;
  const loaded = ({layer}) => layer && layer.dataSources.every((one) => one.loadState && !one.loadState.error);
  const begun = document.getElementById("where").value && viewer && viewer.layerManager.managedLayers.length;
  return begun && viewer.isReady()
    && viewer.layerManager.managedLayers.every(loaded);
}"""
"""All layers of the viewer are loaded and drawn."""


def warm_pixels(picture: bytes, top: int = 0) -> int:
    """Pixels of a PNG in the warm half of the colours of a heatmap, below its first rows (headers, a colour bar)."""
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), int)
    red, green, blue = np.moveaxis(image[top:], -1, 0)
    return int(((red > 150) & (green > 40) & (red - blue > 60)).sum())
