// Requests to the server, and the line that says how they went.

import { byId } from "./state.js";

/** An answer of the server; throws with what it says is wrong. */
export async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is 'unitscope parts label' still running?");
  }
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.message || `the server answers ${answer.status}`);
  }
  return answer;
}

export const post = (path, type, body) => request(path, { method: "POST", headers: { "Content-Type": type }, body });
/** The labels of a picture, a byte a pixel. */
export const loadLabels = async (index) => new Uint8Array(await (await request(`labels/${index}`)).arrayBuffer());

let hiding = 0;

/** Shows a line for a moment, longer where something is wrong. */
export function say(text, bad = false) {
  const status = byId("status");
  status.textContent = text;
  status.className = `status on${bad ? " bad" : ""}`;
  clearTimeout(hiding);
  hiding = setTimeout(() => status.classList.remove("on"), bad ? 8000 : 1800);
}

/** Runs something that may fail, and says so where it does. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}
