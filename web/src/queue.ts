/** Samples between the network, which gives them in bursts, and the audio device. */

/**
 * A queue that starts when it holds `ahead` samples, and again after it ran empty.
 * What it holds beyond `most` is skipped, so that a stall adds no lasting delay.
 */
export class PlayQueue {
  /** Times it ran empty or was cut. */
  dropouts = 0;
  private chunks: Float32Array[] = [];
  private length = 0;
  private offset = 0; // read of the first chunk
  private playing = false;

  constructor(
    private readonly ahead: number,
    private readonly most: number,
  ) {}

  push(chunk: Float32Array): void {
    this.chunks.push(chunk);
    this.length += chunk.length;
    if (this.length <= this.most) return;
    this.dropouts++;
    this.read(new Float32Array(this.length - this.ahead));
  }

  /** Fill a block of the device; silence where there is nothing. */
  pull(block: Float32Array): void {
    block.fill(0);
    if (!this.playing && this.length < Math.max(this.ahead, block.length)) return;
    this.playing = this.length >= block.length;
    if (this.playing) this.read(block);
    else this.dropouts++;
  }

  private read(block: Float32Array): void {
    for (let filled = 0; filled < block.length; ) {
      const rest = this.chunks[0].subarray(this.offset, this.offset + block.length - filled);
      block.set(rest, filled);
      filled += rest.length;
      this.offset += rest.length;
      if (this.offset === this.chunks[0].length) {
        this.chunks.shift();
        this.offset = 0;
      }
    }
    this.length -= block.length;
  }
}
