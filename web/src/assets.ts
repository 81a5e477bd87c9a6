/** What the build has put into the page: gzip in base64, so that nothing is fetched. */

/** Bytes of an asset. */
export async function asset(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const element = document.getElementById(`asset-${name}`)!;
  const packed = Uint8Array.from(atob(element.textContent!.trim()), (letter) => letter.charCodeAt(0));
  element.remove(); // the text is larger than what it holds
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
