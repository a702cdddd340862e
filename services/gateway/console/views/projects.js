// The projects that the key is good for.

import { h } from "../dom.js";
import { links } from "../api.js";
import { List } from "./list.js";

const NAME = "[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?";

export class ProjectsPage {
  constructor() {
    this.list = new List({
      path: "/projects",
      label: "Projects",
      row: (project) =>
        h("li", {}, h("a", { class: "row", href: links.project(project.id) },
          h("span", { class: "row-title" }, project.id),
          h("span", { class: "row-facts" }, project.scopes.map((scope) => h("span", { class: "tag" }, scope))))),
      empty: h("div", { class: "empty" }, h("h2", {}, "No project has a session yet"),
        h("p", {}, "A project begins with its first session: open one by its name, and create a session in it.")),
    }); // prettier-ignore
    const name = h("input", { type: "text", id: "project-name", placeholder: "demo", pattern: NAME, required: true, title: "Small letters, digits and dashes" });
    const open = (event) => {
      event.preventDefault();
      location.hash = links.project(name.value);
    };
    this.element = h(
      "div",
      { class: "page" },
      h("header", { class: "page-head" }, h("h1", {}, "Projects"),
        h("form", { class: "inline-form", onsubmit: open }, h("label", { for: "project-name", class: "visually-hidden" }, "Project"), name, h("button", { type: "submit" }, "Open"))),
      this.list.element,
    ); // prettier-ignore
  }

  close() {
    this.list.close();
  }
}
