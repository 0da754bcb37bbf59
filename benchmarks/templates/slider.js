"use strict";
(() => {
  const slider = document.getElementById("slider");
  const pair = document.getElementById("pair");
  if (!pair || pair.options.length === 0) return;
  const box = document.getElementById("compare");
  const input = box.querySelector("input");
  const show = () => box.style.setProperty("--at", `${input.value}%`);
  const choose = () => {
    const { left, right, words } = pair.selectedOptions[0].dataset;
    const names = words.split("|");
    [["left", left, names[0]], ["right", right, names[1]]].forEach(([side, id, name]) => {
      const picture = document.getElementById(id);
      const shown = box.querySelector(`img.${side}`);
      shown.src = picture.src;
      shown.alt = picture.alt;
      shown.width = picture.width;
      shown.height = picture.height;
      box.querySelector(`.tag.${side}`).textContent = name;
    });
  };
  const moveTo = (event) => {
    const { left, width } = box.getBoundingClientRect();
    input.value = 100 * (event.clientX - left) / width;
    show();
  };
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    input.focus({ preventScroll: true });
    moveTo(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) moveTo(event);
  });
  input.addEventListener("input", show);
  pair.addEventListener("change", choose);
  choose();
  show();
  slider.hidden = false;
})();
