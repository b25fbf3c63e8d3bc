// The page. Whatever comes from the file becomes text nodes: nothing here makes markup of a string.

const $ = (id) => document.getElementById(id);
const FILTERS = ["name", "phase", "status", "tag", "key", "worker", "id", "parent", "upstream_of", "downstream_of", "hidden"];
let session = null, offset = 0, shownAt = "", asking = null, dirty = false;
let picked = new Set();
const FEW = 12; // rows of a part of the overview, unless all are asked for

// -- making elements -------------------------------------------------------------------------------------------------

/** An element: attributes by name, then children, which are elements or texts. */
function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

/** A text on one line, with whatever is not seen, or turns the direction of what follows, as its escape. */
const plain = (text) => String(text ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escaped);
/** The same of a text with lines of its own. */
const block = (text) => String(text ?? "").replace(/(?![\n\t])[\p{C}\p{Zl}\p{Zp}]/gu, escaped);
const escaped = (c) => c === "\n" ? "⏎" : "\\u{" + c.codePointAt(0).toString(16) + "}";
const bdi = (text, attributes) => h("bdi", attributes, plain(text));
/** A button: `act` is one of ACTS, `of` what it is given; `name` says more than its label. */
const button = (act, of, label, name, kind = "tiny") => h("button", { type: "button", "data-act": act,
  "data-of": JSON.stringify(of ?? null), class: kind, "aria-label": name }, label);
const tool = (act, of, label, kind = "") => button(act, of, label, null, kind);
const link = (address, ...children) => h("a", { href: address }, ...children);
const to = (place, query) => {
  const said = new URLSearchParams();
  for (const [name, values] of Object.entries(query ?? {}))
    for (const value of [values].flat()) if (value != null && value !== "") said.append(name, value);
  return place + (said.size ? "?" + said : "");
};
const taskLink = (id, ...children) => link("/task/" + id, ...(children.length ? children : ["#" + id]));

// -- words and numbers -----------------------------------------------------------------------------------------------

const n = (number) => Number(number).toLocaleString("en");
const tasksOf = (number) => n(number) + (number === 1 ? " task" : " tasks");
const now = () => Date.now() / 1000 + offset;
function duration(s) {
  if (!(s >= 0.0005)) return "0 s";
  if (s < 1) return Math.round(s * 1000) + " ms";
  if (s < 10) return String(Math.round(s * 10) / 10) + " s";
  for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]])
    if (s < limit) return Math.round(s / unit) + " " + name;
  return n(Math.round(s / 86400)) + " days";
}
const moment = (at) => { const d = new Date(at * 1000); return isNaN(d) ? String(at) : d.toLocaleString("sv"); };
/** How long ago, or how soon; kept up to date by the ticker. */
function ago(at, attributes) {
  if (at == null) return null;
  const d = new Date(at * 1000);
  return h("time", { datetime: isNaN(d) ? null : d.toISOString(), title: moment(at), "data-at": at, ...attributes }, agoText(at));
}
const agoText = (at) => at <= now() ? duration(now() - at) + " ago" : "in " + duration(at - now());
const lasted = (from, until) => from == null ? null
  : until == null ? h("time", { "data-since": from, title: moment(from) }, duration(now() - from)) : duration(until - from);
const took = (task) => task.phase === "running" ? lasted(task.started_at) : task.finished_at == null ? null
  : lasted(task.started_at, task.finished_at);
setInterval(() => {
  for (const node of document.querySelectorAll("[data-at]")) node.textContent = agoText(+node.dataset.at);
  for (const node of document.querySelectorAll("[data-since]")) node.textContent = duration(now() - node.dataset.since);
}, 1000);

// -- statuses --------------------------------------------------------------------------------------------------------

let unknown = false;
function phaseOf(status) {
  if (status === "lapsed") return "failed"; // an attempt's outcome
  if (!(status in session.phases) && status !== "open") unknown = true; // a label that is newer than this page
  return session.phases[status] ?? "open";
}
const isEnd = (status) => session.ended.includes(phaseOf(status));
function chip(status, address, count) {
  const inner = [h("i", { "aria-hidden": "true" }, session.signs[phaseOf(status)] ?? "·"),
    count == null ? null : h("b", {}, n(count)), bdi(status)];
  return h(address ? "a" : "span", { class: "chip " + phaseOf(status), href: address }, inner);
}
function order(counts) {
  const places = [...Object.keys(session.signs), "open"], place = (status) => places.indexOf(phaseOf(status));
  return Object.entries(counts).filter(([, many]) => many > 0).sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
}
function bar(counts, big) {
  const parts = order(counts);
  const label = parts.map(([status, many]) => `${n(many)} ${plain(status)}`).join(", ") || "none";
  const node = h("div", { class: big ? "bar big" : "bar", role: "img", "aria-label": label, title: label });
  for (const [status, many] of parts) {
    const part = h("span", { class: phaseOf(status) });
    part.style.flexGrow = many;
    node.append(part);
  }
  return node;
}
const legend = (counts, where) => h("div", { class: "legend" },
  order(counts).map(([status, many]) => chip(status, to("/tasks", { ...where, status }), many)));
const sum = (counts, wanted = () => true) =>
  Object.entries(counts).reduce((total, [status, many]) => total + (wanted(status) ? many : 0), 0);

// -- tables ----------------------------------------------------------------------------------------------------------

/** `columns`: [heading, class, what a row has there, whether a narrow page leaves the heading out]; what is false is no
    column. `key` tells rows apart. Where there are none, `none` is said. */
function table(caption, rows, key, columns, none, attributes) {
  if (!rows.length) return empty(none);
  columns = columns.filter(Boolean);
  return h("div", { class: "wide" }, h("table", attributes ?? {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([head, kind]) => h("th", { scope: "col", class: kind }, head)))),
    h("tbody", {}, rows.map((row, i) => h("tr", { "data-key": key(row, i) }, columns.map(([head, kind, cell, silent]) =>
      h("td", { class: kind, "data-label": typeof head === "string" && head && !silent ? head : null }, cell(row))))))));
}
const section = (title, more, ...children) =>
  h("section", { "aria-label": title },
    h("div", { class: "head" }, h("h2", {}, title), h("div", { class: "row" }, more ?? [])), ...children);
const empty = (text) => h("p", { class: "empty" }, text);
const faint = (...children) => h("span", { class: "faint" }, ...children);
const may = () => !session.read_only;

/** What is to be said of a task in a list. */
function saying(task) {
  const text = task.last_error && ["failed", "cancelled", "skipped", "scheduled"].includes(task.phase) ? task.last_error
    : task.message ?? task.last_error ?? "";
  return h("span", { class: "clamp" }, bdi(text));
}
function progress(task) {
  if (task.progress == null || task.finished_at != null) return null;
  const node = h("progress", { max: 1, "aria-label": `progress of task ${task.id}` });
  node.value = task.progress;
  node.title = Math.floor(task.progress * 100) + " %"; // 100 of the whole alone
  return node;
}
const byId = (task) => task.id, byName = (its) => its.name;
const TASK = ["Task", "fit", (task) => taskLink(task.id)];
const STATUS = ["Status", "fit", (task) => chip(task.status), true];
const NAME = ["Name", "name", (task) =>
  [taskLink(task.id, bdi(task.name)), task.key != null && [" ", faint("[", bdi(task.key), "]")]], true];
const SAYING = ["Saying", "text", (task) => [progress(task), saying(task)], true];
const SUBMITTED = ["Submitted", "n", (task) => ago(task.submitted_at)];

// -- the pages -------------------------------------------------------------------------------------------------------

const PAGES = {
  "": ["Overview", async () => {
    const data = await get("/data/overview"), holds = (name) => data.holds.includes(name);
    const names = Object.entries(data.names).map(([name, its]) => ({ name, ...its }))
      .sort((a, b) => (b.left > 0) - (a.left > 0) || sum(b.counts) - sum(a.counts));
    const all = new URLSearchParams(location.search).has("all"), some = (rows) => all ? rows : rows.slice(0, FEW);
    const rest = (rows, what) => !all && rows.length > FEW && link("/?all=1", `All ${n(rows.length)} ${what}`);
    const rate = names.reduce((total, its) => total + its.rate, 0), left = sum(data.counts, (s) => !isEnd(s));
    const failed = (its) => sum(its.counts, (s) => phaseOf(s) === "failed");
    return [
      head("Overview", may() && (holds("") ? tool("let_go", { name: "" }, "Resume the file", "main")
        : tool("hold", { name: "" }, "Pause the file"))),
      data.health !== "ok" && h("p", { class: "why failed" }, bdi(data.health)),
      holds("") && h("p", { class: "why paused" },
        "The whole file is paused: what runs goes on to its end, and nothing begins."),
      section(tasksOf(sum(data.counts)), faint(left ? n(left) + " to do" : "nothing to do", rate ? ", " + perSecond(rate) : "",
        data.seconds_left ? `, about ${duration(data.seconds_left)} left` : ""), bar(data.counts, true), legend(data.counts)),
      section("Names", null, table("Counts by name", some(names), byName, [
        ["Name", "name", (its) => [link(to("/tasks", { name: its.name }), bdi(its.name)),
          holds(its.name) && h("span", { class: "chip paused" }, " ", h("i", {}, session.signs.paused), "paused")], true],
        ["", "bars", (its) => bar(its.counts)],
        ["Tasks", "n", (its) => n(sum(its.counts))],
        ["To do", "n", (its) => its.left ? n(its.left) : ""],
        ["Failed", "n", (its) => failed(its) ? link(to("/tasks", { name: its.name, phase: "failed" }), n(failed(its))) : ""],
        ["Rate", "n", (its) => its.rate ? perSecond(its.rate) : ""],
        ["Left", "n", (its) => its.seconds_left ? duration(its.seconds_left) : ""],
        ["", "fit", (its) => may() && (
          holds(its.name) ? button("let_go", { name: its.name }, "Resume", `Resume ${plain(its.name)}`)
            : its.left > 0 && button("hold", { name: its.name }, "Pause", `Pause ${plain(its.name)}`))],
      ], "There are none yet."), rest(names, "names")),
      section("Running now", null, table("What runs now", data.running, byId, [
        TASK, NAME, ["Progress", "bars", progress, true], ["Saying", "text", saying, true],
        ["For", "n", (task) => lasted(task.started_at)],
        ["Worker", "", (task) => h("span", { class: "faint small" }, bdi(task.worker))],
        ["", "fit", (task) => may() && button("cancel", { where: { id: [task.id] } }, "Cancel", `Cancel task ${task.id}`)],
      ], "Nothing runs.")),
      section("Failed", data.failures.length > 0 && faint(`the newest ${n(data.looked_at)}, by what was said`),
        table("What failed, by its error", some(data.failures), (group) => group.name + group.error, [
          ["Tasks", "n fit", (group) => n(group.ids.length)],
          ["Name", "name", (group) => bdi(group.name), true],
          ["Error", "text", (group) => h("span", { class: "clamp" }, bdi(group.error || "without a word")), true],
          ["Last", "fit", (group) => ago(group.last)],
          ["", "fit", (group) => h("span", { class: "row" },
            link(to("/tasks", group.ids.length > 40 ? { name: group.name, phase: "failed" } : { id: group.ids }), "Show"),
            may() && button("rerun", { where: { id: group.ids } }, "Rerun", `Rerun ${group.ids.length} of ${plain(group.name)}`))],
        ], "Nothing failed."), rest(data.failures, "kinds")),
    ];
  }],

  tasks: ["Tasks", async (_, query) => {
    const asked = new URLSearchParams(query);
    let data = await get("/data/tasks?" + asked);
    for (let more = 40; more && !data.tasks.length && data.below != null; more--) {
      asked.set("below", data.below); // the server looks for a moment only: go on from where it came to
      data = await get("/data/tasks?" + asked);
    }
    const said = Object.fromEntries(FILTERS.map((name) => [name, asked.getAll(name)]).filter(([, values]) => values.length));
    const where = Object.keys(said).length ? said : { phase: Object.keys(session.signs) };
    const about = picked.size ? `${n(picked.size)} picked` : Object.keys(said).length ? "all that match" : "the whole file";
    const every = h("input", { type: "checkbox", id: "pick-all", "data-pick": "all", "aria-label": "Pick all of this list",
      checked: data.tasks.length > 0 && data.tasks.every((task) => picked.has(task.id)) });
    return [
      head("Tasks", may() && [h("span", { class: "faint small" }, about + ":"),
        ["rerun", "cancel", "pause", "resume"].map((verb) => tool(verb, { where, picks: true }, capital(verb) + "…"))]),
      filters("/tasks", asked, true),
      table("Tasks, the newest first", data.tasks, byId, [
        may() && [every, "fit", (task) => pick(task.id)],
        TASK, STATUS, NAME, ["Arguments", "text", (task) => h("code", { class: "clamp one" }, bdi(called(task.args))), true],
        SAYING, SUBMITTED, ["Took", "n", took],
      ], "No task matches."),
      h("nav", { class: "row", "aria-label": "More tasks" },
        asked.has("below") && link(to("/tasks", said), "Newest"),
        data.below != null && link(to("/tasks", { ...said, below: data.below }),
          data.tasks.length < 100 ? `Look on, below #${data.below}` : "Older")),
    ];
  }],

  task: [null, async (id) => {
    const data = await get(to("/data/task", { id, whole: location.search.includes("whole") ? 1 : null }));
    const task = data.task, ended = task.finished_at != null, where = { id: [task.id] }, around = { task: task.id };
    const cutOff = [task.args, task.kwargs, task.result, task.message, task.last_error]
      .some((text) => / characters\)$/.test(text ?? ""));
    const newest = (earlier) => earlier > 0 && `the newest; ${n(earlier)} earlier ones`;
    return [
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, `#${task.id} `, bdi(task.name)),
        h("div", { class: "row" }, chip(task.status), may() && [
          ended && tool("rerun", { where, downstream: true }, "Rerun…"),
          !ended && task.phase !== "paused" && tool("pause", { where, once: true }, "Pause"),
          task.phase === "paused" && tool("resume", { where, once: true }, "Resume"),
          !ended && tool("cancel", { where }, "Cancel…"),
          !ended && !data.job && tool("signal", { id: task.id,
            name: task.waiting_for?.startsWith("signal ") ? task.waiting_for.slice(7) : "" }, "Signal…")])),
      h("p", { class: "why " + task.phase }, bdi(data.explanation)),
      h("ol", { class: "life", "aria-label": "Its life" }, life(task)),
      progress(task),
      h("div", { class: "two" },
        section("What it is", null, facts({
          "Name": link(to("/tasks", { name: task.name }), bdi(task.name)),
          "Key": task.key && bdi(task.key),
          "Says": task.message && bdi(task.message),
          "Step": task.step && bdi(task.step),
          "Worker": task.worker && link(to("/tasks", { worker: task.worker }), bdi(task.worker)),
          "Part of": task.parent_id && taskLink(task.parent_id),
          "Tags": task.tags.length && task.tags.map((tag) => [link(to("/tasks", { tag }), bdi(tag)), " "]),
          "Priority": task.priority || null,
          "Attempts": task.attempts
            && `${task.attempts}${task.max_attempts == null ? "" : `, ${task.failures} of ${task.max_attempts} failed`}`,
          "Lapses": task.lapses || null,
          "Waits for": task.waiting_for && bdi(task.waiting_for),
          "Asked to stop": ago(task.cancel_requested_at),
          "Error": task.last_error && bdi(task.last_error),
        })),
        section("What went in and came out", cutOff && link("?whole=1", "Show all of it"),
          value("Arguments", task.args === "()" ? null : task.args), value("By name", task.kwargs === "{}" ? null : task.kwargs),
          value(ended ? "Result" : "Result so far", task.result),
          task.args === "()" && task.kwargs === "{}" && task.result == null && empty("Nothing."))),
      data.attempts.length > 0 && section("Attempts", newest(data.unshown.attempts),
        table("Attempts", data.attempts, (its) => its.number, [
          ["", "fit", (its) => String(its.number)],
          ["Outcome", "fit", (its) => chip(its.outcome), true],
          ["Began", "fit", (its) => ago(its.started_at)],
          ["Took", "n", (its) =>
            lasted(its.started_at, its.outcome === "running" ? null : its.finished_at ?? its.started_at)],
          ["Worker", "", (its) => bdi(its.worker)],
          ["Error", "text", (its) => !its.traceback ? bdi(its.error) : h("details", { "data-key": "t" + its.number },
            h("summary", {}, bdi(its.error)), h("pre", { tabindex: 0 }, block(its.traceback))), true],
        ])),
      data.steps.length > 0 && section("Steps", newest(data.unshown.steps),
        table("Steps", data.steps, (_, i) => i, [
          ["Step", "", (step) => bdi(step.name), true],
          ["Result", "text", (step) => h("code", { class: "clamp" }, bdi(step.result)), true],
          ["Began", "fit", (step) => ago(step.started_at)],
          ["Took", "n", (step) => lasted(step.started_at, step.finished_at)],
        ])),
      data.log.length > 0 && section("Log", faint("follows while you are at its end"),
        h("pre", { class: "log", tabindex: 0, id: "log", "aria-label": "Log" }, data.log.map((line) => h("div", {},
          h("span", { class: "at" }, new Date(line.at * 1000).toLocaleTimeString("sv") + " "),
          line.level !== "INFO" && h("b", { class: ["ERROR", "CRITICAL", "WARNING"].includes(line.level) ? "failed" : "" },
            plain(line.level) + " "),
          block(line.text))))),
      (data.upstream.length > 0 || data.downstream.length > 0 || data.children.length > 0) && section("Around it",
        [link(to("/graph", around), "Graph"), link(to("/timeline", around), "Timeline")],
        picture("graph", around, `What task ${task.id} is connected to`)),
      data.children.length > 0 && section("Children", link(to("/tasks", { parent: task.id }), "All of them"),
        bar({ ...data.tally, open: data.open }), legend(data.tally, { parent: task.id }),
        table("Children, the newest first", data.children, byId, [TASK, STATUS, NAME, SAYING])),
      (data.upstream.length > 0 || data.downstream.length > 0) && h("div", { class: "two" },
        section("Depends on", null, edges("What it depends on", data.upstream)),
        section("Needed by", null, edges("What depends on it", data.downstream))),
    ];
  }],

  jobs: ["Jobs", async (_, query) => {
    const asked = new URLSearchParams(query), data = await get("/data/jobs?" + asked);
    const pipelines = new Map(), rest = [];
    for (const job of data.jobs) {
      const inside = job.members.length && job.key != null && job.members.every((its) => its.name.startsWith(job.name + "."));
      if (!inside) rest.push(job);
      else pipelines.set(job.name, [...(pipelines.get(job.name) ?? []), job]);
    }
    return [
      head("Jobs"),
      [...pipelines].map(([name, jobs]) => {
        const title = "Pipeline " + plain(name), steps = new Set(jobs.flatMap((job) => job.members.map((its) => its.name)));
        return section(title, faint(tasksOf(jobs.length).replace("task", "subject")), table(title, jobs, byId, [
          ["Subject", "", (job) => taskLink(job.id, bdi(job.key))],
          ["", "fit", (job) => chip(job.status)],
          ...[...steps].map((step) => [plain(step.slice(name.length + 1)), "", (job) => {
            const its = job.members.find((one) => one.name === step);
            return its && chip(its.status, "/task/" + its.id);
          }]),
        ], null, { class: "matrix" }));
      }),
      section("Jobs, and tasks with children", null, table("Jobs", rest, byId, [
        TASK, STATUS, NAME,
        ["", "bars", (job) =>
          bar({ ...(sum(job.tally) ? job.tally : { succeeded: job.children - job.open }), open: job.open })],
        ["Ended", "n", (job) => `${n(job.children - job.open)} of ${n(job.children)}`],
        SUBMITTED, ["Took", "n", (job) => lasted(job.started_at ?? job.submitted_at, job.finished_at)],
        ["", "fit", (job) => h("span", { class: "row" }, link(to("/timeline", { task: job.id }), "Timeline"),
          link(to("/graph", { task: job.id }), "Graph"))],
      ], "There are none here.")),
      h("nav", { class: "row", "aria-label": "More jobs" }, asked.has("below") && link("/jobs", "Newest"),
        data.below != null && link(to("/jobs", { below: data.below }), "Older")),
    ];
  }],

  graph: ["Graph", async (_, query) => pictured("graph", "What depends on what", query)],
  timeline: ["Timeline", async (_, query) => pictured("timeline", "What ran when, by worker", query)],

  schedules: ["Schedules", async () => {
    const data = await get("/data/schedules"), named = ["Name", "name", (its) => bdi(its.name), true];
    const act = (verb, its, label) => button(verb, { name: its.name }, label, `${label} ${plain(its.name)}`);
    return [
      head("Schedules and limits"),
      section("Schedules", null, table("Schedules", data.schedules, byName, [
        named,
        ["When", "", (its) => its.cron ? [h("code", {}, bdi(its.cron)), " ", faint(bdi(its.tz ?? "UTC"))]
          : "every " + duration(its.every)],
        ["Next", "fit", (its) => its.enabled ? ago(its.next_at) : faint("off")],
        ["Last", "fit", (its) => [ago(its.last_at), its.last_task && [" ", taskLink(its.last_task)]]],
        ["", "fit", (its) => may() && h("span", { class: "row" }, act("trigger", its, "Trigger"),
          its.enabled ? act("disable", its, "Disable") : act("enable", its, "Enable"),
          its.every != null && button("every", { name: its.name, every: String(its.every) }, "Period…",
            `Change the period of ${plain(its.name)}`))],
      ], "There are none.")),
      section("Limits", may() && button("limit", { name: "", value: 1 }, "New limit…"),
        table("Limits", data.limits, byName, [
          ["Of what", "", ({ name }) =>
            name.startsWith("name:") ? ["at most so many run of ", bdi(name.slice(5))] : bdi(name), true],
          ["How much", "n", (its) => its.value == null ? "no end" : n(its.value)],
          ["In the code", "n", (its) => its.given == null ? "" : n(its.given)],
          ["", "fit", (its) => may() && button("limit", its, "Change…", `Change the limit of ${plain(its.name)}`)],
        ], "There are none.")),
      data.rates.length > 0 && section("Rates", null, table("Rates", data.rates, byName,
        [named, ["Starts", "", (its) => `${n(its.n)} in ${duration(its.period)}`]])),
      section("Paused", may() && button("hold", { name: null, names: data.names }, "Pause a name…"),
        table("What is paused", data.holds, (name) => name, [
          ["Name", "name", (name) => name === "" ? "the whole file" : bdi(name), true],
          ["", "fit", (name) =>
            may() && button("let_go", { name }, "Resume", `Resume ${name === "" ? "the file" : plain(name)}`)],
        ], "Nothing is.")),
    ];
  }],
};

const head = (title, more) =>
  h("div", { class: "head" }, h("h1", { tabindex: -1 }, title), h("div", { class: "row" }, more || []));
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const perSecond = (rate) => rate >= 10 ? n(Math.round(rate)) + "/s" : rate >= 0.1 ? rate.toFixed(1) + "/s"
  : n(Math.round(rate * 3600)) + "/h";
const called = (text) => text === "[[],{}]" ? "" : text.replace(/^\[\[(.*)\],\{\}\]$/s, "$1");
const pick = (id) => h("input", { type: "checkbox", "data-pick": id, "aria-label": `Pick task ${id}`, checked: picked.has(id) });
const value = (title, text) => text == null ? null : h("div", {}, h("p", { class: "faint small" }, title),
  h("pre", { tabindex: 0, "aria-label": title }, block(text)));
const facts = (all) => h("dl", {},
  Object.entries(all).filter(([, its]) => its).map(([name, its]) => [h("dt", {}, name), h("dd", {}, its)]));
const edges = (title, rows) => table(title, rows, byId, [
  TASK, STATUS, ["Name", "name", (edge) => bdi(edge.name), true],
  ["Wanted", "", (edge) => [bdi(edge.on), !edge.met && edge.otherwise !== "skip" && faint(", else " + edge.otherwise)]],
], "Nothing.");

function life(task) {
  const again = task.started_at !== task.first_started_at ? task.started_at : null, runs = task.phase === "running";
  const end = task.finished_at ?? (task.greenfield > now() ? task.greenfield : null);
  const moments = [["Submitted", task.submitted_at, "waiting"], ["First begun", task.first_started_at, "running"],
    ["Begun again", again, "running"]].filter(([, at]) => at != null);
  if (!runs || task.started_at == null) moments.push([capital(plain(task.status)), end, task.phase]);
  return moments.map(([name, at, phase], i) => h("li", { class: phase }, h("b", {}, name), h("br"),
    h("span", { class: "faint small" }, at == null ? "now" : ago(at),
      i > 0 && at != null && at <= now() && `, after ${duration(at - moments[i - 1][1])}`)));
}

const FIELDS = { name: "Name", phase: "Phase", status: "Status", tag: "Tag", key: "Key", worker: "Worker", parent: "Part of #" };
/** A field for each value that is asked for, so that none of them has to be told apart from others. */
function filters(place, asked, whole) {
  const statuses = Object.keys(session.phases);
  const options = { phase: statuses.filter((status) => status in session.signs), status: statuses };
  const others = [...FILTERS.filter((name) => !(name in FIELDS) && name !== "hidden"), "task"].filter((name) => asked.has(name));
  const field = (name, label, value) => !options[name] ? input(name, value, { "aria-label": label, required: false })
    : h("select", { name, "aria-label": label }, h("option", { value: "" }, "any"),
      options[name].map((one) => h("option", { value: one, selected: one === value }, plain(one))));
  return h("form", { class: "filters", "data-place": place, role: "search", "aria-label": "Which tasks" },
    Object.entries(FIELDS).filter(([name]) => whole || !["key", "worker", "status"].includes(name)).map(([name, label]) =>
      h("label", { class: "field" }, label,
        (asked.has(name) ? asked.getAll(name) : [""]).map((value) => field(name, label, value)))),
    others.map((name) => asked.getAll(name).map((value) => h("input", { type: "hidden", name, value }))),
    others.map((name) => h("p", { class: "small" }, `${name.replaceAll("_", " ")}: ${asked.getAll(name).slice(0, 5).join(", ")}`,
      asked.getAll(name).length > 5 && " …")),
    h("label", { class: "small" }, h("input", { type: "checkbox", name: "hidden", value: "1", checked: asked.has("hidden") }),
      " hidden too"),
    h("button", { type: "submit", class: "main" }, "Filter"),
    [...asked.keys()].some((name) => name !== "below") && link(place, "All"));
}

/** It is drawn anew when something changed, but not too often: that of a whole file takes a second. */
function picture(kind, query, alt, whole) {
  const picture = to(`/${kind}.svg`, { ...query, drawn: Math.floor(Date.now() / (whole ? 30000 : 3000)) });
  return h("figure", { class: whole ? "whole" : "" }, h("img", { alt, "data-picture": picture }));
}
/** Have it drawn where it is not: what is asked for needs the token, which the browser does not send by itself. */
async function draw(image) {
  const picture = image.dataset.picture;
  if (image.asked === picture) return;
  image.asked = picture;
  try {
    const drawn = await (await answered(picture)).blob();
    if (image.asked !== picture) return;
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(drawn);
  } catch (error) {
    image.asked = null;
    toast(plain(error.message));
  }
}
function pictured(kind, what, query) {
  const asked = new URLSearchParams(query), said = {};
  for (const name of new Set(asked.keys())) said[name] = asked.getAll(name);
  return [head(capital(kind), [tool("save", kind + ".svg", "Save the picture"),
    tool("redraw", null, "Draw anew")]), filters("/" + kind, asked, false), picture(kind, said, what, true)];
}

// -- the server ------------------------------------------------------------------------------------------------------

/** The token comes in the address once, behind the `#`, which is sent to nobody. It is kept for pages of this server alone,
    and each tab reads it anew: that of another start is as good for tabs that were open before. A link that somebody made
    up puts no other in its place. */
async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token == null) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const good = (await fetch("/data/session", { headers: { "X-Taskcore": token } })).ok;
  if (good) localStorage.setItem("token", token);
  return good;
}
async function answered(address, more) {
  const token = localStorage.getItem("token") ?? "";
  const answer = await fetch(address, { ...more, headers: { "X-Taskcore": token, ...more?.headers } });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}
async function get(address) {
  const data = await (await answered(address)).json();
  if (data.now != null) offset = data.now - Date.now() / 1000;
  return data;
}
const underWay = new Map();
/** Have it done; what is asked again before the answer came, by a double click, is done once. */
async function post(verb, told) {
  const body = JSON.stringify(told), key = verb + body;
  if (!underWay.has(key)) underWay.set(key, done(verb, body).finally(() => underWay.delete(key)));
  return underWay.get(key);
}
async function done(verb, body) {
  return (await answered("/do/" + verb, { method: "POST", headers: { "Content-Type": "application/json" }, body })).json();
}

// -- showing ---------------------------------------------------------------------------------------------------------

/** Bring what is there to what is wanted, and leave alone what is the same: focus, scrolling and what is open stay. */
function patch(there, wanted) {
  const kept = new Set([...wanted.childNodes].map((node) => node.dataset?.key)), keys = new Map();
  for (const node of [...there.childNodes]) if (node.dataset?.key) { // what is moved loses the focus: first go those that do
    if (kept.has(node.dataset.key)) keys.set(node.dataset.key, node);
    else node.remove();
  }
  let place = there.firstChild;
  for (const fresh of [...wanted.childNodes]) {
    const key = fresh.dataset?.key;
    let own = key ? keys.get(key) : place;
    if (own && !key && own.dataset?.key) own = null;
    if (!own || own.nodeName !== fresh.nodeName) { there.insertBefore(fresh, place); continue; }
    if (own !== place) there.insertBefore(own, place);
    else place = place.nextSibling;
    if (own.nodeType === Node.TEXT_NODE) { if (own.data !== fresh.data) own.data = fresh.data; continue; }
    if (own.nodeName === "FORM") continue; // somebody may be filling it in
    if (own.type === "checkbox") own.checked = fresh.checked;
    if (own.isEqualNode(fresh)) continue;
    for (const { name } of [...own.attributes])
      if (!fresh.hasAttribute(name) && !["open", "style", "src"].includes(name)) own.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (name !== "style" && own.getAttribute(name) !== value) own.setAttribute(name, value);
    own.style.flexGrow = fresh.style.flexGrow; // the one style that is set here
    if (own.nodeName === "PROGRESS") own.value = fresh.value;
    patch(own, fresh);
  }
  while (place) { const next = place.nextSibling; place.remove(); place = next; }
}

/** Show what is at the address, or look again. Another address does not wait for what was asked of the one before. */
async function show() {
  const address = location.pathname + location.search, [place, id] = location.pathname.split("/").slice(1);
  if (asking?.address === address) { dirty = true; return; }
  const anew = address !== shownAt, own = asking = { address }, main = $("main");
  dirty = false;
  if (anew) { picked = new Set(); main.setAttribute("aria-busy", "true"); }
  try {
    if (unknown) session = await get("/data/session");
    unknown = false;
    const [title, make] = PAGES[place] ?? [null, () => [empty("There is nothing at this address.")]];
    const wanted = h("main", {}, await make(id, location.search.slice(1)));
    if (!anew) await released;
    if (own !== asking) return;
    const log = $("log"), atEnd = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 8, there = document.activeElement;
    if (anew) {
      for (const { src } of main.querySelectorAll("img")) URL.revokeObjectURL(src);
      main.replaceChildren(...wanted.childNodes);
    } else patch(main, wanted);
    if (there !== document.activeElement && there.isConnected) there.focus({ preventScroll: true }); // its row was moved
    if (atEnd && $("log")) $("log").scrollTop = $("log").scrollHeight;
    main.querySelectorAll("img[data-picture]").forEach(draw);
    for (const a of document.querySelectorAll("header nav a"))
      a.pathname === "/" + (place === "task" ? "tasks" : place) ? a.setAttribute("aria-current", "page")
        : a.removeAttribute("aria-current");
    document.title = (title ?? main.querySelector("h1").textContent) + " – taskcore";
    if (anew) { window.scrollTo(0, history.state?.y ?? 0); main.querySelector("h1")?.focus({ preventScroll: true }); }
  } catch (error) {
    if (own !== asking) return;
    if (anew) main.replaceChildren(h("h1", { tabindex: -1 }, "This cannot be shown"), empty(plain(error.message)));
    else toast(plain(error.message));
  }
  shownAt = address;
  asking = null;
  main.removeAttribute("aria-busy");
  if (dirty) setTimeout(show, 50);
}
function go(address) {
  history.replaceState({ y: scrollY }, ""); // where the way back leads to
  history.pushState(null, "", address);
  show();
}

/** While something is pressed nothing is moved away below it: the click would be lost, or go to what came there. */
let released = null, letGo = null;
addEventListener("pointerdown", () => {
  released = new Promise((resolve) => { letGo = resolve; setTimeout(resolve, 3000); });
}, true);
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => setTimeout(() => letGo?.()), true);

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, 6000);
}

/** Ask in a dialog, which stays with what was filled in until `act` has done it. `fields`: [name, label, element] */
function ask(title, text, fields, label, act, names = []) {
  const dialog = $("dialog"), wrong = h("p", { class: "wrong", role: "alert" });
  const form = h("form", {}, h("h2", { id: "dialog-title" }, title), text && h("p", { class: "number" }, text),
    fields.map(([, name, field]) => field.type === "checkbox" ? h("label", {}, field, " " + name)
      : h("label", { class: "field" }, name, field)),
    names.length > 0 && h("datalist", { id: "names" }, names.map((name) => h("option", { value: name }))), wrong,
    h("p", { class: "row" }, tool("close", null, "No, leave it"),
      label && h("button", { type: "submit", class: "main", autofocus: fields.every(([, , { type }]) => type === "checkbox") }, label)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    const said = fields.map(([name, , field]) => [name, field.type === "checkbox" ? field.checked : field.value]);
    try {
      await act(Object.fromEntries(said));
      if (form.isConnected) dialog.close();
    } catch (error) {
      if (dialog.open && form.isConnected) wrong.textContent = plain(error.message);
      else toast(plain(error.message)); // it was left meanwhile
    }
  });
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
}

// -- what can be done ------------------------------------------------------------------------------------------------

const DONE = { cancel: "cancelled", rerun: "run again", pause: "paused", resume: "resumed" };

/** A verb for some tasks: the number is asked for first, and shown before anything moves. */
async function move(verb, of) {
  const where = of.picks && picked.size ? { id: [...picked] } : of.where; // also what was picked only just now
  const act = async (told) => {
    const answer = await post(verb, told);
    picked = new Set();
    toast(`${tasksOf(answer.moved)} ${DONE[verb]}${answer.asked ? `, ${n(answer.asked)} asked to stop` : ""}`);
    show();
  };
  if (of.once) return act({ where });
  const found = await get(to("/data/count", { verb, ...where })), all = `${capital(verb)} ${tasksOf(found.count)}`;
  if (!found.count) return ask(all + "?", "None of them is in a phase for that.", [], null);
  const fields = [], { id = [] } = where;
  if (verb === "cancel") fields.push(["reason", "Why (may be left out)", h("input", { name: "reason", autocomplete: "off" })]);
  if (verb === "rerun") fields.push(["downstream", "and every ended task that depends on them",
    h("input", { type: "checkbox", name: "downstream" })]);
  ask(all + "?", (id.length && id.length <= 5 ? id.map((one) => "#" + one).join(", ") + ". " : "") + SAYS[verb], fields, all,
    (said) => act({ where: { ...where, submitted_before: [found.until] }, ...said }));
}
const SAYS = {
  cancel: "What does not run ends as cancelled; what runs is asked to stop. Children go with their parents.",
  rerun: "Each begins a new life. What failed or was cancelled goes on behind its finished steps.",
  pause: "They are held until somebody resumes them; what runs, as soon as it comes back.",
  resume: "They go on.",
};
/** Have a verb done that moves no selection, and say what came of it. */
const does = async (verb, told, says) => { toast(says(await post(verb, told))); show(); };
const simple = (verb, says) => (of) => does(verb, { name: of.name }, (answer) => says(of, answer));
const input = (name, value, more) => h("input", { name, value, autocomplete: "off", spellcheck: "false", required: true, ...more });
const hold = (name) => does("hold", { name }, () => name === "" ? "the file is paused" : `${plain(name)} is paused`);

const ACTS = {
  cancel: (of) => move("cancel", of), rerun: (of) => move("rerun", of), pause: (of) => move("pause", of),
    resume: (of) => move("resume", of),
  signal: (of) => ask(`Signal to #${of.id}`, null, [["name", "Signal", input("name", of.name)],
    ["payload", "Payload, as JSON (may be left out)", h("textarea", { name: "payload", spellcheck: "false" })]], "Send",
    (said) => does("signal", { id: of.id, ...said }, (answer) => answer.stored ? "sent" : "it has ended: nobody takes a signal")),
  hold({ name, names }) {
    if (name === null) ask("Pause a name", "What runs of it goes on; nothing of it begins, in any process.",
      [["name", "Name", input("name", "", { list: "names" })]], "Pause", (said) => hold(said.name), names);
    else if (name === "") ask("Pause the whole file?", "What runs goes on to its end; nothing begins, in any process.", [],
      "Pause the file", () => hold(name));
    else return hold(name);
  },
  let_go: simple("let_go", (of) => of.name === "" ? "the file goes on" : `${plain(of.name)} goes on`),
  trigger: simple("trigger", (of, answer) => `submitted as #${answer.task}`),
  enable: simple("enable", (of) => `${plain(of.name)} is on`),
  disable: simple("disable", (of) => `${plain(of.name)} is off`),
  every: (of) => ask(`Period of ${plain(of.name)}`, null, [["every", "Seconds, or like 5m, 2h, 1d", input("every", of.every)]],
    "Change", (said) => does("every", { name: of.name, ...said }, () => "changed")),
  limit(of) {
    const fields = [["value", "How much (empty: no end)", input("value", of.value ?? "",
      { type: "number", min: 0, required: false })]];
    if (of.name === "") fields.unshift(["name", "Of a capacity, or name: and a task's name", input("name", "")]);
    ask(of.name === "" ? "New limit" : `Limit of ${plain(of.name)}`, null, fields, "Change", (said) => does("limit",
      { name: of.name || said.name, value: said.value === "" ? null : Number(said.value) }, () => "changed"));
  },
  close: () => $("dialog").close(),
  redraw: () => document.querySelectorAll("img[data-picture]").forEach((image) => { image.asked = null; draw(image); }),
  save(name) {
    const { src } = document.querySelector("img[data-picture]");
    if (src) h("a", { href: src, download: name }).click();
  },
};

document.addEventListener("click", async (event) => {
  const act = event.target.closest("[data-act]"), a = event.target.closest("a[href]"), box = event.target.closest("[data-pick]");
  if (act) {
    try { await ACTS[act.dataset.act](JSON.parse(act.dataset.of)); } catch (error) { toast(plain(error.message)); show(); }
  } else if (box) {
    for (const one of box.dataset.pick === "all" ? document.querySelectorAll("[data-pick]") : [box]) {
      one.checked = box.checked;
      if (one.dataset.pick !== "all") picked[one.checked ? "add" : "delete"](+one.dataset.pick);
    }
    show();
  } else if (a && !event.defaultPrevented && event.button === 0
    && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
      && a.origin === location.origin && !a.hash) {
    event.preventDefault();
    go(a.getAttribute("href"));
  }
});
document.addEventListener("submit", (event) => {
  const { place } = event.target.dataset;
  if (!place) return;
  event.preventDefault();
  const said = new URLSearchParams();
  for (const [name, text] of new FormData(event.target)) if (text.trim()) said.append(name, text.trim());
  go(place + (said.size ? "?" + said : ""));
});
window.addEventListener("popstate", () => { $("dialog").close(); show(); });
window.addEventListener("hashchange", async () => { if (await enter()) location.reload(); });

// -- live ------------------------------------------------------------------------------------------------------------

let last = 0, soon = 0;
/** Something changed: look again, at most twice a second. */
function changed() {
  clearTimeout(soon);
  soon = setTimeout(() => { last = Date.now(); show(); }, Math.max(0, 500 - (Date.now() - last)));
}

/** One page of a browser listens, and tells the others: a browser has few connections to one server. */
const others = new BroadcastChannel("live");
let leave = null, state = null;
function tell(said) {
  others.postMessage(said);
  heard(said);
}
function heard(said) {
  if (said === "who" && state && leave?.listens) others.postMessage(state);
  if (said === "change" || said === "on") changed();
  if (!["on", "off", "end"].includes(said) || state === "end") return;
  state = said;
  $("live").className = "live " + (said === "on" ? "on" : "off");
  $("live").textContent = { on: "live", off: "no connection", end: "ended" }[said];
  if (said !== "end") return;
  $("banner").textContent = "The program has closed the file: what is shown is from before.";
  $("banner").hidden = false;
}
others.onmessage = (event) => heard(event.data);

function listen() {
  if (document.hidden) { leave?.abort(); leave = null; return; } // another, that is seen, does it
  if (leave) return;
  leave = new AbortController();
  const own = leave, follows = () => { own.listens = true; return follow(own.signal); };
  others.postMessage("who");
  (navigator.locks?.request("live", { signal: own.signal }, follows) ?? follows()).catch(() => {});
}
/** Hear the server's events until nobody looks, and again where the connection broke. */
async function follow(signal) {
  while (!signal.aborted && state !== "end") {
    try {
      const reader = (await answered("/live", { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
      tell("on");
      for (let text = "", piece; !(piece = await reader.read()).done;) {
        const events = (text + piece.value).split("\n\n");
        text = events.pop();
        for (const event of events) if (event.startsWith("event: ")) tell(event.slice(7).split("\n", 1)[0]);
      }
    } catch { /* it broke off, or was never there */ }
    if (signal.aborted || state === "end") return;
    tell("off");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
try {
  await enter();
  session = await get("/data/session");
  $("file").textContent = plain(session.path.split(/[\\/]/).pop());
  $("file").title = plain(session.path);
  if (session.read_only) $("file").after(h("span", { class: "faint small" }, " read-only"));
  await show();
  listen();
  document.addEventListener("visibilitychange", listen);
} catch (error) {
  $("main").replaceChildren(h("h1", {}, "This page is closed"), empty(plain(error.message)));
}
