"use strict";
// Before the page is drawn, so that it does not flash in the other theme.
const themeStore = {
  read() {
    try { return localStorage.getItem("rvm-trt-theme"); } catch { return null; }  // refused for files by some browsers
  },
  write(theme) {
    try { localStorage.setItem("rvm-trt-theme", theme); } catch { /* then it lasts as long as the page */ }
  },
};
const darkWanted = matchMedia("(prefers-color-scheme: dark)");
const themeNow = () => document.documentElement.dataset.theme ?? (darkWanted.matches ? "dark" : "light");
const keptTheme = themeStore.read();
if (keptTheme === "dark" || keptTheme === "light") document.documentElement.dataset.theme = keptTheme;
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const tell = () => button.setAttribute("aria-pressed", String(themeNow() === "dark"));
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = themeNow() === "dark" ? "light" : "dark";
    themeStore.write(document.documentElement.dataset.theme);
    tell();
  });
  darkWanted.addEventListener("change", tell);
  button.hidden = false;
  tell();
});
