import helmet from "@fastify/helmet";
import type { FastifyInstance } from "fastify";

/**
 * Headers for every answer: nothing is loaded from elsewhere, no inline script or style runs, no page frames us, no
 * type is guessed, no address leaks as referrer (upload URLs are secrets). HSTS only where we speak TLS ourselves.
 */
export async function addSecurityHeaders(app: FastifyInstance, { isTls }: { readonly isTls: boolean }): Promise<void> {
  await app.register(helmet, {
    global: true,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", "data:"],
        fontSrc: ["'self'"],
        connectSrc: ["'self'"],
        manifestSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    strictTransportSecurity: isTls ? { maxAge: 31_536_000 } : false,
    referrerPolicy: { policy: "no-referrer" },
    xFrameOptions: { action: "deny" },
  });
}
