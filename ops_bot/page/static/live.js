// Keeps the page current: asks every two seconds whether anything changed (304 costs nothing), and replaces only the
// sections that did. Without this script the page is the same, as of when it was loaded.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const SLOW_MS = 15000;
  const status = document.getElementById("live");
  let version = null;
  let silent = 0;

  const said = (seconds) => {
    for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
    }
    return `${Math.max(0, Math.floor(seconds))} s`;
  };

  const tellTime = () => {
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const seconds = (Date.now() - Date.parse(element.dateTime)) / 1000;
      const text = seconds >= 0 ? `${said(seconds)} ago` : `in ${said(-seconds)}`;
      if (element.textContent !== text) element.textContent = text;
    }
  };

  // Comparing what was served, not the live document, whose times and open details have moved on.
  const served = new Map();
  const remember = (root) => {
    for (const section of root.querySelectorAll("[data-live]")) served.set(section.id, section.innerHTML);
  };

  const replace = (section, fresh) => {
    const focused = section.contains(document.activeElement) ? document.activeElement : null;
    const links = (root) => [...root.querySelectorAll("a[href], [tabindex='0'], summary")];
    const place = focused ? links(section).indexOf(focused) : -1;
    const open = [...section.querySelectorAll("details")].map((element) => element.open);
    const scrolled = [...section.querySelectorAll(".scroll, pre")].map((element) => [element.scrollLeft, element.scrollTop]);
    section.replaceChildren(...fresh.childNodes);
    [...section.querySelectorAll("details")].forEach((element, index) => { element.open = open[index] ?? false; });
    [...section.querySelectorAll(".scroll, pre")].forEach((element, index) => {
      if (scrolled[index]) [element.scrollLeft, element.scrollTop] = scrolled[index];
    });
    if (!focused) return;
    const same = focused.getAttribute("href");
    const now = links(section);
    const target = now.find((element) => same && element.getAttribute("href") === same) ?? now[place];
    if (target) target.focus({ preventScroll: true });
  };

  const show = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const headline = (root) => root.querySelector("h1")?.textContent ?? "";
    const news = headline(fresh) !== headline(document) ? headline(fresh) : "";
    for (const section of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(section.id);
      if (!other || served.get(section.id) === other.innerHTML) continue;
      served.set(section.id, other.innerHTML);
      replace(section, other);
    }
    document.title = fresh.title;
    const stamp = fresh.querySelector(".stamp time");
    if (stamp) document.querySelector(".stamp time")?.replaceWith(stamp);
    return news;
  };

  const ask = async () => {
    try {
      const headers = version ? { "If-None-Match": version } : {};
      // no-store: the answer to our own condition must reach us, not the browser's cache.
      const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin" });
      if (answer.status !== 200 && answer.status !== 304) throw new Error(String(answer.status));
      let news = "";
      if (answer.status === 200) {
        version = answer.headers.get("ETag");
        news = show(await answer.text());
      }
      silent = 0;
      if (news) status.textContent = `· live: ${news}`;
      else if (!status.textContent.startsWith("· live")) status.textContent = "· live";
      status.classList.remove("lost");
    } catch {
      silent += 1;
      if (silent === 2) {
        status.textContent = "· no answer, trying again";
        status.classList.add("lost");
      }
    }
    tellTime();
    setTimeout(later, silent > 2 ? SLOW_MS : EVERY_MS);
  };

  const later = () => {
    if (document.hidden) document.addEventListener("visibilitychange", ask, { once: true });
    else ask();
  };

  remember(document);
  setTimeout(later, EVERY_MS);
  status.textContent = "· live";
})();
