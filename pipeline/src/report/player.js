// Plays episodes: one JPEG sheet of frames drawn to a canvas, and the actions on a drawn gamepad.
// Per player: data-frames, data-columns, data-size (pixels of a frame), data-hz, data-actions (base64, 16 bytes a step).
"use strict";
const COMPONENTS = 16, CENTRE = 5, NAMES = ["a", "b", "x", "y", "lb", "rb", "lt", "rt", "up", "down", "l3", "r3"];

function mount(root) {
  const { frames, columns, size, hz } = Object.fromEntries(
    ["frames", "columns", "size", "hz"].map((key) => [key, Number(root.dataset[key])]));
  const actions = Uint8Array.from(atob(root.dataset.actions), (c) => c.charCodeAt(0));
  const find = (selector) => root.querySelector(selector);
  const [sheet, canvas, play, slider, clock, speed] =
    ["img", "canvas", ".play", "input", "output", "select"].map(find);
  const context = canvas.getContext("2d");
  const parts = NAMES.map((name) => root.querySelectorAll(`[data-part="${name}"]`));
  const dots = ["left", "right"].map((name) => find(`[data-stick="${name}"]`));
  let frame = 0, playing = false, previous = 0;

  function draw() {
    const at = Math.min(frames - 1, Math.floor(frame));
    context.drawImage(sheet, (at % columns) * size, Math.floor(at / columns) * size, size, size, 0, 0, size, size);
    const action = actions.subarray(at * COMPONENTS, (at + 1) * COMPONENTS);
    parts.forEach((nodes, i) => nodes.forEach((node) => node.classList.toggle("on", action[i] === 1)));
    dots.forEach((dot, i) => {
      const [x, y] = [action[12 + 2 * i] - CENTRE, action[13 + 2 * i] - CENTRE];
      dot.setAttribute("transform", `translate(${x * 3.2} ${-y * 3.2})`);
    });
    slider.value = at;
    clock.textContent = `${(at / hz).toFixed(1)} / ${((frames - 1) / hz).toFixed(1)} s`;
  }
  function tick(now) {
    if (!playing) return;
    frame += Math.min(0.25, (now - previous) / 1000) * hz * Number(speed.value);
    previous = now;
    if (frame >= frames) { frame = frames - 1; toggle(false); }
    draw();
    if (playing) requestAnimationFrame(tick);
  }
  function toggle(on) {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    if (on) {
      if (frame >= frames - 1) frame = 0;
      previous = performance.now();
      requestAnimationFrame(tick);
    }
  }
  function step(by) {
    toggle(false);
    frame = Math.max(0, Math.min(frames - 1, Math.floor(frame) + by));
    draw();
  }
  play.onclick = () => toggle(!playing);
  find(".back").onclick = () => step(-1);
  find(".next").onclick = () => step(1);
  slider.oninput = () => { toggle(false); frame = Number(slider.value); draw(); };
  canvas.onclick = () => toggle(!playing);
  root.onkeydown = (event) => {
    if (event.target !== root && event.target !== canvas) return;
    const keys = { " ": () => toggle(!playing), ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  };
  sheet.decode().then(draw, draw);
}
document.querySelectorAll(".player").forEach(mount);
