// A conversation: the turns that have ended, from the read model, and those that run, from their events.

import { h, pill, toast } from "../dom.js";
import { ago, cost, count, plural } from "../format.js";
import { get, links, paths, post } from "../api.js";
import { described, Follower } from "../follow.js";
import { Turn } from "../agent/turn.js";
import { TurnView } from "../agent/show.js";
import { isAgent } from "./exec-parts.js";
import { runForm } from "./run.js";

/** Turns that others begin are looked for as often. */
const LOOK_MS = 4_000;
const PAGE_MESSAGES = 200;
/** Messages that the page loads; of a longer conversation the latest ones are missing until asked for. */
const MESSAGES_MAX = 2_000;

export class ConversationPage {
  constructor({ project, conversation, connection }) {
    Object.assign(this, { project, id: conversation, connection });
    this.path = `${paths.project(project)}/conversations/${conversation}`;
    this.views = new Map();
    this.live = new Map();
    this.states = new Map();
    this.head = h("div", { class: "facts-line" });
    this.title = h("h1", {}, "Conversation");
    this.turns = h("div", { class: "conversation", "aria-live": "off" });
    this.foot = h("div", { class: "composer" });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#messages(MESSAGES_MAX).catch(toast) }, "Load more");
    this.element = h("div", { class: "page talk" }, h("header", { class: "page-head" }, h("div", { class: "head-main" }, this.title, this.head), h("div", { class: "actions" }, (this.leads = h("span", {})))), this.turns, this.more, this.foot);
    this.#load();
  }

  close() {
    this.isOver = true;
    clearTimeout(this.timer);
    for (const { follower } of this.live.values()) follower.close();
  }

  async #load() {
    try {
      this.session = await this.#sessionId();
      await this.#messages(MESSAGES_MAX);
    } catch (problem) {
      if (problem.status !== 404) return this.#failed(problem);
      if (!this.session) return this.#failed(problem);
    }
    if (this.isOver) return;
    if (this.session) {
      const { project, session } = this;
      this.form = runForm({ project, session, types: ["claude", "codex"], hasConversation: () => this.views.size > 0, onrun: (exec) => this.#follow(exec.id) });
      this.foot.replaceChildren(this.form);
      this.leads.replaceChildren(h("a", { class: "button", href: links.session(project, session) }, "Session"));
    }
    this.#empty();
    this.#look();
    this.#toEnd();
  }

  #failed(problem) {
    const again = h("button", { type: "button", onclick: () => this.#load() }, "Try again");
    this.turns.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "This conversation cannot be shown"), h("p", {}, problem.message), again));
  }

  /** Its session says which conversation it holds; before its first turn only that knows. */
  async #sessionId() {
    try {
      const conversation = await get(this.path);
      this.#facts(conversation);
      return conversation.session_id;
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      const { items } = await get(`${paths.project(this.project)}/sessions`, { limit: 200 });
      const session = items.find((session) => session.conversation_id === this.id);
      if (!session) throw problem;
      return session.id;
    }
  }

  #facts(conversation) {
    this.title.textContent = conversation.title;
    const { usage } = conversation;
    const parts = [h("span", {}, `last message ${ago(conversation.updated_at)}`)];
    if (usage?.runs) {
      parts.unshift(h("b", {}, cost(usage.cost_usd)), h("span", {}, plural(usage.runs, "run")), h("span", {}, `${count(usage.input_tokens)} tokens in, ${count(usage.output_tokens)} out`));
      if (usage.runs_not_known) parts.push(h("span", {}, `cost of ${plural(usage.runs_not_known, "run")} unknown`));
    }
    this.head.replaceChildren(...parts);
  }

  async #messages(most) {
    const messages = [...(this.messages ?? [])];
    let cursor = this.cursor ?? null;
    const until = messages.length + most;
    do {
      const page = await get(`${this.path}/messages`, { limit: PAGE_MESSAGES, cursor });
      messages.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && messages.length < until);
    Object.assign(this, { messages, cursor });
    this.more.hidden = !cursor;
    for (const turn of Turn.ofMessages(messages)) if (!this.live.has(turn.stream)) this.#show(turn);
    this.#ends();
  }

  /** What each turn came to, from the list of execs. */
  async #ends() {
    if (!this.session) return;
    const { items } = await get(`${paths.session(this.project, this.session)}/execs`, { limit: 200 }).catch(() => ({ items: [] }));
    for (const exec of items) {
      const view = this.views.get(exec.id);
      if (!view || !exec.complete || this.live.has(exec.id)) continue;
      Object.assign(view.turn, { complete: exec.complete, usage: exec.usage ?? view.turn.usage });
      view.draw();
    }
  }

  #show(turn) {
    const { project, session } = this;
    const view = new TurnView(turn, { project, session, onanswer: (...answer) => this.#answer(turn.stream, ...answer) });
    const before = this.views.get(turn.stream);
    if (before) before.element.replaceWith(view.element);
    else this.turns.insertBefore(view.element, turn.isLive ? null : this.#firstLive());
    this.views.set(turn.stream, view);
    this.turns.querySelector(".empty")?.remove();
    return view;
  }

  /** Turns that have ended stand before those that run. */
  #firstLive() {
    const [first] = this.live.values();
    return first?.view.element ?? null;
  }

  #empty() {
    if (this.views.size > 0 || this.live.size > 0) return;
    this.turns.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "Nothing was said yet"), h("p", {}, "Ask an agent for something below.")));
  }

  /** Looks for turns that run. */
  async #look() {
    clearTimeout(this.timer);
    if (this.isOver || !this.session) return;
    try {
      for (const status of ["running", "queued"]) {
        const { items } = await get(`${paths.session(this.project, this.session)}/execs`, { status });
        for (const exec of items.reverse()) if (isAgent(exec)) this.#follow(exec.id, exec.summary, status);
      }
    } catch {
      // Tried again soon; the connection's state says what is wrong.
    }
    if (!this.isOver) this.timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  async #follow(stream, summary = "", status = "") {
    if (status === "running") this.#started(stream);
    if (this.live.has(stream) || this.isOver || this.views.get(stream)?.turn.complete) return;
    const turn = new Turn(stream, summary);
    turn.isLive = true;
    const view = this.#show(turn);
    const { project, session } = this;
    const follower = new Follower({
      project, session, stream,
      onEvent: (name, data) => this.#take(turn, view, name, data),
      onState: (...state) => this.#say(stream, ...state),
    }); // prettier-ignore
    this.live.set(stream, { view, follower });
    this.#toEnd();
    const { items } = await get(`${paths.exec(project, session, stream)}/timeline`).catch(() => ({ items: [] }));
    turn.prompt = items.find((fact) => fact.event === "command")?.data.prompt ?? turn.prompt;
    view.draw();
  }

  /** Nothing is written when a turn begins, until its agent says something. */
  #started(stream) {
    const view = this.live.get(stream)?.view;
    if (!view?.turn.queue) return;
    view.turn.queue = null;
    view.draw();
  }

  /** One pill for all that are followed: what is not well comes first. */
  #say(stream, ...state) {
    this.states.delete(stream);
    if (state[0] !== "ended") this.states.set(stream, state);
    const all = [...this.states.values()];
    const shown = all.find(([name]) => name !== "live") ?? all[0] ?? state;
    this.connection.replaceChildren(pill(...described(...shown)));
  }

  #take(turn, view, name, data) {
    const isAtEnd = innerHeight + scrollY > document.body.scrollHeight - 120;
    if (turn.take(name, data)) view.changed(() => isAtEnd && this.#toEnd());
    if (name !== "complete") return;
    this.live.delete(turn.stream);
    this.#refreshFacts();
  }

  async #refreshFacts() {
    this.form?.refresh();
    await get(this.path).then((conversation) => this.#facts(conversation), () => {}); // prettier-ignore
    this.#ends();
  }

  #toEnd() {
    requestAnimationFrame(() => scrollTo(0, document.body.scrollHeight));
  }

  async #answer(stream, approval, decision, message) {
    const body = decision === "deny" && message ? { decision, message } : { decision };
    try {
      await post(`${paths.exec(this.project, this.session, stream)}/approvals/${encodeURIComponent(approval.approval_id)}`, body);
      return true;
    } catch (problem) {
      toast(problem);
      return false;
    }
  }

  shortcuts() {
    return { r: ["Write a prompt", () => this.form?.focusText()] };
  }
}
