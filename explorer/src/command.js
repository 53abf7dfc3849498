// The command that serves this page, where one does: it reads a dropped file with Python, and
// diagnoses it.

const address = document.querySelector('meta[name="reads-files-at"]').content;

export const isServed = address !== "";

/** What the command reads in a File, { runs }; an Error whose message says what is wrong with the
 *  file, or a TypeError where the command does not answer. */
export async function readByCommand(file) {
  const answer = await fetch(`${address}?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}
