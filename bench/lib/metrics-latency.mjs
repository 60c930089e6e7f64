/** Asks /metrics as a scraper does, a connection for each request, and keeps how long each answer took. */
import { request } from "node:https";

const pause = 20;
const limit = 5_000;

/**
 * Starts asking; `stop()` gives the seconds of every answer. Refused connections (not yet or no longer there) do not
 * count.
 */
export function watchMetrics(port) {
  const seconds = [];
  let running = true;
  const loop = (async () => {
    while (running) {
      const started = performance.now();
      const answered = await ask(port);
      if (answered) seconds.push((performance.now() - started) / 1000);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  })();
  return {
    stop: async () => {
      running = false;
      await loop;
      return seconds;
    },
  };
}

/**
 * True after an answer and after one that took too long; false where nobody listens, or the process ended meanwhile.
 */
function ask(port) {
  return new Promise((resolve) => {
    const call = request(
      { host: "127.0.0.1", port, path: "/metrics", agent: false, rejectUnauthorized: false, timeout: limit },
      (answer) => {
        answer
          .resume()
          .once("end", () => resolve(answer.statusCode === 200))
          .once("error", () => resolve(false));
      },
    );
    call.once("timeout", () => {
      resolve(true);
      call.destroy();
    });
    call.once("error", () => resolve(false)).end();
  });
}
