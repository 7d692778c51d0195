// <pila-player data-fps="16" data-frames="33"> with two <video>: one set of controls for both.
// The first video leads; the second is set right whenever it is half a frame off.
customElements.define("pila-player", class extends HTMLElement {
  connectedCallback() {
    if (this.ready) return;
    this.ready = true;
    this.videos = [...this.querySelectorAll("video")];
    this.fps = Number(this.dataset.fps);
    this.frames = Number(this.dataset.frames);
    const controls = document.createElement("div");
    controls.className = "pila-controls";
    controls.setAttribute("role", "group");
    controls.setAttribute("aria-label", "Playback of both clips");
    controls.innerHTML = `
      <button type="button" class="play">Play</button>
      <button type="button" class="back" aria-label="One frame back">&minus;1</button>
      <input type="range" min="0" max="${this.frames - 1}" step="1" value="0"
             aria-label="Frame of both clips">
      <button type="button" class="on" aria-label="One frame on">+1</button>
      <output></output>
      <label>Speed <select>
        <option value="1">1</option><option value="0.5">1/2</option>
        <option value="0.25">1/4</option><option value="0.125">1/8</option>
      </select></label>
      <label><input type="checkbox" checked> Repeat</label>`;
    this.append(controls);
    const find = (name) => controls.querySelector(name);
    this.button = find(".play");
    this.slider = find("input[type=range]");
    this.output = find("output");
    this.repeat = find("input[type=checkbox]");
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    find(".back").addEventListener("click", () => this.show(this.frame() - 1));
    find(".on").addEventListener("click", () => this.show(this.frame() + 1));
    find("select").addEventListener("change", (event) => {
      for (const video of this.videos) video.playbackRate = Number(event.target.value);
    });
    this.videos[0].addEventListener("ended", () => this.ended());
    this.show(0);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!still) Promise.all(this.videos.map(loaded)).then(() => this.isConnected && this.play());
  }

  disconnectedCallback() {
    this.playing = false;
    for (const video of this.videos ?? []) video.pause();
  }

  frame() {
    return Math.min(this.frames - 1, Math.floor(this.videos[0].currentTime * this.fps + 1e-3));
  }

  // Seek to the middle of a frame: at its edge rounding would decide which one is shown.
  show(frame) {
    this.pause();
    const shown = Math.max(0, Math.min(this.frames - 1, frame));
    for (const video of this.videos) video.currentTime = (shown + 0.5) / this.fps;
    this.tell(shown);
  }

  async play() {
    if (this.frame() >= this.frames - 1) for (const video of this.videos) video.currentTime = 0;
    this.videos[1].currentTime = this.videos[0].currentTime;
    this.playing = true;
    this.button.textContent = "Pause";
    try {
      await Promise.all(this.videos.map((video) => video.play()));
    } catch {
      this.pause(); // the browser would not start, or the clip is gone
      return;
    }
    this.follow();
  }

  pause() {
    this.playing = false;
    this.button.textContent = "Play";
    for (const video of this.videos) video.pause();
  }

  follow() {
    if (!this.playing) return;
    const [first, second] = this.videos;
    if (Math.abs(second.currentTime - first.currentTime) > 0.5 / this.fps && !second.seeking) {
      second.currentTime = first.currentTime;
    }
    this.tell(this.frame());
    requestAnimationFrame(() => this.follow());
  }

  ended() {
    if (!this.playing) return;
    if (!this.repeat.checked) return this.show(this.frames - 1);
    for (const video of this.videos) video.currentTime = 0;
    for (const video of this.videos) video.play();
  }

  tell(frame) {
    const text = `frame ${frame + 1} of ${this.frames}`;
    this.slider.value = frame;
    this.slider.setAttribute("aria-valuetext", text);
    if (this.output.textContent !== text) this.output.textContent = text;
  }
});

function loaded(video) {
  if (video.readyState >= 3) return Promise.resolve();
  return new Promise((done) => video.addEventListener("canplay", done, { once: true }));
}
