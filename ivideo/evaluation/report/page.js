"use strict";

// Plots: what is pointed at, or reached by arrow keys, is read out below.
for (const plot of document.querySelectorAll("svg.plot[tabindex]")) {
  const stops = [...plot.querySelectorAll(".stop")];
  const texts = stops.map((stop) => stop.querySelector("title").textContent);
  const readout = plot.parentElement.querySelector(".readout");
  let at = stops.length - 1;
  readout.setAttribute("aria-live", "polite");
  const read = (place) => {
    stops[at].classList.remove("at");
    at = Math.min(Math.max(place, 0), stops.length - 1);
    stops[at].classList.add("at");
    readout.textContent = texts[at];
  };
  stops.forEach((stop, place) => {
    stop.querySelector("title").remove(); // the browser would show it a second time
    stop.addEventListener("pointerenter", () => read(place));
  });
  plot.addEventListener("focus", () => read(at));
  plot.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: stops.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });
}

// Clips: one clock for all of them; a shorter clip waits at its end.
const controls = document.querySelector(".controls");
if (controls) {
  const clips = [...document.querySelectorAll(".clip")].map((figure) => ({
    figure,
    sheet: figure.querySelector("img"),
    screens: [...figure.querySelectorAll("canvas")],
    frames: Number(figure.dataset.frames),
    context: Number(figure.dataset.context),
    columns: Number(figure.dataset.columns),
  }));
  const [play, slider, frame, speed] = controls.children;
  const frames = Math.max(...clips.map((clip) => clip.frames));
  const context = clips[0].context;
  let timer = 0;

  const show = (clip, wanted) => {
    const at = Math.min(wanted, clip.frames - 1);
    const column = at % clip.columns;
    const block = (at - column) / clip.columns;
    clip.screens.forEach((screen, row) => {
      const { width, height } = screen;
      const y = (block * clip.screens.length + row) * height;
      screen.getContext("2d").drawImage(clip.sheet, column * width, y, width, height, 0, 0, width, height);
    });
    clip.figure.classList.toggle("given", at < clip.context);
  };
  const seek = (wanted) => {
    slider.value = wanted;
    const kind = wanted < context ? `context ${wanted + 1} of ${context}` :
      `imagined ${wanted + 1 - context} of ${frames - context}`;
    frame.textContent = kind;
    slider.setAttribute("aria-valuetext", kind);
    for (const clip of clips) show(clip, wanted);
  };
  const start = () => {
    clearInterval(timer);
    timer = setInterval(() => seek((Number(slider.value) + 1) % frames), 1000 / Number(speed.value));
    play.textContent = "Pause";
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };

  slider.max = frames - 1;
  slider.style.setProperty("--context", `${(100 * Math.max(context - 0.5, 0)) / Math.max(frames - 1, 1)}%`);
  slider.addEventListener("input", () => {
    stop();
    seek(Number(slider.value));
  });
  play.addEventListener("click", () => (timer ? stop() : start()));
  speed.addEventListener("change", () => timer && start());
  Promise.all(clips.map((clip) => clip.sheet.decode())).then(() => {
    controls.hidden = false;
    for (const clip of clips) {
      clip.figure.querySelector(".screens").hidden = false;
      clip.figure.querySelector("details").open = false;
    }
    seek(0);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (frames > 1 && !calm) start();
  });
}

// The command, to be copied; the card, to be saved.
for (const box of document.querySelectorAll(".command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(box.querySelector("code"));
    try {
      await navigator.clipboard.writeText(box.querySelector("code").textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
  });
  box.append(button);
}
const download = document.getElementById("download");
const card = document.getElementById("card").textContent;
download.href = URL.createObjectURL(new Blob([card], { type: "application/json" })); // addresses with data end at 2 MB
download.hidden = false;
