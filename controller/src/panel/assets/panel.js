// Makes pages live. Everything also works without: forms are sent and pages loaded as ever.
"use strict";
(() => {
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");

  // What the server last said of each part, to see whether it says something else now.
  const said = new WeakMap();
  const source = (element) => said.get(element) ?? element.outerHTML;

  const isEdited = (element) =>
    [...element.querySelectorAll("input:not([type=hidden]):not([type=checkbox]), textarea")].some(
      (field) => field.value !== field.defaultValue,
    );

  function adopt(element) {
    const fresh = document.importNode(element, true);
    said.set(fresh, element.outerHTML);
    return fresh;
  }

  // Ticks, the focus and open details outlive the replacement of what is around them.
  function replace(old, fresh) {
    // Not the element that describes the one with the focus.
    const place = (node) => {
      const described = node?.getAttribute("aria-describedby");
      return node?.id ? `#${node.id}` : described ? `described by ${described}` : null;
    };
    const active = old.contains(document.activeElement) ? place(document.activeElement) : null;
    const ticked = new Set([...old.querySelectorAll("input[type=checkbox][value]:checked")].map((box) => box.value));
    const node = adopt(fresh);
    old.replaceWith(node);
    for (const box of node.querySelectorAll("input[type=checkbox][name=node]")) box.checked = ticked.has(box.value);
    if (active) {
      const again = [...node.querySelectorAll("[id], [aria-describedby]")].find((other) => place(other) === active);
      again?.focus({ preventScroll: true });
    }
  }

  function renew(page) {
    for (const part of page.querySelectorAll("[data-part]")) {
      const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old || isEdited(old)) continue;
      if (part.tagName === "TBODY") renewRows(old, part);
      else if (source(old) !== part.outerHTML) replace(old, part);
    }
    prepare();
  }

  function renewRows(old, fresh) {
    const known = new Map([...old.children].map((row) => [row.id, row]));
    let before = null;
    for (const row of fresh.children) {
      const same = known.get(row.id);
      known.delete(row.id);
      let node = same;
      if (!same) node = adopt(row);
      else if (source(same) !== row.outerHTML) {
        replace(same, row);
        node = document.getElementById(row.id);
      }
      const next = before ? before.nextElementSibling : old.firstElementChild;
      if (next !== node) old.insertBefore(node, next);
      before = node;
    }
    for (const row of known.values()) row.remove();
  }

  function say(page) {
    const fresh = page.getElementById("notice");
    const here = document.getElementById("notice");
    if (!fresh || !here) return;
    here.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
    prepare();
    if (here.firstElementChild) here.scrollIntoView({ block: "nearest" });
  }

  // A page that takes long to make, or comes often, is asked for less often: changes may come faster than anybody reads.
  const REST = 5;
  let loading = false;
  let again = false;
  let rested = 0;
  async function refresh() {
    if (loading) { again = true; return; }
    loading = true;
    const started = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "Tombolo-Refresh": "1" } });
      if (answer.redirected) location.reload();
      else if (answer.ok) renew(parse(await answer.text()));
    } catch { /* The stream of events finds the controller again. */ }
    loading = false;
    rested = performance.now() + Math.max(200, REST * (performance.now() - started));
    if (again) { again = false; later(0); }
  }

  let due;
  let at = Infinity;
  function later(wait) {
    const when = Math.max(performance.now() + wait, rested);
    if (when >= at) return;
    clearTimeout(due);
    at = when;
    due = setTimeout(() => { at = Infinity; refresh(); }, when - performance.now());
  }

  async function send(form, button) {
    const fields = new URLSearchParams(new FormData(form));
    button?.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.action, { method: "POST", body: fields });
      const page = parse(await answer.text());
      const there = new URL(answer.url);
      if (answer.redirected && there.pathname !== location.pathname) { location.assign(there); return; }
      if (answer.ok && !form.matches("[data-keep]")) { form.reset(); for (const output of form.querySelectorAll("output")) output.textContent = ""; }
      say(page);
      // What the form was answered with may show another page of the list.
      if (page.querySelector("[data-part]")) await refresh();
    } catch { form.submit(); }
    button?.removeAttribute("aria-busy");
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.matches("[data-plain]") || form.action.endsWith("/sign-out")) return;
    event.preventDefault();
    if (event.submitter?.name) {
      const chosen = document.createElement("input");
      chosen.type = "hidden";
      chosen.name = event.submitter.name;
      chosen.value = event.submitter.value;
      form.append(chosen);
      send(form, event.submitter);
      chosen.remove();
    } else send(form, event.submitter);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy);
    try { await navigator.clipboard.writeText(text.textContent); } catch {
      // Without TLS there is no clipboard for scripts but this one.
      getSelection().selectAllChildren(text);
      document.execCommand("copy");
    }
    const label = button.textContent;
    if (label === button.dataset.done) return;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 1500);
  });

  function prepare() {
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
    for (const time of document.querySelectorAll("time[datetime]")) {
      time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang);
    }
  }

  function watch(address) {
    const events = new EventSource(address);
    const network = /^\/networks\/([0-9a-f]{16})/.exec(location.pathname)?.[1];
    const concerns = (event) => {
      try { return !network || !event.data || JSON.parse(event.data).network === network; } catch { return true; }
    };
    let first = true;
    events.addEventListener("open", () => { if (!first) later(100); first = false; document.documentElement.dataset.watching = ""; });
    for (const kind of ["changed", "requests", "deleted", "online", "lagged"]) {
      events.addEventListener(kind, (event) => { if (concerns(event)) later(100); });
    }
    // Reports of links come all the time: each page says how many seconds it can wait.
    events.addEventListener("links", (event) => {
      const wait = document.querySelector("[data-links]")?.dataset.links;
      if (wait && concerns(event)) later(1000 * wait);
    });
  }

  // What a prefix becomes without its host bits, while it is typed.
  function groups(text) {
    if (text.includes(".")) {
      const bytes = text.split(".");
      return bytes.length === 4 && bytes.every((byte) => /^\d{1,3}$/.test(byte) && byte < 256) ? { bits: 8, parts: bytes.map(Number) } : null;
    }
    const halves = text.split("::");
    if (halves.length > 2) return null;
    const [head, tail] = halves.map((half) => (half ? half.split(":") : []));
    const missing = 8 - head.length - (tail?.length ?? 0);
    if (tail ? missing < 1 : missing !== 0) return null;
    const words = [...head, ...Array(missing).fill("0"), ...(tail ?? [])];
    return words.every((word) => /^[0-9a-f]{1,4}$/i.test(word)) ? { bits: 16, parts: words.map((word) => parseInt(word, 16)) } : null;
  }
  function normalized(text) {
    const [, address, length] = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(text.trim()) ?? [];
    const known = address && groups(address);
    if (!known || length > known.bits * known.parts.length) return null;
    const full = 2 ** known.bits - 1;
    const parts = known.parts.map((part, index) => {
      const kept = Math.min(known.bits, Math.max(0, length - index * known.bits));
      return part & (full << (known.bits - kept)) & full;
    });
    if (parts.every((part, index) => part === known.parts[index])) return null;
    if (known.bits === 8) return `${parts.join(".")}/${length}`;
    const words = parts.map((part) => part.toString(16)).join(":");
    return `${words.replace(/(^|:)0(:0)+(:|$)/, "::")}/${length}`;
  }
  document.addEventListener("input", (event) => {
    const output = document.querySelector(`output[data-normalized][for="${event.target.id}"]`);
    if (!output) return;
    const becomes = normalized(event.target.value);
    output.textContent = becomes ? `${output.dataset.normalized} ${becomes}` : "";
  });

  // Before anything is touched: this is what the server said.
  for (const part of document.querySelectorAll("[data-part], tbody[data-part] > *")) said.set(part, part.outerHTML);
  prepare();
  const live = document.body.dataset.live;
  if (live && document.querySelector("[data-part]")) watch(live);
})();
