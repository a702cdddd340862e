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

export class ExecPage {
  constructor({ project, session, stream, view, connection }) {
    Object.assign(this, { project, session, stream, connection });
    this.path = paths.exec(project, session, stream);
    this.entries = [];
    this.element = h("div", { class: "page exec-page" }, h("p", { class: "muted", role: "status" }, "Loading…"));
    this.#load(view);
  }

  close() {
    this.isOver = true;
    this.follower?.close();
    this.player?.play(false);
    this.screen?.close();
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
    this.#follow(await this.#tail());
    let ticks = 0;
    this.clock = setInterval(() => this.#tick((ticks += 1)), CLOCK_MS);
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
    if (tty) this.screen = new TerminalScreen({ path: this.path, size: tty, isRunning: () => !this.exec.complete });
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
    let size = this.exec.complete?.stdout_bytes;
    try {
      if (!this.exec.complete && this.exec.status === "running") size = await this.panel.size();
    } catch {
      return undefined;
    }
    if (!(size > LOAD_MAX_BYTES)) return undefined;
    this.panel.tell(`Only the last ${TAIL_EVENTS} events of ${bytes(size)} are loaded.`, "Load from the beginning", () => this.#loadAll());
    return TAIL_EVENTS;
  }

  async #loadAll() {
    this.loadsAll = true;
    this.follower.close();
    this.entries = [];
    this.panel.hush();
    this.#reset();
    this.#follow(undefined);
  }

  #follow(tail) {
    if (this.isOver) return;
    const { project, session, stream } = this;
    this.follower = new Follower({
      project, session, stream, tail,
      onEvent: (name, data, number) => this.#take(name, data, number),
      onState: (state, reason) => this.#say(state, reason),
    }); // prettier-ignore
  }

  #say(state, reason) {
    const [text, kind] = described(state, reason);
    this.connection.replaceChildren(pill(text, kind));
    if (state === "failed") this.panel.note(reason);
  }

  #take(name, data, number) {
    if (name === "queued") return void ((this.exec.queue = data), this.#facts());
    if (name === "connected" || name === "caught_up") return;
    if (this.exec.status === "queued" && name !== "complete") this.#refresh();
    const entry = { name, data, number, at: data.at };
    this.entries.push(entry);
    if (this.entries.length > ENTRIES_MAX) this.entries.splice(0, ENTRIES_MAX / 10);
    if (name === "gap") this.timeline.gap(data);
    if (name === "complete") this.#completed(data);
    if (!this.player) this.#show(entry);
    this.screen?.changed();
  }

  async #refresh() {
    this.exec.status = "running";
    try {
      const exec = await get(this.path);
      const isTakenOver = exec.attempts > 1 && exec.attempts !== this.exec.attempts;
      if (!this.exec.complete && !exec.complete) this.exec = exec;
      if (isTakenOver) this.timeline.refresh();
    } catch {
      // It is only about what stands above the output.
    }
    this.#facts();
  }

  #show(entry) {
    this.panel.show(entry);
    if (this.turn?.take(entry.name, entry.data)) this.#drawTurn();
    if (entry.name === "complete") this.#foot(entry.data);
  }

  #drawTurn() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      this.turnView.draw();
    });
  }

  #newTurn() {
    this.turn = new Turn(this.stream, this.timeline.command?.data.prompt ?? this.exec.summary);
    this.turn.isLive = true;
    const { project } = this;
    this.turnView = new TurnView(this.turn, { project, session: null, onanswer: (...answer) => this.#answer(...answer) });
    this.conversation ??= h("div", { class: "conversation" });
    this.talkNote ??= h("div", { class: "player-bar" });
    const replay = h("button", { type: "button", class: "quiet", onclick: () => this.replay() }, "Replay as it happened");
    this.conversation.replaceChildren(this.turnView.element, this.player ? this.talkNote : replay);
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
    this.player = new Player({
      reset: () => this.#reset(),
      show: (entry) => this.#show(entry),
      onclose: () => this.#endReplay(),
    });
    if (this.turn) this.talkNote = h("div", { class: "player-bar term" }, h("div", { class: "foot" }, this.player.element));
    else this.panel.element.append((this.playerBar = h("div", { class: "foot" }, this.player.element)));
    this.player.load([...this.entries]);
    this.player.button.focus();
  }

  #endReplay() {
    this.player = null;
    this.playerBar?.remove();
    this.#reset();
    for (const entry of this.entries) this.#show(entry);
    if (!this.turn) this.panel.pane.element.focus();
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
    const { type, command, prompt, args, cwd, merge, tty, approvals, continue_conversation } = asked;
    const body = { type, command, prompt, args, cwd, continue_conversation, ...(tty ? { tty } : { merge }) };
    if (approvals) body.permissions = "ask";
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
      "/": ["Search the output", () => (this.show("output"), panel.input.focus())],
      n: ["Next match", () => panel.search.step(1)],
      N: ["Previous match", () => panel.search.step(-1)],
      f: ["Follow the end", () => panel.follows.click()],
      w: ["Wrap long lines", () => panel.wraps.click()],
      t: ["Show times", () => panel.times.click()],
      g: ["To the beginning", () => (panel.pane.follow(false), (scroll.scrollTop = 0))],
      G: ["To the end", () => panel.pane.follow(true)],
      p: ["Replay, or pause it", () => (this.player ? this.player.button.click() : this.replay())],
      c: ["Cancel the exec", () => this.askToCancel()],
      1: ["First view", () => this.tabs.children[0]?.click()],
      2: ["Second view", () => this.tabs.children[1]?.click()],
      3: ["Third view", () => this.tabs.children[2]?.click()],
    };
  }
}
