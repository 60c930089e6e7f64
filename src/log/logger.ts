import { pino, stdTimeFunctions, destination, type DestinationStream, type Logger } from "pino";
import { redactText } from "./redact.ts";

export type { Logger } from "pino";

export interface LoggerOptions {
  /** As klog counts: 0 and 1 warnings, 2 and 3 info, 4 and 5 debug, above that trace. */
  readonly verbosity?: number;
  /** File descriptor 1 or 2, or a stream for tests. */
  readonly output?: 1 | 2 | DestinationStream;
  /** Removed from every error's text. */
  readonly secrets?: readonly string[];
}

const secretPaths = ["authorization", "cookie", "proxy-authorization", "set-cookie"].flatMap((name) => [
  `headers["${name}"]`,
  `*.headers["${name}"]`,
  `["${name}"]`,
]);

function levelOf(verbosity: number): "warn" | "info" | "debug" | "trace" {
  if (verbosity <= 1) return "warn";
  if (verbosity <= 3) return "info";
  return verbosity <= 5 ? "debug" : "trace";
}

/**
 * An error as one flat object: its code, its redacted text, its cause's text, its stack where it is a defect of ours.
 */
function errorFields(error: unknown, secrets: readonly string[]): unknown {
  if (!(error instanceof Error)) return redactText(String(error), secrets);
  const code = (error as { code?: unknown }).code;
  return {
    ...(typeof code === "string" ? { code } : {}),
    message: redactText(error.message, secrets),
    ...(error.cause instanceof Error ? { cause: redactText(error.cause.message, secrets) } : {}),
    ...(code === "E_INTERNAL" || code === undefined ? { stack: redactText(error.stack ?? "", secrets) } : {}),
  };
}

/** One JSON line per event with an ISO time; written at once, so that the last lines of a process are not lost. */
export function createLogger({ verbosity = 3, output = 1, secrets = [] }: LoggerOptions = {}): Logger {
  const stream = typeof output === "number" ? destination({ dest: output, sync: true }) : output;
  return pino(
    {
      level: levelOf(verbosity),
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretPaths, censor: "***" },
      serializers: { err: (error: unknown) => errorFields(error, secrets) },
    },
    stream,
  );
}
