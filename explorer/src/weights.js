// Float32 arrays in base64, as ghostpoint writes them for this page.

export function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
