// Files of the host.

/**
 * Fetch a file.
 * @param {URL | string} address
 * @param {string} what named by the error
 * @returns {Promise<Response>}
 * @throws {Error} there is no connection, or the host has no such file
 */
export async function fetched(address, what) {
  const answer = await fetch(address).catch(() => null);
  if (!answer) throw new Error(`${what} cannot be loaded. Check the connection and try again.`);
  if (!answer.ok) throw new Error(`${what} cannot be loaded: status ${answer.status}.`);
  return answer;
}
