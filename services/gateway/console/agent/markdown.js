// Markdown of agents and people, as elements. The only place where text becomes markup: it goes through
// DOMPurify, and the page's policy takes markup from nowhere else. Nothing is loaded for it: images are
// links.

import DOMPurify from "../vendor/dompurify.mjs";
import { Marked } from "../vendor/marked.mjs";

/** Longer texts are shown as they are: nobody reads them for their headings. */
const MARKDOWN_MAX_CHARS = 200_000;

const marked = new Marked({ gfm: true, breaks: true });

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

const ALLOWED = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ], // prettier-ignore
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_TRUSTED_TYPE: true,
};

marked.use({
  renderer: {
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    // Markup in the text is text.
    html: ({ text }) => escaped(text),
  },
});

function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Nothing where it is too much for the parser, as thousands of quotes in each other are. */
function markupOf(text) {
  try {
    return DOMPurify.sanitize(marked.parse(text), ALLOWED);
  } catch {
    return null;
  }
}

export function markdown(text) {
  const element = document.createElement("div");
  element.className = "markdown";
  const markup = text.length > MARKDOWN_MAX_CHARS ? null : markupOf(text);
  if (markup === null) {
    element.classList.add("as-is");
    element.textContent = text;
    return element;
  }
  element.innerHTML = markup;
  for (const part of element.querySelectorAll("pre, table")) {
    part.tabIndex = 0;
    part.setAttribute("role", "group");
    part.setAttribute("aria-label", part.nodeName === "PRE" ? "Code" : "Table");
  }
  return element;
}
