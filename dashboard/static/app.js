// On every page: theme and text size, kept in a cookie so that the server shows the page right at once.

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
