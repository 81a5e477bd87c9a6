/** Before and after at one position: both play at once, one is heard. */

import { wavFile } from "./wav";

type Side = "before" | "after";

const element = <T extends HTMLElement>(root: HTMLElement, part: string): T =>
  root.querySelector<T>(`[data-part="${part}"]`)!;

const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** The player of one result. */
export class Player {
  private readonly context: AudioContext;
  private readonly gains: Record<Side, GainNode>;
  private sources: AudioBufferSourceNode[] = [];
  private signals: Record<Side, Float32Array> | null = null;
  private side: Side = "after";
  private position = 0; // seconds, while it stands still
  private startedAt = 0; // of the context's clock, minus the position

  /**
   * @param root the player's element.
   * @param rate of the signals, in Hz.
   */
  constructor(
    private readonly root: HTMLElement,
    private readonly rate: number,
  ) {
    this.context = new AudioContext();
    const gain = () => new GainNode(this.context, { gain: 0 });
    this.gains = { before: gain(), after: gain() };
    for (const node of Object.values(this.gains)) node.connect(this.context.destination);
    element(root, "play").onclick = () => (this.playing ? this.pause() : this.play());
    for (const side of ["before", "after"] as const) element(root, side).onclick = () => this.choose(side);
    const wave = element(root, "wave");
    wave.onclick = (event) => this.seek((event.offsetX / wave.clientWidth) * this.seconds);
    wave.onkeydown = (event) => this.onKey(event);
    new ResizeObserver(() => this.draw()).observe(wave);
    matchMedia("(prefers-color-scheme: dark)").onchange = () => this.draw();
    this.choose("after");
  }

  /** Show a result, named for its downloads. */
  show(before: Float32Array, after: Float32Array, name: string): void {
    this.stop();
    this.signals = { before, after };
    this.root.hidden = false;
    for (const side of ["before", "after"] as const) {
      const link = element<HTMLAnchorElement>(this.root, `save-${side}`);
      URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(wavFile(this.signals[side], this.rate));
      link.download = side === "after" ? `${name}_enhanced.wav` : `${name}_original.wav`;
    }
    this.seek(0);
  }

  /** Take the result away: an input has changed. */
  hide(): void {
    this.stop();
    this.signals = null;
    this.root.hidden = true;
  }

  private get seconds(): number {
    return this.signals ? this.signals.after.length / this.rate : 0;
  }

  private get playing(): boolean {
    return this.sources.length > 0;
  }

  private get now(): number {
    return this.playing ? Math.min(this.context.currentTime - this.startedAt, this.seconds) : this.position;
  }

  private choose(side: Side): void {
    this.side = side;
    for (const each of ["before", "after"] as const) {
      this.gains[each].gain.setTargetAtTime(each === side ? 1 : 0, this.context.currentTime, 0.01);
      element(this.root, each).setAttribute("aria-pressed", String(each === side));
    }
    this.draw();
  }

  private play(): void {
    if (!this.signals) return;
    void this.context.resume();
    if (this.position >= this.seconds) this.position = 0;
    this.sources = (["before", "after"] as const).map((side) => {
      const buffer = this.context.createBuffer(1, this.signals![side].length, this.rate);
      buffer.getChannelData(0).set(this.signals![side]);
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(this.gains[side]);
      source.start(0, this.position);
      return source;
    });
    this.startedAt = this.context.currentTime - this.position;
    this.label();
    this.follow();
  }

  private pause(): void {
    this.position = this.now;
    this.stop();
  }

  private stop(): void {
    for (const source of this.sources) source.stop();
    this.sources = [];
    this.label();
  }

  private seek(seconds: number): void {
    const playing = this.playing;
    this.stop();
    this.position = Math.min(Math.max(seconds, 0), this.seconds);
    if (playing) this.play();
    this.draw();
  }

  private onKey(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -2, ArrowRight: 2 };
    if (event.key in steps) this.seek(this.now + steps[event.key]);
    else if (event.key === "Home") this.seek(0);
    else return;
    event.preventDefault();
  }

  private label(): void {
    element(this.root, "play").textContent = this.playing ? "Pause" : "Play";
  }

  private follow(): void {
    if (!this.playing) return;
    if (this.now >= this.seconds) {
      this.position = this.seconds;
      this.stop();
    }
    this.draw();
    requestAnimationFrame(() => this.follow());
  }

  /** Both waves, the one that is heard in front; colours are those of the style sheet. */
  private draw(): void {
    if (!this.signals) return;
    const canvas = element<HTMLCanvasElement>(this.root, "wave");
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => size * devicePixelRatio);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const style = getComputedStyle(canvas);
    const brush = canvas.getContext("2d")!;
    brush.clearRect(0, 0, width, height);
    const back: Side = this.side === "after" ? "before" : "after";
    for (const side of [back, this.side]) {
      brush.globalAlpha = side === back ? 0.3 : 1;
      brush.fillStyle = style.getPropertyValue(`--${side}`);
      peaks(this.signals[side], width).forEach((peak, x) => {
        const bar = Math.max(peak * height, 1);
        brush.fillRect(x, (height - bar) / 2, 1, bar);
      });
    }
    brush.fillStyle = style.getPropertyValue("--text");
    brush.fillRect((this.now / this.seconds) * width - 1, 0, 2, height);
    element(this.root, "time").textContent = `${clock(this.now)} / ${clock(this.seconds)}`;
    canvas.setAttribute("aria-valuenow", this.now.toFixed(1));
    canvas.setAttribute("aria-valuemax", this.seconds.toFixed(1));
  }
}

const cache = new WeakMap<Float32Array, Float32Array>();

/** Largest magnitude in each of `count` equal parts. */
function peaks(signal: Float32Array, count: number): Float32Array {
  const known = cache.get(signal);
  if (known?.length === Math.floor(count)) return known;
  const found = new Float32Array(count);
  const step = signal.length / count;
  for (let n = 0; n < signal.length; n++) {
    const part = Math.min(Math.floor(n / step), found.length - 1);
    found[part] = Math.max(found[part], Math.abs(signal[n]));
  }
  cache.set(signal, found);
  return found;
}
