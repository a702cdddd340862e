// A session: its pod, what runs and ran in it, what its agents ask, and a place to run something.

import { confirm, h, toast } from "../dom.js";
import { ago, moment } from "../format.js";
import { call, get, links, paths, post } from "../api.js";
import { NEEDS_EXEC } from "../keyboard.js";
import { approvalCard } from "../agent/show.js";
import { execFilters, execRow } from "./exec-parts.js";
import { List } from "./list.js";
import { labels, sessionPill } from "./project.js";
import { runForm } from "./run.js";

const REFRESH_MS = 3_000;

export class SessionPage {
  constructor({ project, session }) {
    Object.assign(this, { project, id: session, path: paths.session(project, session) });
    this.element = h("div", { class: "page" }, h("p", { class: "muted", role: "status" }, "Loading…"));
    this.#load();
  }

  close() {
    this.isOver = true;
    this.list?.close();
    clearTimeout(this.timer);
  }

  async #load() {
    try {
      this.session = await get(this.path);
    } catch (problem) {
      const text = problem.status === 404 ? "There is no such session here: it may be of another project, or the address is wrong." : problem.message;
      const again = h("button", { type: "button", onclick: () => this.#load() }, "Try again");
      if (!this.isOver) this.element.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "This session cannot be shown"), h("p", {}, text), again));
      return;
    }
    if (this.isOver) return;
    this.#build();
    this.#refresh();
  }

  #build() {
    const { project, id } = this;
    this.facts = h("div", { class: "facts-line" });
    this.approvals = h("div", { class: "stack", role: "region", "aria-label": "Questions of agents" });
    this.end = h("button", { type: "button", class: "danger needs-exec", onclick: () => this.#end() }, "End session");
    this.form = runForm({ project, session: id, hasConversation: () => Boolean(this.session.claude_session_id || this.session.codex_session_id) });
    this.list = new List({
      path: `${this.path}/execs`, label: "Execs",
      row: (exec) => execRow(project, exec),
      empty: h("div", { class: "empty" }, h("h2", {}, "Nothing ran here yet"), h("p", {}, "Write a command above, or ask an agent for something.")),
    }); // prettier-ignore
    this.element.replaceChildren(
      h("header", { class: "page-head" },
        h("div", { class: "head-main" }, h("h1", {}, this.session.pod || this.session.template || "Session"), this.facts),
        h("div", { class: "actions" }, h("a", { class: "button", href: links.conversation(project, this.session.conversation_id) }, "Conversation"), this.end)),
      this.approvals,
      this.form,
      h("div", { class: "filters" }, h("h2", {}, "Execs"), execFilters(({ status, outcome }) => this.list.ask({ status, outcome }))),
      this.list.element,
    ); // prettier-ignore
    this.#facts();
  }

  #facts() {
    const { session } = this;
    const ends = session.idle_ends_at ?? session.expires_at;
    this.end.hidden = this.form.hidden = session.status === "ended";
    this.facts.replaceChildren(
      ...[
        sessionPill(session),
        h("span", { class: "mono" }, session.id),
        [session.namespace, session.container].some(Boolean) ? h("span", { class: "mono" }, [session.namespace, session.container].filter(Boolean).join("/")) : null,
        ...labels(session),
        h("time", { datetime: session.created_at, title: moment(session.created_at) }, `created ${ago(session.created_at)}`),
        ends && session.status !== "ended" ? h("span", {}, `ends ${ago(ends)}`) : null,
        session.pod_message ? h("span", { class: "reason" }, session.pod_message) : null,
      ].filter(Boolean),
    );
  }

  async #refresh() {
    clearTimeout(this.timer);
    try {
      this.session = await get(this.path);
      this.form.refresh();
      this.#facts();
      const { items } = await get(`${this.path}/approvals`, { status: "pending" });
      if (this.isOver) return;
      this.#questions(items);
    } catch {
      // The list of execs says what is wrong.
    }
    if (!this.isOver) this.timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  #questions(items) {
    const ids = items.map((item) => item.approval_id).join();
    if (this.asked === ids) return;
    this.asked = ids;
    const cards = items.map((item) => approvalCard(item, null, (...answer) => this.#answer(...answer)));
    this.approvals.replaceChildren(...cards);
  }

  async #answer(approval, decision, message) {
    const body = decision === "deny" && message ? { decision, message } : { decision };
    const path = paths.exec(this.project, this.id, approval.stream_id);
    try {
      await post(`${path}/approvals/${encodeURIComponent(approval.approval_id)}`, body);
      this.#refresh();
      return true;
    } catch (problem) {
      toast(problem);
      return false;
    }
  }

  async #end() {
    const isSure = await confirm("End this session?", "Nothing more can be run in it, and what runs is canceled. What it printed is kept.", "End it");
    if (!isSure) return;
    try {
      await call("DELETE", this.path, { query: { cancel: "true" } });
      this.#refresh();
    } catch (problem) {
      toast(problem);
    }
  }

  shortcuts() {
    return { r: ["Run something", () => this.form?.focusText(), NEEDS_EXEC] };
  }
}
