// <pila-player data-fps="16" data-frames="33"> with two <video> and one set of controls for both.
// Gradio writes the next clips into the elements that are there, so an element outlives its clips:
// nothing found in it is kept, its own events are the only ones heard, and what the controls show
// follows the first video. The second is set right whenever it is half a frame off.
customElements.define("pila-player", class extends HTMLElement {
  connectedCallback() {
    if (!this.seen) {
      const on = (name, act) => this.addEventListener(name, (event) => act(event.target));
      on("click", (at) => this.pressed(at.closest("button")?.name));
      on("input", (at) => at.name === "frame" && this.show(Number(at.value)));
      on("change", (at) => at.name === "speed" && this.setSpeed());
      // A video's events do not rise from it, but can be heard on their way down.
      for (const name of ["play", "pause", "seeked", "loadeddata"]) {
        this.addEventListener(name, () => this.tell(), true);
      }
      this.addEventListener("ended", (event) => event.target === this.videos[0] && this.ended(), true);
      this.seen = new MutationObserver(() => this.renew());
    }
    this.seen.observe(this, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
    this.renew();
  }

  disconnectedCallback() {
    this.seen.disconnect();
    this.clips = undefined;
    this.pause();
  }

  get videos() { return [...this.querySelectorAll("video")]; }
  get fps() { return Number(this.dataset.fps); }
  get frames() { return Number(this.dataset.frames); }
  get playing() { return this.videos.some((video) => !video.paused); }
  control(name) { return this.querySelector(`[name=${name}]`); }

  // Other clips have come: from their beginning, at the speed that is chosen.
  renew() {
    const clips = this.videos.map((video) => video.src).join(" ");
    if (clips !== this.clips) {
      this.clips = clips;
      this.setSpeed();
      this.show(0);
      const touched = this.touched;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const wanted = () => this.isConnected && this.clips === clips && this.touched === touched;
      if (!still) Promise.all(this.videos.map(loaded)).then(() => wanted() && this.play());
    }
    this.tell();
  }

  pressed(name) {
    const frame = this.frame();
    if (name === "play") this.playing ? this.pause() : this.play();
    if (name === "back") this.show(frame - 1);
    if (name === "on") this.show(frame + 1);
  }

  setSpeed() {
    const speed = Number(this.control("speed").value);
    // Both, since a video that loads takes up the second.
    for (const video of this.videos) video.playbackRate = video.defaultPlaybackRate = speed;
  }

  frame() {
    return Math.min(this.frames - 1, Math.floor(this.videos[0].currentTime * this.fps + 1e-3));
  }

  // Seek to the middle of a frame: at its edge rounding would decide which one is shown.
  show(frame) {
    this.pause();
    const shown = Math.max(0, Math.min(this.frames - 1, frame));
    for (const video of this.videos) video.currentTime = (shown + 0.5) / this.fps;
    this.tell();
  }

  play() {
    this.running = true;
    const [first, second] = this.videos;
    if (this.frame() >= this.frames - 1) first.currentTime = 0;
    second.currentTime = first.currentTime;
    this.start();
    this.follow();
  }

  start() {
    // Refused where the browser would not start, or where a pause or other clips came first.
    for (const video of this.videos) video.play().catch(() => this.tell());
  }

  pause() {
    this.touched = (this.touched ?? 0) + 1;
    this.running = false;
    for (const video of this.videos) video.pause();
    this.tell();
  }

  follow() {
    if (!this.playing || !this.isConnected) return;
    const [first, second] = this.videos;
    if (Math.abs(second.currentTime - first.currentTime) > 0.5 / this.fps && !second.seeking) {
      second.currentTime = first.currentTime;
    }
    this.tell();
    cancelAnimationFrame(this.next);
    this.next = requestAnimationFrame(() => this.follow());
  }

  ended() {
    if (!this.running) return; // a pause came first
    if (!this.control("repeat").checked) return this.show(this.frames - 1);
    for (const video of this.videos) video.currentTime = 0;
    this.start();
    this.follow();
  }

  tell() {
    if (!this.isConnected) return;
    const frame = this.frame();
    const text = `frame ${frame + 1} of ${this.frames}`;
    const slider = this.control("frame");
    slider.value = frame;
    slider.setAttribute("aria-valuetext", text);
    write(this.control("shown"), text);
    write(this.control("play"), this.playing ? "Pause" : "Play");
  }
});

function loaded(video) {
  if (video.readyState >= 3) return Promise.resolve();
  return new Promise((done) => video.addEventListener("canplay", done, { once: true }));
}

// Only what is new, since each writing is read out and looked at.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
