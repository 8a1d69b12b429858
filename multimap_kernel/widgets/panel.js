// What the widgets that are worked with have in common, on top of the elements; their looks are in panel.css.

/** The outermost element, which has the keyboard. */
const makePanel = (kind, label) => make("div", {
  class: `multimap-widget multimap-panel multimap-${kind}`, tabindex: "0", "data-lm-suppress-shortcuts": "true", role: "application", "aria-label": label,
});

/** What the keys do, unfolded by a click. */
const makeHelp = (keys) => make("details", { class: "mm-help" }, make("summary", {}, "Keys"),
  make("div", {}, ...keys.map(([key, what]) => make("span", {}, make("kbd", {}, key), ` ${what}`))));

/**
 * Paints once a frame at most: when asked by `draw`, and when the panel's size or the notebook's theme changes, until
 * `stopPainting`. `drawNow` does not wait for the frame, which is late where one still goes through a slow compositor.
 */
function makePainter(root, paint) {
  let frameAsked = 0;
  const drawNow = () => {
    cancelAnimationFrame(frameAsked);
    frameAsked = 0;
    if (!root.isConnected || !root.clientWidth) return;
    paint();
    root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
  };
  const draw = () => { frameAsked ||= requestAnimationFrame(drawNow); };
  const resized = new ResizeObserver(draw);
  resized.observe(root);
  const themed = new MutationObserver(draw);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  return { draw, drawNow, stopPainting: () => { resized.disconnect(); themed.disconnect(); } };
}
