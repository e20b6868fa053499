// On every page: moments in local time; theme and text size, kept in a cookie so that the server shows the page right at once.

import { moment } from "./core.js";

const root = document.documentElement;

function keep() {
  const year = 365 * 24 * 3600;
  document.cookie = `leukoscope-view=${root.dataset.theme}.${root.dataset.size}; path=/; max-age=${year}; samesite=lax`;
}

for (const name of ["theme", "size"]) {
  document.getElementById(name).addEventListener("change", (event) => {
    root.dataset[name] = event.target.value;
    keep();
  });
}

// The server writes moments in UTC and says so; whoever looks gets them in their own time.
for (const element of document.querySelectorAll("time[datetime]")) {
  element.textContent = moment(element.dateTime, { seconds: element.dataset.seconds !== undefined });
  element.title = `${element.dateTime.slice(0, 19).replace("T", " ")} UTC`;
}

const menu = document.querySelector("details.menu");
document.addEventListener("click", (event) => {
  if (menu.open && !menu.contains(event.target)) menu.open = false;
});
menu.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
