// The colour bar: what is hidden, what the colours mean, and where the two error rates are reached.
const BAR = {left: 24, right: 304, top: 27, height: 12};

function drawBar(layer, threshold) {
  const at = (value) => BAR.left + (BAR.right - BAR.left) * (value + layer.limit) / (2 * layer.limit);
  const parts = [hatch(), drawn("rect", {x: BAR.left, y: BAR.top, width: BAR.right - BAR.left, height: BAR.height, fill: "url(#hidden)"})];
  const edge = Math.min(threshold, layer.limit);
  parts.push(...ramp("positive", at(edge), at(layer.limit)), ...ramp("negative", at(-edge), at(-layer.limit)));
  parts.push(drawn("rect", {class: "line", x: BAR.left, y: BAR.top, width: BAR.right - BAR.left, height: BAR.height}));
  parts.push(...marks(at, layer.fwe, `FWE ${layer.alpha}: ${written(layer.fwe)}`, 9));
  if (layer.fdr !== null) parts.push(...marks(at, layer.fdr, `FDR ${layer.alpha}: ${written(layer.fdr)}`, 21));
  for (const value of [-layer.limit, 0, layer.limit]) {
    parts.push(drawn("text", {x: at(value), y: 51, "text-anchor": "middle"}, written(value)));
  }
  parts.push(drawn("text", {x: (BAR.left + BAR.right) / 2 + 12, y: 51, "font-weight": 600}, layer.statistic));
  const bar = element("bar");
  bar.setAttribute("aria-label", `${layer.statistic} from ${written(-layer.limit)} to ${written(layer.limit)}, hidden below ${written(threshold)}`);
  bar.replaceChildren(...parts);
}

function hatch() {
  const pattern = drawn("pattern", {id: "hidden", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"});
  pattern.append(drawn("rect", {width: 6, height: 6, fill: "#8882"}), drawn("rect", {width: 2, height: 6, fill: "#8888"}));
  return pattern;
}

function ramp(name, from, to) {
  const gradient = drawn("linearGradient", {id: name, gradientUnits: "userSpaceOnUse", x1: from, x2: to, y1: 0, y2: 0});
  told.colours[name].forEach((rgb, step) => {
    gradient.append(drawn("stop", {offset: step / 2, "stop-color": `rgb(${rgb.map((part) => Math.round(255 * part)).join(" ")})`}));
  });
  return [gradient, drawn("rect", {x: Math.min(from, to), y: BAR.top, width: Math.abs(to - from), height: BAR.height, fill: `url(#${name})`})];
}

// A line through the bar on both sides, and its name beside the positive one, towards the middle.
function marks(at, value, name, y) {
  const lines = [value, -value].map((one) => drawn("path", {class: "mark", d: `M${at(one)} ${one > 0 ? y - 6 : BAR.top - 3}V${BAR.top + BAR.height + 2}`}));
  return [...lines, drawn("text", {x: at(value) - 4, y, "text-anchor": "end", class: "name"}, name)];
}
