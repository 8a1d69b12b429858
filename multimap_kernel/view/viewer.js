// The frame around the viewer: which map, from which threshold on, and what the colours mean.
"use strict";
const layers = JSON.parse(document.getElementById("layers").textContent);
const element = (name) => document.getElementById(name);
const client = () => element("viewer").contentWindow.viewer;
const managed = (name) => client() && client().layerManager.getLayerByName(name);

function control(layer, name) {
  return managed(layer.name).layer.shaderControlState.state.get(name).trackable;
}

function draw(layer, threshold) {
  const [, limit] = layer.limits;
  const written = (value) => Number(value.toPrecision(3));
  element("value").textContent = `${layer.statistic} ${written(threshold)}`;
  element("low").textContent = `${layer.statistic} ${-written(limit)}`;
  element("high").textContent = `${written(limit)}`;
  element("hidden").title = `hidden: between ${-written(threshold)} and ${written(threshold)}`;
  element("legend").textContent = layer.legend;
}

function choose(layer) {
  for (const other of layers) managed(other.name).setVisible(other === layer);
  client().navigationState.position.value = Float32Array.from(layer.peak);
  const slider = element("threshold");
  slider.max = layer.limits[1];
  slider.step = layer.limits[1] / 500;
  const threshold = control(layer, "threshold");
  slider.value = threshold.value;
  slider.oninput = () => { threshold.value = Number(slider.value); };
  // the viewer's own slider and a notebook may move it too
  threshold.changed.add(() => { slider.value = threshold.value; draw(layer, threshold.value); });
  draw(layer, threshold.value);
}

function start() {
  const ready = client() && layers.every(({name}) => managed(name) && managed(name).layer?.shaderControlState?.state.has("threshold"));
  if (!ready) { setTimeout(start, 100); return; }
  const list = element("map");
  list.replaceChildren(...layers.map(({title, passes}) => new Option(passes ? title : `${title}: nothing passes`)));
  list.onchange = () => choose(layers[list.selectedIndex]);
  list.selectedIndex = Math.max(0, layers.findIndex(({name}) => managed(name).visible));
  list.onchange();
}

const css = (colours) => colours.map((rgb) => `rgb(${rgb.map((part) => Math.round(255 * part)).join(" ")})`).join(", ");
if (layers.length) {
  element("positive").style.background = `linear-gradient(to right, ${css(layers[0].positive)})`;
  element("negative").style.background = `linear-gradient(to left, ${css(layers[0].negative)})`;
  start();
} else {
  document.querySelector("header").hidden = true;
}
