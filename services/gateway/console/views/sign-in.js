// Asks for an API key, where the gateway wants one.

import { h } from "../dom.js";
import { get, key } from "../api.js";

export class SignInPage {
  /** `onsigned(projects)` when the gateway has taken the key. */
  constructor({ reason, onsigned }) {
    const field = h("input", { type: "password", id: "key", name: "key", autocomplete: "off", spellcheck: "false", required: true, placeholder: "rdev_…", "aria-describedby": "key-help" });
    const problem = h("p", { class: "notice bad", role: "alert", hidden: !reason }, reason ?? "");
    const button = h("button", { type: "submit", class: "primary" }, "Sign in");
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      key.set(field.value.trim());
      try {
        onsigned(await get("/projects", { limit: 1 }));
      } catch (error) {
        // The read model may be away: that says nothing of the key, and the pages say it themselves.
        if (error.status >= 500) return onsigned({});
        if (error.status === 401) key.forget();
        problem.textContent = error.message;
        problem.hidden = false;
        button.disabled = false;
        field.focus();
      }
    };
    this.element = h(
      "div",
      { class: "page sign-in" },
      h(
        "form",
        { class: "card", onsubmit: submit },
        h("h1", {}, "Sign in"),
        h("div", { class: "field" }, h("label", { for: "key" }, "API key"), field,
          h("p", { id: "key-help", class: "muted small" }, "Made with ", h("code", {}, "rdev keys create"),
            ". It stays in this tab until you close it or sign out.")),
        problem,
        button,
      ),
    ); // prettier-ignore
    queueMicrotask(() => field.focus());
  }

  close() {}
}
