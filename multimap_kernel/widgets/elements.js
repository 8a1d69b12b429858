// Elements of the page, for every widget.

/** An element with attributes, events (on...) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Calls a handler for each thing that the kernel changes or says; gives what ends that. */
function hear(model, handlers) {
  const pairs = Object.entries(handlers);
  for (const [event, handler] of pairs) model.on(event, handler);
  return () => { for (const [event, handler] of pairs) model.off(event, handler); };
}
