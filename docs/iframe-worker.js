/* Browsers start no worker on a page that was opened from a file. The search's script runs in a
   hidden frame there instead. (mkdocs-material's offline plugin loads such a script from a CDN,
   unless it finds the name "iframe-worker" in mkdocs.yml.) */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => {
        this.dispatchEvent(new MessageEvent("message", { data }))
      }
      const script = this.inside.document.createElement("script")
      script.src = url
      this.loaded = new Promise((done, failed) => {
        script.onload = done
        script.onerror = failed
      })
      this.inside.document.body.append(script)
    }

    postMessage(data) {
      this.loaded.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
