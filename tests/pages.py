"""What the browser tests ask of the viewer's page."""

READY = """() => {
  const viewer = document.getElementById("viewer").contentWindow.viewer;
  const loaded = ({layer}) => layer && layer.dataSources.every((one) => one.loadState && !one.loadState.error);
  const begun = document.getElementById("where").value && viewer && viewer.layerManager.managedLayers.length;
  return begun && viewer.isReady()
    && viewer.layerManager.managedLayers.every(loaded);
}"""
"""All layers of the viewer are loaded and drawn."""
