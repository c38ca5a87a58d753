// The camera: images, and an answer twice a second.

const INTERVAL_MS = 500;

export class Camera {
  constructor(video) {
    this.video = video;
    this.timer = null;
  }

  // Raises an error in words where there is no camera, or its use was not allowed.
  async open() {
    if (!navigator.mediaDevices) throw new Error("Browsers give the camera to pages on localhost or https only.");
    try {
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "The browser was not allowed to use the camera." : "No camera was found.");
    }
    await this.video.play();
  }

  close() {
    this.unwatch();
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
  }

  // What it sees now, as a JPEG file.
  async image(name) {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    return new File([blob], name, { type: "image/jpeg" });
  }

  // Calls `look` with an image twice a second, never with two at once.
  watch(look) {
    let looking = false;
    this.timer = setInterval(async () => {
      if (looking) return;
      looking = true;
      try {
        await look(await this.image("camera.jpg"));
      } finally {
        looking = false;
      }
    }, INTERVAL_MS);
  }

  unwatch() {
    clearInterval(this.timer);
    this.timer = null;
  }
}
