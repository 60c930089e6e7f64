/** What probes are answered by the thread of their own, from what the event loop has told last. */
import { tokenDigest } from "../security/token-digest.ts";

/** Without a turn of the event loop for so long, nothing works and nothing will: the process is to be started again. */
const deadMilliseconds = 60_000;
/** For so long it is busy, and somebody else should be asked. */
const busyMilliseconds = 5_000;

/** What the event loop has told. */
export interface ProbeState {
  /** Why the service is not ready. */
  readonly notReady: string | undefined;
  /** SHA-256 of the tokens that may read the metrics, in hexadecimal digits; undefined: no token is needed. */
  readonly metricsTokens: ReadonlySet<string> | undefined;
  /** In the Prometheus text format. */
  readonly metrics: string;
  /** Milliseconds since the metrics were read. */
  readonly metricsAge: number;
  /** Milliseconds since the last turn of the event loop. */
  readonly silence: number;
}

export interface ProbeAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const text = (status: number, body: string): ProbeAnswer => ({ status, type: "text/plain", body: `${body}\n` });
const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(3);

/** The answer to a GET of `path` (without its query). */
export function probeAnswer(path: string, state: ProbeState, authorization?: string): ProbeAnswer {
  const stands = `the event loop has not turned for ${String(Math.round(state.silence / 1000))} seconds`;
  switch (path) {
    case "/healthz":
      return state.silence > deadMilliseconds ? text(503, stands) : text(200, "ok");
    case "/readyz":
      if (state.silence > busyMilliseconds) return text(503, stands);
      return state.notReady === undefined ? text(200, "ok") : text(503, state.notReady);
    case "/metrics":
      if (!mayRead(state.metricsTokens, authorization)) return text(401, "E_UNAUTHENTICATED: Unauthorized");
      return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: metricsOf(state) };
    default:
      return text(404, "E_NOT_FOUND: only /healthz, /readyz and /metrics are here");
  }
}

function mayRead(tokens: ReadonlySet<string> | undefined, authorization = ""): boolean {
  if (tokens === undefined) return true;
  const [, token = ""] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
  return tokens.has(tokenDigest(token));
}

function metricsOf({ metrics, metricsAge, silence }: ProbeState): string {
  return [
    metrics.trimEnd(),
    "# HELP dvcr_metrics_age_seconds How old the other figures are: the event loop has brought " +
      "them, this thread has not.",
    "# TYPE dvcr_metrics_age_seconds gauge",
    `dvcr_metrics_age_seconds ${seconds(metricsAge)}`,
    "# HELP dvcr_event_loop_silence_seconds Time since the last turn of the event loop.",
    "# TYPE dvcr_event_loop_silence_seconds gauge",
    `dvcr_event_loop_silence_seconds ${seconds(silence)}`,
    "",
  ].join("\n");
}
