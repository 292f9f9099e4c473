// Keeps a page current without loading it again, and says how old things are now. The page is whole without it.
"use strict";
(() => {
  const EVERY_MS = 60_000;
  const MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
  let ahead = 0; // how far this clock is ahead of the server's, in ms
  let trouble = "";

  const two = (large, one, small, other) => (small ? `${large} ${one} ${small} ${other}` : `${large} ${one}`);

  // A duration as words.py says it.
  function span(seconds) {
    if (seconds < MINUTE) return `${seconds} s`;
    if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min`;
    if (seconds < 2 * DAY) return two(Math.floor(seconds / HOUR), "h", Math.floor((seconds % HOUR) / MINUTE), "min");
    return two(Math.floor(seconds / DAY), "d", Math.floor((seconds % DAY) / HOUR), "h");
  }

  const age = (time) => Math.floor((Date.now() - ahead - Date.parse(time)) / 1000);

  function tellAges() {
    for (const place of document.querySelectorAll("[data-age]")) {
      const seconds = age(place.dataset.age);
      const text = seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
      if (place.textContent !== text) place.textContent = text;
    }
    const made = document.getElementById("made").dataset;
    const old = age(made.made);
    let text = trouble;
    if (old > Number(made.stale)) {
      text = `This page is ${span(old)} old. ${trouble || "Whatever makes it has stopped, or is late: do not trust it."}`;
    }
    const late = document.getElementById("late");
    if (late.textContent !== text) late.textContent = text;
  }

  // What a reader has chosen or opened, so that a new page does not take it back.
  function remember() {
    const chosen = [...document.querySelectorAll("input:checked")].map((input) => input.id);
    const focused = document.activeElement;
    return () => {
      for (const id of chosen) {
        const input = document.getElementById(id);
        if (input) input.checked = true;
      }
      if (!focused || focused.isConnected) return;
      const links = [...document.querySelectorAll("a[href]")];
      const again = focused.id
        ? document.getElementById(focused.id)
        : links.find((link) => link.getAttribute("href") === focused.getAttribute("href"));
      if (again) again.focus({ preventScroll: true });
    };
  }

  function take(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const assets = (from) => [...from.querySelectorAll("head script[src], head link[rel=stylesheet]")]
      .map((each) => each.getAttribute("src") || each.getAttribute("href")).join();
    if (!page.getElementById("main") || !page.getElementById("made")) throw new Error("it is no page of Glidepost");
    if (assets(page) !== assets(document)) {
      // Not just after it was loaded: two servers that disagree would make us load it for ever.
      if (performance.now() > EVERY_MS / 2) location.reload();
      return;
    }
    const restore = remember();
    for (const part of ["main", "made"]) {
      const [now, then] = [page.getElementById(part), document.getElementById(part)];
      if (now.outerHTML !== then.outerHTML) then.replaceWith(document.importNode(now, true));
    }
    for (const part of ["title", "link[rel=icon]"]) {
      const [now, then] = [page.querySelector(part), document.querySelector(part)];
      if (now.outerHTML !== then.outerHTML) then.replaceWith(document.importNode(now, true));
    }
    restore();
  }

  async function refresh() {
    if (document.hidden || String(getSelection())) return;
    try {
      const answer = await fetch(location.href.split("#")[0], { cache: "no-cache" });
      if (!answer.ok) throw new Error(`the server said ${answer.status}`);
      const sent = Date.parse(answer.headers.get("date") || "") + 1000 * Number(answer.headers.get("age") || 0);
      if (!Number.isNaN(sent)) ahead = Math.abs(Date.now() - sent) > 30_000 ? Date.now() - sent : 0;
      take(await answer.text());
      trouble = "";
    } catch (error) {
      trouble = `It could not be loaded again: ${error.message}.`;
    }
    tellAges();
  }

  tellAges();
  setInterval(tellAges, 5000);
  if (location.protocol !== "file:") {
    refresh();
    setInterval(refresh, EVERY_MS);
    document.addEventListener("visibilitychange", refresh);
  }
})();
