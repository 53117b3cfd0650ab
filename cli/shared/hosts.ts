/** Addresses that a command may listen on. */

/** Largest number of a port. */
export const MOST_PORT = 65535;

/** Whether a number is that of a port; 0 is any that is free. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= MOST_PORT;
}

/** Whether a text is a machine's name or number, and nothing beside it such as a port. */
export function isHost(host: string): boolean {
  if (host.includes(":")) return URL.canParse(`http://[${host}]/`);
  return /^[a-z\d]([\w-]{0,62})(\.[a-z\d]([\w-]{0,62}))*$/i.test(host);
}
