// One exec: what it prints or says, as it happens or as it happened, and what became of it.

import { announce, confirm, h, pill, toast } from "../dom.js";
import { ago, bytes, duration, moment } from "../format.js";
import { get, links, paths, post } from "../api.js";
import { described, Follower } from "../follow.js";
import { OutputPanel } from "../output/panel.js";
import { Player } from "../output/player.js";
import { TerminalScreen } from "../output/screen.js";
import { Turn } from "../agent/turn.js";
import { TurnView } from "../agent/show.js";
import { NEEDS_EXEC } from "../keyboard.js";
import { Timeline } from "./timeline.js";
import { isAgent, outcome, runTime, statusPill, waiting } from "./exec-parts.js";

/** Of an exec that printed more than this only the end is loaded at first. */
const LOAD_MAX_BYTES = 16_000_000;
const TAIL_EVENTS = 1_000;
const CLOCK_MS = 1_000;
/** How often it is looked whether another executor has taken over. */
const LOOK_TICKS = 10;
/** Events that the page keeps for a replay. */
const ENTRIES_MAX = 250_000;
/** The same, of characters: events may be long. */
const ENTRIES_MAX_CHARS = 64_000_000;

export class ExecPage {
  constructor({ project, session, stream, view, connection }) {
    Object.assign(this, { project, session, stream, connection });
    this.path = paths.exec(project, session, stream);
    this.entries = [];
    this.chars = 0;
    this.element = h("div", { class: "page exec-page" }, h("p", { class: "muted", role: "status" }, "Loading…"));
    this.#load(view);
  }

  close() {
    this.isOver = true;
    this.follower?.close();
    this.player?.play(false);
    this.screen?.close();
    this.panel?.search.find("");
    clearInterval(this.clock);
  }

  async #load(view) {
    try {
      this.exec = await get(this.path);
    } catch (problem) {
      if (!this.isOver) this.#failed(problem, view);
      return;
    }
    if (this.isOver) return;
    this.timeline = new Timeline(this);
    await this.timeline.refresh();
    if (this.isOver) return;
    this.#build();
    this.show(view);
    let ticks = 0;
    this.clock = setInterval(() => this.#tick((ticks += 1)), CLOCK_MS);
    this.#follow(await this.#tail());
  }

  #failed(problem, view) {
    const again = h("button", { type: "button", onclick: () => this.#load(view) }, "Try again");
    const text = problem.status === 404 ? "There is no such exec here: it may be of another project, or the address is wrong." : problem.message;
    this.element.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "This exec cannot be shown"), h("p", {}, text), again));
  }

  #build() {
    const { exec } = this;
    const isTurn = isAgent(exec);
    this.facts = h("div", { class: "facts-line" });
    this.cancel = h("button", { type: "button", class: "danger", onclick: () => this.askToCancel() }, "Cancel");
    this.panel = new OutputPanel({ path: this.path, onreplay: () => this.replay() });
    const { tty } = this.timeline.command?.data ?? {};
    if (tty) this.screen = new TerminalScreen({ path: this.path, isRunning: () => !this.exec.complete });
    if (isTurn) this.#newTurn();
    this.views = {
      ...(isTurn ? { conversation: ["Conversation", this.conversation] } : {}),
      ...(tty ? { screen: ["Terminal", this.screen.element] } : {}),
      output: ["Output", this.panel.element],
      timeline: ["Timeline", this.timeline.element],
    };
    this.tabs = h("nav", { class: "tabs", "aria-label": "Views" }, Object.entries(this.views).map(([name, [title]]) =>
      h("a", { href: links.exec(this.project, this.session, this.stream, name), "data-view": name }, title))); // prettier-ignore
    this.body = h("div", { class: "exec-body" });
    const asked = this.timeline.command?.data;
    const title = asked?.command ?? asked?.prompt ?? exec.summary ?? exec.id;
    this.element.replaceChildren(
      h("header", { class: "page-head" },
        h("div", { class: "head-main" },
          h("h1", { class: isTurn ? "clamp" : "mono clamp", title }, exec.type === "git" ? exec.summary : title),
          this.facts),
        h("div", { class: "actions needs-exec" }, h("button", { type: "button", onclick: () => this.#again() }, "Run again"), this.cancel)),
      this.tabs,
      this.body,
    ); // prettier-ignore
    this.#facts();
  }

  /** Shows one of the views. */
  show(view) {
    if (!this.views) return;
    this.view = this.views[view] ? view : Object.keys(this.views)[0];
    for (const tab of this.tabs.children) {
      if (tab.dataset.view === this.view) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    this.body.replaceChildren(this.views[this.view][1]);
    if (this.view === "timeline") this.timeline.refresh();
    if (this.view === "output" && this.panel.pane.isFollowing) this.panel.pane.toEnd();
  }

  /** Shows a view under its own address. */
  #open(view) {
    if (this.view === view) return;
    history.replaceState(null, "", links.exec(this.project, this.session, this.stream, view));
    this.show(view);
  }

  #tick(ticks) {
    if (this.exec.complete) return clearInterval(this.clock);
    this.#facts();
    if (ticks % LOOK_TICKS === 0 && this.exec.status === "running" && !document.hidden) this.#refresh();
  }

  #facts() {
    const { exec } = this;
    this.cancel.hidden = Boolean(exec.complete);
    const { complete } = exec;
    this.facts.replaceChildren(
      ...[
        h("span", { class: "tag" }, exec.type),
        statusPill(exec),
        h("span", {}, runTime(exec)),
        h("time", { datetime: exec.created_at, title: moment(exec.created_at) }, ago(exec.created_at)),
        exec.attempts > 1 ? h("span", {}, `${exec.attempts} attempts`) : null,
        complete?.stdout_bytes ? h("span", {}, `${bytes(complete.stdout_bytes + (complete.stderr_bytes ?? 0))} printed`) : null,
        complete?.reason ? h("span", { class: "reason" }, complete.reason) : null,
        !complete && exec.queue ? h("span", {}, waiting(exec.queue)) : null,
      ].filter(Boolean),
    );
  }

  /** How many of the last events to begin with, where all would be too many. */
  async #tail() {
    if (isAgent(this.exec) || this.loadsAll) return undefined;
    const { complete, status } = this.exec;
    let size = (complete?.stdout_bytes ?? 0) + (complete?.stderr_bytes ?? 0);
    if (!complete && status === "running") size = await this.panel.size();
    if (!(size > LOAD_MAX_BYTES)) return undefined;
    this.panel.tell(`Only the last ${TAIL_EVENTS} events of ${bytes(size)} are loaded.`, "Load from the beginning", () => this.#loadAll());
    return TAIL_EVENTS;
  }

  async #loadAll() {
    this.loadsAll = true;
    this.follower.close();
    this.entries = [];
    this.chars = 0;
    this.panel.hush();
    this.#reset();
    this.#follow(undefined);
  }

  #follow(tail) {
    if (this.isOver) return;
    const { project, session, stream } = this;
    this.follower = new Follower({
      project, session, stream, tail,
      onEvent: (...event) => this.#take(...event),
      onState: (state, reason) => this.#say(state, reason),
    }); // prettier-ignore
  }

  #say(state, reason) {
    const [text, kind] = described(state, reason);
    this.connection.replaceChildren(pill(text, kind));
    if (state === "failed") this.panel.note(reason);
  }

  #take(name, data, number, chars) {
    if (name === "queued") return this.#queued(data);
    if (name === "connected" || name === "caught_up") return;
    if (this.exec.status === "queued" && name !== "complete") this.#refresh();
    const entry = { name, data, number, chars, at: data.at };
    this.#keep(entry);
    if (name === "gap") this.timeline.gap(data);
    if (name === "complete") this.#completed(data);
    if (!this.player) this.#show(entry);
    this.screen?.changed();
  }

  #queued(queue) {
    this.exec.queue = queue;
    this.#facts();
    if (this.turn?.take("queued", queue)) this.turnView.changed();
  }

  /** For a replay; of too many the first ones are left out. */
  #keep(entry) {
    this.entries.push(entry);
    this.chars += entry.chars;
    if (this.entries.length <= ENTRIES_MAX && this.chars <= ENTRIES_MAX_CHARS) return;
    const gone = this.entries.splice(0, Math.ceil(this.entries.length / 10));
    this.chars -= gone.reduce((sum, { chars }) => sum + chars, 0);
  }

  async #refresh() {
    this.exec.status = "running";
    try {
      const exec = await get(this.path);
      const isTakenOver = exec.attempts > 1 && exec.attempts !== this.exec.attempts;
      if (!this.exec.complete) this.exec = exec;
      if (isTakenOver) this.timeline.refresh();
    } catch {
      // It is only about what stands above the output.
    }
    this.#facts();
  }

  #show(entry) {
    this.panel.show(entry);
    if (this.turn?.take(entry.name, entry.data)) this.turnView.changed();
    if (entry.name === "complete") this.#foot(entry.data);
  }

  #newTurn() {
    this.turn = new Turn(this.stream, this.timeline.command?.data.prompt ?? this.exec.summary);
    this.turn.isLive = true;
    const { project } = this;
    const before = this.turnView?.element;
    this.turnView = new TurnView(this.turn, { project, session: null, onanswer: this.player ? null : (...answer) => this.#answer(...answer) });
    if (before) return before.replaceWith(this.turnView.element);
    const replay = h("button", { type: "button", class: "quiet", onclick: () => this.replay() }, "Replay as it happened");
    this.talkEnd = h("div", { class: "player-bar" }, replay);
    this.conversation = h("div", { class: "conversation" }, this.turnView.element, this.talkEnd);
  }

  #completed(data) {
    const { at, ...complete } = data;
    Object.assign(this.exec, { status: "complete", complete, queue: null });
    this.#facts();
    this.timeline.refresh();
    const [text] = outcome(complete);
    if (this.exec.type) announce(`Complete: ${text}`);
    this.screen?.ended();
  }

  #foot(data) {
    const [text, kind] = outcome(data);
    this.panel.end(
      pill(text, kind),
      h("span", {}, `ran for ${duration(data.duration_ms)}`),
      data.stdout_bytes === null ? null : h("span", {}, `stdout ${bytes(data.stdout_bytes)}, stderr ${bytes(data.stderr_bytes)}`),
      data.reason ? h("span", {}, data.reason) : h("span", {}),
    );
  }

  #reset() {
    this.panel.clear();
    this.panel.foot.hidden = true;
    if (this.turn) this.#newTurn();
  }

  /** Plays what is there again. Live events are kept meanwhile, and shown when it ends. */
  replay() {
    if (this.player || this.entries.length === 0) return;
    // The controls are in one of the views.
    this.#open(this.turn ? "conversation" : "output");
    this.player = new Player({
      reset: () => this.#reset(),
      show: (entry) => this.#show(entry),
      onclose: () => this.#endReplay(),
    });
    const foot = h("div", { class: "foot" }, this.player.element);
    this.playerBar = this.turn ? h("div", { class: "term" }, foot) : foot;
    if (this.turn) {
      this.talkEnd.firstChild.hidden = true;
      this.talkEnd.append(this.playerBar);
    } else this.panel.element.append(this.playerBar);
    this.player.load([...this.entries]);
    this.player.button.focus();
  }

  #endReplay() {
    this.player = null;
    this.playerBar.remove();
    if (this.turn) this.talkEnd.firstChild.hidden = false;
    this.#reset();
    for (const entry of this.entries) this.#show(entry);
    if (this.turn) this.talkEnd.firstChild.focus();
    else this.panel.pane.element.focus();
  }

  async #answer(approval, decision, message) {
    const body = decision === "deny" && message ? { decision, message } : { decision };
    try {
      await post(`${this.path}/approvals/${encodeURIComponent(approval.approval_id)}`, body);
      return true;
    } catch (problem) {
      toast(problem);
      return false;
    }
  }

  async askToCancel() {
    if (!this.exec || this.exec.complete) return;
    const isSure = await confirm("Cancel this exec?", "All its processes are asked to end, and ended after 5 seconds. What it printed is kept.", "Cancel it");
    if (!isSure) return;
    try {
      await post(`${this.path}/cancel`);
      this.timeline.refresh();
    } catch (problem) {
      toast(problem);
    }
  }

  async #again() {
    const asked = this.timeline.command?.data;
    if (!asked) return toast(new Error("What was asked for is not in the log any more."));
    const names = Object.keys(asked.env ?? {});
    const missing = [
      asked.stdin === undefined ? null : "standard input",
      names.length > 0 ? `${names.join(", ")} in its environment` : null,
    ].filter(Boolean);
    if (missing.length > 0) {
      const text = `It was given ${missing.join(", and ")}. Nobody is told what that was: it would run without.`;
      if (!(await confirm("Run it again?", text, "Run without"))) return;
    }
    const body = requestOf(asked);
    try {
      const exec = await post(`${paths.session(this.project, this.session)}/exec`, body);
      location.hash = links.exec(this.project, this.session, exec.id);
    } catch (problem) {
      toast(problem);
    }
  }

  shortcuts() {
    const { panel } = this;
    if (!panel) return {};
    const scroll = panel.pane.element;
    return {
      "/": ["Search the output", () => (this.#open("output"), panel.input.focus())],
      n: ["Next match", () => panel.search.step(1)],
      N: ["Previous match", () => panel.search.step(-1)],
      f: ["Follow the end", () => panel.follows.click()],
      w: ["Wrap long lines", () => panel.wraps.click()],
      t: ["Show times", () => panel.times.click()],
      g: ["To the beginning", () => (panel.pane.follow(false), (scroll.scrollTop = 0))],
      G: ["To the end", () => panel.pane.follow(true)],
      p: ["Replay, or pause it", () => (this.player ? this.player.button.click() : this.replay())],
      c: ["Cancel the exec", () => this.askToCancel(), NEEDS_EXEC],
      1: ["First view", () => this.tabs.children[0]?.click()],
      2: ["Second view", () => this.tabs.children[1]?.click()],
      3: ["Third view", () => this.tabs.children[2]?.click()],
    };
  }
}

/** What asks for the same again, but for what is private: standard input and the values of the environment. */
function requestOf(asked) {
  const { type, prompt, command, args, continue_conversation, conversation_id, secret_env, cwd, tty, merge, stdin_open, approvals } = asked;
  const { timeout_seconds, idle_timeout_seconds, queue_timeout_seconds } = asked;
  return {
    type, prompt, command, args, continue_conversation, conversation_id, secret_env, cwd,
    timeout_seconds, idle_timeout_seconds, queue_timeout_seconds,
    ...(tty ? { tty } : { merge, stdin_open }),
    ...(approvals ? { permissions: "ask", approval_timeout_seconds: approvals.timeout_seconds, approval_on_timeout: approvals.on_timeout } : {}),
  }; // prettier-ignore
}
