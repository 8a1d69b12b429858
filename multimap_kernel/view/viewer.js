// The page around the viewer: which map, from which threshold on, and where the cross-hair is.
"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const element = (name) => document.getElementById(name);
const client = () => element("viewer").contentWindow.viewer;
const managed = (name) => client() && client().layerManager.getLayerByName(name);
const written = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
let shown = null; // the map that is visible

function drawn(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Undefined while the client builds its layers, which it also does whenever somebody else gives it a new state.
const control = (layer) => managed(layer.name)?.layer?.shaderControlState?.state.get("threshold")?.trackable;
const show = (name, visible) => managed(name)?.setVisible(visible);

// Colours of the page follow the notebook around it, or else the reader's system.
function follow() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let around = null;
  try { around = window.parent !== window ? window.parent.document.body : null; } catch { /* another origin */ }
  const apply = () => {
    const light = around && around.dataset.jpThemeLight;
    document.documentElement.dataset.theme = (light ? light === "false" : dark.matches) ? "dark" : "light";
  };
  if (around) new MutationObserver(apply).observe(around, {attributeFilter: ["data-jp-theme-light"]});
  dark.addEventListener("change", apply);
  apply();
}

function drawThreshold(threshold) {
  const within = threshold < shown.fwe * 0.999 ? "below FWE" : `FWE ${shown.alpha}`;
  element("value").textContent = `${shown.statistic} ${written(threshold)} · ${within}`;
  element("threshold").value = threshold;
  drawBar(shown, threshold);
}

function setThreshold(value) {
  const threshold = control(shown);
  if (threshold) threshold.value = value;
}

function choose(layer) {
  shown = layer;
  for (const other of told.layers) show(other.name, other === layer);
  moveTo(layer.peak);
  Object.assign(element("threshold"), {min: 0, max: layer.limit, step: layer.limit / 500});
  for (const [name, value] of [["fwe", layer.fwe], ["fdr", layer.fdr]]) {
    element(name).disabled = value === null;
    element(name).title = value === null ? `nothing passes ${name.toUpperCase()} ${layer.alpha}` : written(value);
    element(name).onclick = () => setThreshold(value);
  }
  element("legend").textContent = layer.legend;
  element("space").textContent = layer.space === "native" ? "mm, scanner" : `mm, ${layer.space}`;
}

// The cross-hair: the client's position has an axis of time when there are volumes.
const axes = () => client().navigationState.pose.position.coordinateSpace.value.names;
const here = () => {
  const position = client().navigationState.position.value;
  return ["x", "y", "z"].map((name) => position[axes().indexOf(name)]);
};

function moveTo(point) {
  const position = Float32Array.from(client().navigationState.position.value);
  point.forEach((value, axis) => { position[axes().indexOf("xyz"[axis])] = value; });
  client().navigationState.position.value = position;
}

// The whole head is in view at first, also where planes are narrow and the peak lies far out.
function widen({peak, head}) {
  const reach = peak.map((middle, axis) => 10 + Math.max(...head.map((end) => Math.abs(end[axis] - middle)))); // room for the letters
  const {clientWidth, clientHeight} = document.querySelector("main");
  const zoom = client().navigationState.zoomFactor; // mm per pixel
  zoom.value = Math.max(zoom.value, Math.max(reach[0], reach[1]) * 6 / clientWidth, Math.max(reach[1], reach[2]) * 2 / clientHeight);
}

let reading = 0;
function readHere(tries = 30) {
  clearTimeout(reading);
  const point = here();
  if (document.activeElement !== element("where")) element("where").value = point.map((one) => Math.round(one)).join(" ").replaceAll("-", "−");
  if (!shown) return;
  const found = managed(shown.name)?.layer?.getValueAt(client().navigationState.position.value, {});
  const value = found === undefined || found === null ? NaN : Number(found);
  element("here").textContent = value ? `${shown.statistic} ${written(value)}` : "outside";
  if (Number.isNaN(value) && tries) reading = setTimeout(() => readHere(tries - 1), 100); // its part is still on its way
}

function clickable(view) {
  let down = null;
  const place = ({screenX, screenY}) => [screenX, screenY];
  view.addEventListener("mousedown", (event) => { down = event.button === 0 && !event.altKey && !event.ctrlKey ? place(event) : null; }, true);
  view.addEventListener("mouseup", (event) => {
    const moved = down === null ? Infinity : Math.hypot(...place(event).map((value, axis) => value - down[axis]));
    const mouse = client().mouseState;
    if (moved < 4 && event.target.closest(".neuroglancer-rendered-data-panel") && mouse.updateUnconditionally()) {
      moveTo(["x", "y", "z"].map((name) => mouse.position[axes().indexOf(name)]));
    }
  }, true);
}

// The letters at the edges hold for the three planes as they were: turned or laid out anew, they would lie.
function asPlanned() {
  const panes = client().layout.toJSON().children || [];
  const same = ({layout, crossSectionOrientation}, turn) => layout === "xy" && turn.every((part, k) => Math.abs(part - (crossSectionOrientation?.value?.[k] ?? 9)) < 1e-3);
  return panes.length === told.planes.length && panes.every((pane, k) => same(pane, told.planes[k]));
}

// Everything that follows the client's state, whoever changed it: this page, the client itself, or who made the state.
function refresh() {
  const threshold = shown && control(shown);
  if (threshold) drawThreshold(threshold.value);
  document.body.classList.toggle("turned", !asPlanned());
  readHere();
  drawTime();
  ask();
}

function begin() {
  client().uiConfiguration.showUIControls.value = false; // this page has its own
  const style = element("viewer").contentDocument.head.appendChild(document.createElement("style"));
  // the controls would undo the three planes; what the axes are called and how large they are, the page says itself
  style.textContent = ".neuroglancer-data-panel-layout-controls, .neuroglancer-display-dimensions-widget { display: none; }";
  const bars = client().scaleBarOptions;
  bars.value = {...bars.value, fontName: "system-ui"}; // as on this page
  clickable(element("viewer").contentDocument);
  element("cross").onsubmit = (event) => {
    event.preventDefault();
    const numbers = (element("where").value.replaceAll("−", "-").match(/-?\d+(\.\d+)?/g) || []).map(Number);
    element("where").blur();
    if (numbers.length === 3) moveTo(numbers);
    readHere();
  };
  element("threshold").oninput = () => setThreshold(Number(element("threshold").value));
  const list = element("map");
  list.replaceChildren(...told.layers.map(({title, passes}) => new Option(passes ? title : `${title}: nothing passes`)));
  list.onchange = () => { choose(told.layers[list.selectedIndex]); refresh(); };
  list.selectedIndex = Math.max(0, told.layers.findIndex(({name}) => managed(name).visible));
  if (told.layers.length) {
    choose(told.layers[list.selectedIndex]);
    widen(shown);
  }
  element("statistics").hidden = !told.layers.length;
  beginVolumes();
  beginCourse();
  let queued = false;
  client().state.changed.add(() => {
    if (!queued) requestAnimationFrame(() => { queued = false; refresh(); });
    queued = true;
  });
  refresh();
}

function start() {
  follow();
  const ready = () => client() && client().layerManager.managedLayers.length && axes().includes("x")
    && (!told.volumes || axes().includes("t")) && told.layers.every(control);
  const wait = () => { if (ready()) begin(); else setTimeout(wait, 100); };
  wait();
}
