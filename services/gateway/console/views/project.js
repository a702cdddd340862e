// A project: its sessions, its execs, its conversations, and what agents cost.

import { dialog, h, icon, pill, toast } from "../dom.js";
import { ago, cost, count, moment, plural, shortId } from "../format.js";
import { get, links, paths, post } from "../api.js";
import { execFilters, execRow } from "./exec-parts.js";
import { List } from "./list.js";
import { NEEDS_EXEC } from "../keyboard.js";

const VIEWS = [["", "Sessions"], ["execs", "Execs"], ["conversations", "Conversations"]]; // prettier-ignore

export class ProjectPage {
  constructor({ project, view }) {
    this.project = project;
    this.body = h("div", { class: "stack" });
    this.usage = h("p", { class: "muted small" });
    this.tabs = h("nav", { class: "tabs", "aria-label": "Views" }, VIEWS.map(([name, title]) => h("a", { href: links.project(project, name), "data-view": name }, title)));
    this.element = h(
      "div",
      { class: "page" },
      h("header", { class: "page-head" }, h("div", { class: "head-main" }, h("h1", {}, project), this.usage),
        h("button", { type: "button", class: "primary needs-exec", onclick: () => this.create() }, icon("plus"), "New session")),
      this.tabs,
      this.body,
    ); // prettier-ignore
    this.show(view);
    this.#cost();
  }

  close() {
    this.list?.close();
  }

  show(view) {
    this.view = VIEWS.some(([name]) => name === view) ? view : "";
    for (const tab of this.tabs.children) {
      if (tab.dataset.view === this.view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    this.list?.close();
    const { list, filter } = this.#list();
    this.list = list;
    this.body.replaceChildren(...(filter ? [h("div", { class: "filters" }, filter)] : []), list.element);
  }

  #list() {
    const { project } = this;
    const base = paths.project(project);
    if (this.view === "execs") {
      const list = new List({
        path: `${base}/execs`, label: "Execs",
        row: (exec) => execRow(project, exec, { withSession: true }),
        empty: empty("No execs", "Open a session and run a command in it."),
      }); // prettier-ignore
      return { list, filter: execFilters(({ status, outcome }) => list.ask({ status, outcome })) };
    }
    if (this.view === "conversations") {
      const list = new List({
        path: `${base}/conversations`, label: "Conversations",
        row: (conversation) => conversationRow(project, conversation),
        empty: empty("No conversations", "A conversation begins when an agent is asked something in a session."),
      }); // prettier-ignore
      return { list };
    }
    const list = new List({
      path: `${base}/sessions`, label: "Sessions",
      row: (session) => sessionRow(project, session),
      empty: empty("No sessions", "A session is a pod, and the conversation held in it. Create one to run commands."),
    }); // prettier-ignore
    const filter = h("select", { "aria-label": "Show sessions", onchange: () => list.ask({ status: filter.value }) },
      [["", "All sessions"], ["active", "Active"], ["ended", "Ended"]].map(([value, text]) => h("option", { value }, text))); // prettier-ignore
    return { list, filter };
  }

  async #cost() {
    try {
      const usage = await get(`${paths.project(this.project)}/usage`);
      if (usage.runs === 0) return;
      const tokens = usage.input_tokens + usage.output_tokens;
      this.usage.textContent = [
        plural(usage.runs, "agent run"),
        usage.runs_not_known < usage.runs ? cost(usage.cost_usd) : null,
        tokens > 0 ? `${count(tokens)} tokens` : null,
        usage.runs_not_known > 0 ? `${plural(usage.runs_not_known, "run")} of unknown cost` : null,
      ].filter(Boolean).join(", "); // prettier-ignore
    } catch {
      // It is only a line: the lists say what is wrong.
    }
  }

  async create() {
    const session = await createSession(this.project);
    if (session) location.hash = links.session(this.project, session.id);
  }

  shortcuts() {
    return { s: ["New session", () => this.create(), NEEDS_EXEC] };
  }
}

function empty(title, text) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text));
}

export function sessionPill(session) {
  if (session.status === "ended") return pill(session.ended_reason && session.ended_reason !== "deleted" ? `ended: ${session.ended_reason}` : "ended", "");
  if (session.pod_state && session.pod_state !== "ready") return pill(session.pod_state.replaceAll("_", " "), session.pod_state === "failed" ? "bad" : "busy");
  return pill("active", "good");
}

/** The labels of a session's pod, and what it is made from. */
export function labels(session) {
  const tags = Object.entries(session.selector ?? {}).map(([name, value]) => h("span", { class: "tag" }, `${name}=${value}`));
  if (session.template) tags.unshift(h("span", { class: "tag" }, `template ${session.template}`));
  return tags;
}

function sessionRow(project, session) {
  return h("li", {}, h("a", { class: "row", href: links.session(project, session.id) },
    h("span", { class: "row-title" }, session.pod || session.template || "no pod yet"),
    h("span", { class: "mono muted" }, shortId(session.id)),
    h("span", { class: "row-facts" }, labels(session),
      h("time", { class: "fixed", datetime: session.created_at, title: moment(session.created_at) }, ago(session.created_at)),
      h("span", { class: "state" }, sessionPill(session))))); // prettier-ignore
}

function conversationRow(project, conversation) {
  return h("li", {}, h("a", { class: "row", href: links.conversation(project, conversation.id) },
    h("span", { class: "row-title" }, conversation.title),
    h("span", { class: "row-facts" },
      conversation.claude_session_id ? h("span", { class: "tag" }, "claude") : null,
      conversation.codex_session_id ? h("span", { class: "tag" }, "codex") : null,
      h("time", { class: "fixed", datetime: conversation.updated_at, title: moment(conversation.updated_at) }, ago(conversation.updated_at))))); // prettier-ignore
}

/** Asks what the session is to be of, and makes it. */
function createSession(project) {
  return dialog("New session", (close) => {
    const kinds = { pod: ["Pod", "workspace"], selector: ["Labels of the pod", "app=workspace,team=web"], template: ["Template", "scratch"] };
    const kind = h("select", { id: "session-kind", onchange: () => choose() }, [["pod", "A pod, by its name"], ["selector", "A pod, by its labels"], ["template", "A new pod, from a template"]].map(([value, text]) => h("option", { value }, text)));
    const label = h("label", { for: "session-of" });
    const of = h("input", { type: "text", id: "session-of", required: true, spellcheck: "false" });
    const namespace = h("input", { type: "text", id: "session-namespace", spellcheck: "false", placeholder: "the executor's own" });
    const container = h("input", { type: "text", id: "session-container", spellcheck: "false", placeholder: "the pod's first" });
    const idle = h("input", { type: "number", id: "session-idle", min: "1", placeholder: "never" });
    const choose = () => ([label.textContent, of.placeholder] = kinds[kind.value]);
    choose();
    const submit = async (event) => {
      event.preventDefault();
      const value = kind.value === "selector" ? Object.fromEntries(of.value.split(",").map((pair) => pair.trim().split("="))) : of.value;
      const body = { [kind.value]: value, namespace: namespace.value || undefined, container: container.value || undefined };
      if (idle.value) body.idle_timeout_seconds = Number(idle.value) * 60;
      try {
        close(await post(`${paths.project(project)}/sessions`, body));
      } catch (problem) {
        toast(problem);
      }
    };
    const field = (label, input, hint) => h("div", { class: "field" }, typeof label === "string" ? h("label", { for: input.id }, label) : label, input, hint);
    return h("form", { onsubmit: submit },
      field("What it runs in", kind), field(label, of),
      h("details", {}, h("summary", {}, "More"), h("div", { class: "stack" },
        field("Namespace", namespace), field("Container", container), field("Ends after so many idle minutes", idle))),
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => close() }, "Not now"), h("button", { type: "submit", class: "primary" }, "Create"))); // prettier-ignore
  });
}
