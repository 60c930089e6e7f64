import { setTimeout as delay } from "node:timers/promises";
import { Option, type Command } from "commander";
import type { Logger } from "pino";

import { SOURCE_FORMATS } from "../../config/image-defaults.ts";
import type { CliEnvironment } from "../../config/cli-environment.ts";
import { operandsOf, withOperands, type UsageProblems } from "../usage.ts";
import {
  addServiceFlags,
  type ApplyFlags,
  type DeleteFlags,
  type GetFlags,
  type KubeconfigFlags,
  type ServiceFlags,
  type UploadFlags,
} from "./flags.ts";
import type { ServiceClient } from "./client.ts";

export interface ServiceCommandContext {
  readonly environment: CliEnvironment;
  readonly problems: UsageProblems;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const pauseMilliseconds = 500;

/** The commands for those without kubectl: get, describe, apply, delete, upload; and kubeconfig for those with it. */
export function addServiceCommands(program: Command, context: ServiceCommandContext): void {
  const { environment, problems, signal, logger } = context;
  const print = (text: string): void => void process.stdout.write(text);
  const pause = (): Promise<void> => delay(pauseMilliseconds, undefined, { signal });
  const make = (name: string, operands: readonly string[]): Command =>
    addServiceFlags(withOperands(program.command(name), operands), environment);
  /** Runs `work` with the operands and a client; loaded only now, since other commands need none of it. */
  const run =
    (command: Command, work: (client: ServiceClient, operands: string[]) => Promise<void>) =>
    async (): Promise<void> => {
      const operands = operandsOf(command, problems);
      problems.throwIfAny();
      const { server, ca } = command.opts<ServiceFlags>();
      const { ServiceClient: Client } = await import("./client.ts");
      const client = await Client.open({ server, token: environment.token, caFile: ca }, signal);
      try {
        await work(client, operands);
      } finally {
        await client.close();
      }
    };

  const getting = make("get", ["kind", "name?"]);
  getting
    .description("List images and what belongs to them, as kubectl get does.")
    .option("-A, --all-namespaces", "of all namespaces", false)
    .option("-o, --output <form>", "wide, json, yaml or name")
    .option("-w, --watch", "go on printing what changes", false)
    .action(
      run(getting, async (client, [kind = "", name = ""]) => {
        const { get } = await import("./get-command.ts");
        await get(
          client,
          kind,
          name === "" ? undefined : name,
          getting.opts<GetFlags>(),
          print,
          (text) => void process.stderr.write(text),
        );
      }),
    );

  const describing = make("describe", ["kind", "name"]);
  describing.description("Show all of an object, with its conditions and events.").action(
    run(describing, async (client, [kind = "", name = ""]) => {
      const { describe } = await import("./describe-command.ts");
      print(await describe(client, kind, name, describing.opts<ServiceFlags>()));
    }),
  );

  const applying = make("apply", []);
  applying
    .description("Create or update the resources in a file.")
    .requiredOption("-f, --filename <file>", "YAML or JSON; - for standard input")
    .option("--force-conflicts", "take over fields that others manage", false)
    .action(
      run(applying, async (client) => {
        const { apply } = await import("./apply-command.ts");
        await apply(client, applying.opts<ApplyFlags>(), print);
      }),
    );

  const deleting = make("delete", ["kind", "name"]);
  deleting
    .description("Delete an object; an image goes with its data.")
    .option("--no-wait", "do not wait until it is gone")
    .action(
      run(deleting, async (client, [kind = "", name = ""]) => {
        const { remove } = await import("./apply-command.ts");
        print(await remove(client, kind, name, deleting.opts<DeleteFlags>(), pause));
      }),
    );

  const uploading = make("upload", ["file", "name"]);
  uploading
    .description("Create an image from a file: upload it, going on after every cut, and wait until it is Ready.")
    .option("--kind <kind>", "cvi, or vi in --namespace", "cvi")
    .option("--checksum <algorithm:hex>", "what the file's checksum must be")
    .addOption(
      problems.choice(
        new Option("--src-format <format>", "declare the file's format; a fixed VHD is recognised by its end"),
        SOURCE_FORMATS,
      ),
    )
    .option("-q, --quiet", "no progress", false)
    .action(
      run(uploading, async (client, [file = "", name = ""]) => {
        const { upload } = await import("./upload-command.ts");
        print(await upload(client, file, name, uploading.opts<UploadFlags>(), { logger, signal, pause }));
      }),
    );

  const configuring = make("kubeconfig", []);
  configuring
    .description("Print a configuration for kubectl.")
    .option("--token <token>", "token of the server's user (DVCR_TOKEN)")
    .option("--token-file <file>", "file that holds the token alone")
    .action(async () => {
      operandsOf(configuring, problems);
      problems.throwIfAny();
      const { kubeconfigText } = await import("./kubeconfig-command.ts");
      print(
        await kubeconfigText(
          { ...configuring.opts<KubeconfigFlags>() },
          environment.token,
          (text) => void process.stderr.write(`warning: ${text}\n`),
        ),
      );
    });
}
