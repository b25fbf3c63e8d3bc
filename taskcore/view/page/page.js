// The page. Whatever comes from the file becomes text nodes: nothing here makes markup of a string.

const $ = (id) => document.getElementById(id);
const FILTERS = ["name", "phase", "status", "tag", "key", "worker", "id", "parent", "upstream_of", "downstream_of", "hidden"];
let session = null, offset = 0, shownAt = "", asking = null, dirty = false, further = 0;
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
/** A button: `act` is one of ACTS, `of` what it is given. */
const button = (act, of, label, attributes) =>
  h("button", { type: "button", "data-act": act, "data-of": JSON.stringify(of ?? null), class: "tiny", ...attributes }, label);
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
const sum = (counts, wanted = () => true) =>
  Object.entries(counts).reduce((total, [status, many]) => total + (wanted(status) ? many : 0), 0);

// -- tables ----------------------------------------------------------------------------------------------------------

/** `columns`: [heading, class]; `rows`: [key, cells…]. */
function table(caption, columns, rows, attributes) {
  return h("div", { class: "wide" }, h("table", attributes ?? {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([head, kind]) => h("th", { scope: "col", class: kind }, head)))),
    h("tbody", {}, rows.map(([key, ...cells]) => h("tr", { "data-key": key }, cells.map((cell, i) => {
      const [head, kind, silent] = columns[i];
      return h("td", { class: kind, "data-label": typeof head === "string" && head && !silent ? head : null }, cell);
    }))))));
}
const section = (title, more, ...children) =>
  h("section", { "aria-label": title }, h("div", { class: "head" }, h("h2", {}, title), h("div", { class: "row" }, more ?? [])),
    ...children);
const empty = (text) => h("p", { class: "empty" }, text);
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
  node.title = Math.round(task.progress * 100) + " %";
  return node;
}
const named = (task) => [taskLink(task.id, bdi(task.name)), task.key == null ? null : [" ",
  h("span", { class: "faint" }, "[", bdi(task.key), "]")]];

// -- the pages -------------------------------------------------------------------------------------------------------

const PAGES = {
  "": ["Overview", async () => {
    const data = await get("/data/overview"), whole = {};
    for (const { counts } of Object.values(data.names))
      for (const [status, many] of Object.entries(counts)) whole[status] = (whole[status] ?? 0) + many;
    const held = data.holds.includes("");
    const names = Object.entries(data.names).map(([name, its]) => ({ name, ...its })).sort((a, b) => (b.left > 0) - (a.left > 0) || sum(b.counts) - sum(a.counts));
    const all = new URLSearchParams(location.search).has("all");
    const rate = names.reduce((total, its) => total + its.rate, 0), left = sum(whole, (s) => !isEnd(s));
    return [
      head("Overview", may() && (held ? button("let_go", { name: "" }, "Resume the file", { class: "main" })
        : button("hold", { name: "" }, "Pause the file", { class: "" }))),
      data.health !== "ok" && h("p", { class: "why failed" }, bdi(data.health)),
      held && h("p", { class: "why paused" }, "The whole file is paused: what runs goes on to its end, and nothing begins."),
      section(tasksOf(sum(whole)), [h("span", { class: "faint" },
        left ? n(left) + " to do" : "nothing to do", rate ? ", " + perSecond(rate) : "",
          data.seconds_left ? `, about ${duration(data.seconds_left)} left` : "")],
        bar(whole, true), h("div", { class: "legend" },
          order(whole).map(([status, many]) => chip(status, to("/tasks", { status }), many)))),
      section("Names", null, table("Counts by name",
        [["Name", "name", true], ["", "bars"], ["Tasks", "n"], ["To do", "n"], ["Failed", "n"], ["Rate", "n"], ["Left", "n"],
          ["", "fit"]],
        (all ? names : names.slice(0, FEW)).map((its) => {
          const failed = sum(its.counts, (s) => phaseOf(s) === "failed"), holds = data.holds.includes(its.name);
          return [its.name, [link(to("/tasks", { name: its.name }), bdi(its.name)),
            holds && h("span", { class: "chip paused" }, " ", h("i", {}, session.signs.paused), "paused")],
            bar(its.counts), n(sum(its.counts)), its.left ? n(its.left) : "",
              failed ? link(to("/tasks", { name: its.name, phase: "failed" }), n(failed)) : "",
            its.rate ? perSecond(its.rate) : "", its.seconds_left ? duration(its.seconds_left) : "",
            may() && (its.left > 0 || holds) ? button(holds ? "let_go" : "hold", { name: its.name }, holds ? "Resume" : "Pause",
              { "aria-label": `${holds ? "Resume" : "Pause"} ${plain(its.name)}` }) : null];
        })), !all && names.length > FEW && link("/?all=1", `All ${n(names.length)} names`)),
      section("Running now", null, data.running.length ? table("What runs now",
        [["Task", "fit"], ["Name", "name", true], ["Progress", "bars", true], ["Saying", "text", true], ["For", "n"],
          ["Worker", ""], ["", "fit"]],
        data.running.map((task) => [task.id, taskLink(task.id), named(task), progress(task), saying(task), lasted(task.started_at),
          h("span", { class: "faint small" }, bdi(task.worker)),
            may() && button("cancel", { where: { id: [task.id] } }, "Cancel", { "aria-label": `Cancel task ${task.id}` })]))
        : empty("Nothing runs.")),
      section("Failed", [data.failures.length > 0 && h("span", { class: "faint" },
        `the newest ${n(data.looked_at)}, by what was said`)],
        data.failures.length ? table("What failed, by its error",
          [["Tasks", "n fit"], ["Name", "name", true], ["Error", "text", true], ["Last", "fit"], ["", "fit"]],
          data.failures.slice(0, all ? undefined : FEW).map((group) => [group.name + group.error, n(group.ids.length),
            bdi(group.name), h("span", { class: "clamp" }, bdi(group.error || "without a word")),
            ago(group.last), h("span", { class: "row" },
              link(group.ids.length > 40 ? to("/tasks", { name: group.name, phase: "failed" }) : to("/tasks", { id: group.ids }),
                "Show"),
              may() && button("rerun", { where: { id: group.ids } }, "Rerun",
                { "aria-label": `Rerun ${group.ids.length} of ${plain(group.name)}` }))]))
          : empty("Nothing failed."), !all && data.failures.length > FEW && link("/?all=1",
            `All ${n(data.failures.length)} kinds`)),
    ];
  }],

  tasks: ["Tasks", async (_, query) => {
    const asked = new URLSearchParams(query);
    const data = await get("/data/tasks?" + asked);
    const empties = data.tasks.length === 0 && data.below != null;
    if (empties && further < 40) further += 1; // the server looks for a moment only: go on from where it came to
    if (empties && further < 40) return [...(await PAGES.tasks[1](null, withBelow(asked, data.below)))];
    further = 0;
    const said = Object.fromEntries(FILTERS.map((name) => [name, asked.getAll(name)]).filter(([, values]) => values.length));
    const where = Object.keys(said).length ? said : { phase: Object.keys(session.signs) };
    const about = picked.size ? `${n(picked.size)} picked` : Object.keys(said).length ? "all that match" : "the whole file";
    return [
      head("Tasks", may() && [h("span", { class: "faint small" }, about + ":"),
        ...["rerun", "cancel", "pause", "resume"].map((verb) =>
        button(verb, { where, picks: true }, capital(verb) + "…", { class: "" }))]),
      filters("/tasks", asked, true),
      data.tasks.length ? table("Tasks, the newest first",
        [...(may() ? [[h("input", { type: "checkbox", id: "pick-all", "data-pick": "all", "aria-label": "Pick all of this list",
          checked: data.tasks.length > 0 && data.tasks.every((task) => picked.has(task.id)) }),
          "fit"]] : []),
          ["Task", "fit"], ["Status", "fit", true], ["Name", "name", true], ["Arguments", "text", true], ["Saying", "text", true],
            ["Submitted", "n"], ["Took", "n"]],
        data.tasks.map((task) => [task.id, ...(may() ? [pick(task.id)] : []), taskLink(task.id), chip(task.status), named(task),
          h("code", { class: "clamp one" }, bdi(called(task.args))), [progress(task), saying(task)], ago(task.submitted_at),
            took(task)])) : empty("No task matches."),
      h("nav", { class: "row", "aria-label": "More tasks" }, asked.has("below") && link(without(asked, "below"), "Newest"),
        data.below != null && link("/tasks?" + withBelow(asked, data.below),
          data.tasks.length < 100 ? `Look on, below #${data.below}` : "Older")),
    ];
  }],

  task: [null, async (id) => {
    const data = await get("/data/task?id=" + encodeURIComponent(id) + (location.search.includes("whole") ? "&whole=1" : ""));
    const task = data.task, ended = task.finished_at != null, where = { id: [task.id] };
    const cutOff = [task.args, task.kwargs, task.result, task.message,
      task.last_error].some((text) => / characters\)$/.test(text ?? ""));
    return [
      h("div", { class: "head" }, h("h1", { tabindex: -1 }, `#${task.id} `, bdi(task.name)),
        h("div", { class: "row" }, chip(task.status),
        may() && [ended && button("rerun", { where, downstream: true }, "Rerun…", { class: "" }),
          !ended && task.phase !== "paused" && button("pause", { where, once: true }, "Pause", { class: "" }),
          task.phase === "paused" && button("resume", { where, once: true }, "Resume", { class: "" }),
          !ended && button("cancel", { where }, "Cancel…", { class: "" }),
          !ended && !data.job && button("signal", { id: task.id,
            name: task.waiting_for?.startsWith("signal ") ? task.waiting_for.slice(7) : "" }, "Signal…", { class: "" })])),
      h("p", { class: "why " + task.phase }, bdi(data.explanation)),
      h("ol", { class: "life", "aria-label": "Its life" }, life(task)),
      task.progress != null && !ended && progress(task),
      h("div", { class: "two" },
        section("What it is", null, facts({
          "Name": link(to("/tasks", { name: task.name }), bdi(task.name)), "Key": task.key && bdi(task.key),
            "Says": task.message && bdi(task.message),
          "Step": task.step && bdi(task.step), "Worker": task.worker && link(to("/tasks", { worker: task.worker }),
            bdi(task.worker)),
          "Part of": task.parent_id && taskLink(task.parent_id),
            "Tags": task.tags.length && task.tags.map((tag) => [link(to("/tasks", { tag }), bdi(tag)), " "]),
          "Priority": task.priority || null, "Attempts": task.attempts
            && `${task.attempts}${task.max_attempts == null ? "" : `, ${task.failures} of ${task.max_attempts} failed`}`,
          "Lapses": task.lapses || null, "Waits for": task.waiting_for && bdi(task.waiting_for),
          "Asked to stop": ago(task.cancel_requested_at), "Error": task.last_error && bdi(task.last_error),
        })),
        section("What went in and came out", [cutOff && link("?whole=1", "Show all of it")],
          value("Arguments", task.args === "()" ? null : task.args), value("By name", task.kwargs === "{}" ? null : task.kwargs),
          value(ended ? "Result" : "Result so far", task.result),
            task.args === "()" && task.kwargs === "{}" && task.result == null && empty("Nothing."))),
      data.attempts.length > 0 && section("Attempts",
        [data.unshown.attempts > 0 && `the newest; ${n(data.unshown.attempts)} earlier ones`], table("Attempts",
        [["", "fit"], ["Outcome", "fit", true], ["Began", "fit"], ["Took", "n"], ["Worker", ""], ["Error", "text", true]],
        data.attempts.map((its) => [its.number, String(its.number), chip(its.outcome), ago(its.started_at),
          its.outcome === "running" ? lasted(its.started_at) : lasted(its.started_at, its.finished_at ?? its.started_at),
            bdi(its.worker),
          its.traceback ? h("details", { "data-key": "t" + its.number }, h("summary", {}, bdi(its.error)),
            h("pre", { tabindex: 0 }, block(its.traceback))) : bdi(its.error)]))),
      data.steps.length > 0 && section("Steps", [data.unshown.steps > 0 && `the newest; ${n(data.unshown.steps)} earlier ones`],
        table("Steps",
        [["Step", "", true], ["Result", "text", true], ["Began", "fit"], ["Took", "n"]],
        data.steps.map((step, i) => [i, bdi(step.name), h("code", { class: "clamp" }, bdi(step.result)), ago(step.started_at),
          lasted(step.started_at, step.finished_at)]))),
      data.log.length > 0 && section("Log", [h("span", { class: "faint" }, "follows while you are at its end")],
        h("pre", { class: "log", tabindex: 0, id: "log", "aria-label": "Log" },
        data.log.map((line) => h("div", {}, h("span", { class: "at" }, new Date(line.at * 1000).toLocaleTimeString("sv") + " "),
          line.level !== "INFO" && h("b", { class: ["ERROR", "CRITICAL", "WARNING"].includes(line.level) ? "failed" : "" },
            plain(line.level) + " "), block(line.text))))),
      (data.upstream.length > 0 || data.downstream.length > 0 || data.children.length > 0) && section("Around it",
        [link(to("/graph", { task: task.id }), "Graph"), link(to("/timeline", { task: task.id }), "Timeline")],
          picture("graph", { task: task.id }, `What task ${task.id} is connected to`)),
      data.children.length > 0 && section("Children", [link(to("/tasks", { parent: task.id }), "All of them")],
        bar({ ...data.tally, open: data.open }), h("div", { class: "legend" }, order(data.tally).map(([status, many]) =>
          chip(status, to("/tasks", { parent: task.id, status }), many))), table("Children, the newest first",
        [["Task", "fit"], ["Status", "fit", true], ["Name", "name", true], ["Saying", "text", true]],
          data.children.map((its) => [its.id, taskLink(its.id), chip(its.status), named(its), [progress(its), saying(its)]]))),
      (data.upstream.length > 0 || data.downstream.length > 0) && h("div", { class: "two" },
        section("Depends on", null, data.upstream.length ? edges("What it depends on", data.upstream) : empty("Nothing.")),
        section("Needed by", null, data.downstream.length ? edges("What depends on it", data.downstream) : empty("Nothing."))),
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
      ...[...pipelines].map(([name, jobs]) => {
        const steps = [...new Set(jobs.flatMap((job) => job.members.map((its) => its.name.slice(name.length + 1))))];
        return section("Pipeline " + plain(name), [h("span", { class: "faint" }, tasksOf(jobs.length).replace("task", "subject"))],
          table("Pipeline " + plain(name),
          [["Subject", ""], ["", "fit"], ...steps.map((step) => [plain(step), ""])],
          jobs.map((job) => [job.id, taskLink(job.id, bdi(job.key)), chip(job.status), ...steps.map((step) => {
            const its = job.members.find((one) => one.name === name + "." + step);
            return its ? chip(its.status, "/task/" + its.id) : null;
          })]), { class: "matrix" }));
      }),
      section("Jobs, and tasks with children", null, rest.length ? table("Jobs",
        [["Task", "fit"], ["Status", "fit", true], ["Name", "name", true], ["", "bars"], ["Ended", "n"], ["Submitted", "n"],
          ["Took", "n"], ["", "fit"]],
        rest.map((job) => [job.id, taskLink(job.id), chip(job.status), named(job),
          bar({ ...(sum(job.tally) ? job.tally : { succeeded: job.children - job.open }), open: job.open }),
          `${n(job.children - job.open)} of ${n(job.children)}`, ago(job.submitted_at),
            lasted(job.started_at ?? job.submitted_at, job.finished_at),
          h("span", { class: "row" }, link(to("/timeline", { task: job.id }), "Timeline"),
            link(to("/graph", { task: job.id }), "Graph"))])) : empty("There are none here.")),
      h("nav", { class: "row", "aria-label": "More jobs" }, asked.has("below") && link("/jobs", "Newest"),
        data.below != null && link(to("/jobs", { below: data.below }), "Older")),
    ];
  }],

  graph: ["Graph", async (_, query) => pictured("graph", "What depends on what", query)],
  timeline: ["Timeline", async (_, query) => pictured("timeline", "What ran when, by worker", query)],

  schedules: ["Schedules", async () => {
    const data = await get("/data/schedules");
    const of = (name) => name.startsWith("name:") ? ["at most so many run of ", bdi(name.slice(5))] : bdi(name);
    return [
      head("Schedules and limits"),
      section("Schedules", null, data.schedules.length ? table("Schedules",
        [["Name", "name", true], ["When", ""], ["Next", "fit"], ["Last", "fit"], ["", "fit"]],
        data.schedules.map((its) => [its.name, bdi(its.name),
          its.cron ? [h("code", {}, bdi(its.cron)), " ", h("span", { class: "faint" }, bdi(its.tz ?? "UTC"))]
            : "every " + duration(its.every),
          its.enabled ? ago(its.next_at) : h("span", { class: "faint" }, "off"),
            [ago(its.last_at), its.last_task && [" ", taskLink(its.last_task)]],
          may() && h("span", { class: "row" }, button("trigger", { name: its.name }, "Trigger",
            { "aria-label": `Trigger ${plain(its.name)}` }),
            button(its.enabled ? "disable" : "enable", { name: its.name }, its.enabled ? "Disable" : "Enable",
              { "aria-label": `${its.enabled ? "Disable" : "Enable"} ${plain(its.name)}` }),
            its.every != null && button("every", { name: its.name, every: String(its.every) }, "Period…",
              { "aria-label": `Change the period of ${plain(its.name)}` }))])) : empty("There are none.")),
      section("Limits", [may() && button("limit", { name: "", value: 1 }, "New limit…")],
        data.limits.length ? table("Limits", [["Of what", "", true], ["How much", "n"], ["In the code", "n"], ["", "fit"]],
        data.limits.map((its) => [its.name, of(its.name), its.value == null ? "no end" : n(its.value),
          its.given == null ? "" : n(its.given),
          may() && button("limit", its, "Change…", { "aria-label": `Change the limit of ${plain(its.name)}` })]))
            : empty("There are none.")),
      data.rates.length > 0 && section("Rates", null,
        table("Rates", [["Name", "name", true], ["Starts", ""]],
          data.rates.map((its) => [its.name, bdi(its.name), `${n(its.n)} in ${duration(its.period)}`]))),
      section("Paused", [may() && button("hold", { name: null, names: data.names }, "Pause a name…")],
        data.holds.length ? table("What is paused", [["Name", "name", true], ["", "fit"]],
        data.holds.map((name) => [name, name === "" ? "the whole file" : bdi(name),
          may() && button("let_go", { name }, "Resume", { "aria-label": `Resume ${name === "" ? "the file" : plain(name)}` })]))
            : empty("Nothing is.")),
    ];
  }],
};

const head = (title, more) => h("div", { class: "head" }, h("h1", { tabindex: -1 }, title), h("div", { class: "row" }, more || []));
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const perSecond = (rate) => rate >= 10 ? n(Math.round(rate)) + "/s" : rate >= 0.1 ? rate.toFixed(1) + "/s"
  : n(Math.round(rate * 3600)) + "/h";
const withBelow = (asked, below) => { const next = new URLSearchParams(asked); next.set("below", below); return next.toString(); };
const without = (asked,
  name) => { const next = new URLSearchParams(asked); next.delete(name); return location.pathname + (next.size ? "?" + next
    : ""); };
const called = (text) => text === "[[],{}]" ? "" : text.replace(/^\[\[(.*)\],\{\}\]$/s, "$1");
const pick = (id) => { const box = h("input", { type: "checkbox", "data-pick": id,
  "aria-label": `Pick task ${id}` }); box.checked = picked.has(id); return box; };
const value = (title, text) => text == null ? null : h("div", {}, h("p", { class: "faint small" }, title),
  h("pre", { tabindex: 0, "aria-label": title }, block(text)));
const facts = (all) => h("dl", {},
  Object.entries(all).filter(([, its]) => its).map(([name, its]) => [h("dt", {}, name), h("dd", {}, its)]));
const edges = (title, rows) => table(title, [["Task", "fit"], ["Status", "fit", true], ["Name", "name", true], ["Wanted", ""]],
  rows.map((edge) => [edge.id, taskLink(edge.id), chip(edge.status), bdi(edge.name),
    [bdi(edge.on), edge.met ? "" : edge.otherwise === "skip" ? "" : h("span", { class: "faint" }, ", else " + edge.otherwise)]]));

function life(task) {
  const steps = [["Submitted", task.submitted_at, "waiting"]];
  if (task.first_started_at != null) steps.push(["First begun", task.first_started_at, "running"]);
  if (task.started_at != null && task.started_at !== task.first_started_at) steps.push(["Begun again", task.started_at, "running"]);
  if (task.finished_at != null) steps.push([capital(plain(task.status)), task.finished_at, task.phase]);
  else if (task.phase !== "running" || task.started_at == null) steps.push([capital(plain(task.status)), task.greenfield > now()
    ? task.greenfield : null, task.phase]);
  return steps.map(([name, at, phase], i) => h("li", { class: phase }, h("b", {}, name), h("br"),
    h("span", { class: "faint small" }, at == null ? "now" : ago(at),
    i && at != null && steps[i - 1][1] != null && at <= now() ? `, after ${duration(at - steps[i - 1][1])}` : "")));
}

const FIELDS = { name: "Name", phase: "Phase", status: "Status", tag: "Tag", key: "Key", worker: "Worker", parent: "Part of #" };
function filters(place, asked, whole) {
  const statuses = Object.keys(session.phases);
  const options = { phase: statuses.filter((status) => status in session.signs), status: statuses };
  const others = FILTERS.filter((name) => !(name in FIELDS) && name !== "hidden").concat("task").filter((name) => asked.has(name));
  return h("form", { class: "filters", "data-place": place, role: "search", "aria-label": "Which tasks" },
    Object.entries(FIELDS).filter(([name]) => whole || !["key", "worker", "status"].includes(name)).map(([name, label]) => {
      const now = asked.getAll(name);
      if (!options[name]) return h("label", { class: "field" }, label,
        h("input", { name, value: now.join(","), autocomplete: "off", spellcheck: "false" }));
      const select = h("select", { name }, h("option", { value: "" }, "any"),
        options[name].map((one) => h("option", { value: one, selected: now.includes(one) }, plain(one))));
      if (now.length > 1) select.prepend(h("option", { value: now.join(","), selected: true }, now.map(plain).join(", ")));
      return h("label", { class: "field" }, label, select);
    }),
    others.map((name) => h("input", { type: "hidden", name, value: asked.getAll(name).join(",") })),
    others.length > 0 && h("p", { class: "small" },
      others.map((name) => `${name.replaceAll("_", " ")}: ${asked.getAll(name).slice(0, 5).join(", ")}${asked.getAll(name).length > 5 ? " …" : ""} `)),
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
  return [head(capital(kind), [button("save", kind + ".svg", "Save the picture", { class: "" }),
    button("redraw", null, "Draw anew", { class: "" })]), filters("/" + kind, asked, false), picture(kind, said, what, true)];
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
    for (const { name } of [...own.attributes]) if (!fresh.hasAttribute(name) && name !== "open"
      && name !== "style" && name !== "src") own.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (own.getAttribute(name) !== value) name === "style"
      ? (own.style.flexGrow = fresh.style.flexGrow) : own.setAttribute(name, value);
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
function go(address, replace) {
  further = 0;
  if (!replace) history.replaceState({ y: scrollY }, ""); // where the way back leads to
  history[replace ? "replaceState" : "pushState"](null, "", address);
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
    h("p", { class: "row" }, h("button", { type: "button", id: "dialog-no" }, "No, leave it"),
      label && h("button", { type: "submit", class: "main", id: "dialog-yes" }, label)));
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
  form.querySelector("#dialog-no").addEventListener("click", () => dialog.close());
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal();
  (form.querySelector("input:not([type=checkbox]), textarea") ?? form.querySelector("#dialog-yes") ?? form.querySelector("#dialog-no")).focus();
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
  const said = {};
  for (const [name, text] of new FormData(event.target)) said[name] = name === "name" || name === "key" || name === "worker"
    || name === "tag" ? text.trim() : text.split(",").filter(Boolean);
  go(to(place, said));
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
