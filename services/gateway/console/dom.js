// Makes elements. Text is always text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  sun: "M12 4V2M12 22v-2M4 12H2M22 12h-2M5.6 5.6 4.2 4.2M19.8 19.8l-1.4-1.4M5.6 18.4l-1.4 1.4M19.8 4.2l-1.4 1.4M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8",
  moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.500 10.500",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  out: "M10 4H5v16h5M14 8l4 4-4 4M9 12h9",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M20 20l-4-4",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6 6 18",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  stop: "M7 7h10v10H7z",
  follow: "M12 4v13M6 12l6 6 6-6M5 21h14",
  wrap: "M4 6h16M4 12h13a3 3 0 0 1 0 6h-4M15 16l-2 2 2 2M4 18h5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 7v5l3 2",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  terminal: "M5 8l4 4-4 4M12 17h7",
  tool: "M14.5 6.500a4 4 0 0 0-5.300 5L4 16.700 7.300 20l5.200-5.200a4 4 0 0 0 5-5.300l-2.500 2.500-2.500-.500-.500-2.500z",
  rewind: "M4 12a8 8 0 1 0 3-6.200M4 4v4h4",
  plus: "M12 5v14M5 12h14",
  chat: "M4 5h16v11H9l-5 4z",
};

/** An element with properties, listeners (`onclick`) and children; null children are left out. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Other children for an element; the focus stays on the link that is there again. */
export function replaceKept(element, children) {
  const active = element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  element.replaceChildren(...children);
  if (active) element.querySelector(`[href="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and no text: its label is what it says. */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...properties }, icon(name));
}

/** A button that is on or off. */
export function toggle(name, label, isOn, onchange) {
  const button = iconButton(name, label, () => set(button.getAttribute("aria-pressed") !== "true"));
  const set = (on) => {
    button.setAttribute("aria-pressed", String(on));
    onchange(on);
  };
  button.setAttribute("aria-pressed", String(isOn));
  return button;
}

export function pill(text, kind = "") {
  return h("span", { class: `pill ${kind}` }, text);
}

/** Said by screen readers, when they are done with what they say. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Something went wrong that concerns what was just done. */
export function toast(error) {
  const box = h(
    "div",
    { class: "toast" },
    h("div", {}, error.message ?? String(error)),
    iconButton("close", "Dismiss", () => box.remove()),
  );
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), TOAST_MS);
}
const TOAST_MS = 12_000;

/** A modal dialog; resolves with what `close` is called with, or null. Esc closes it. */
export function dialog(title, build) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    let result = null;
    const box = h("dialog", { "aria-label": title });
    const close = (value = null) => {
      result = value;
      box.close();
    };
    box.append(h("div", { class: "stack" }, h("h2", {}, title), build(close)));
    const leave = () => close();
    box.addEventListener("close", () => {
      removeEventListener("hashchange", leave);
      box.remove();
      before?.focus?.();
      resolve(result);
    });
    document.body.append(box);
    // It is about the page that it stands on.
    addEventListener("hashchange", leave);
    box.showModal();
  });
}

/** Asks before something that cannot be taken back. */
export function confirm(title, text, action) {
  return dialog(title, (close) => [
    h("p", {}, text),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", autofocus: true, onclick: () => close() }, "No"),
      h("button", { type: "button", class: "danger", onclick: () => close(true) }, action),
    ),
  ]);
}
