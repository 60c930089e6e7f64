import type { Command } from "commander";

import { addCopyFlags, addDoctorFlags, addExportFlags, addImportFlags, addSourceFlags } from "./import-flags.ts";
import { withOperands, type UsageProblems } from "./usage.ts";

export interface ImageCommands {
  readonly importing: Command;
  readonly exporting: Command;
  readonly inspecting: Command;
  readonly copying: Command;
  readonly probing: Command;
}

/**
 * Adds `import`, `export`, `inspect`, `copy` and `doctor` with all their options and help, and without what they do.
 */
export function addImageCommands(program: Command, scratchDirectory: string, problems: UsageProblems): ImageCommands {
  const importing = addImportFlags(
    addSourceFlags(withOperands(program.command("import"), ["source", "destination"]), scratchDirectory, problems),
    problems,
  )
    .description("Convert a disk image to raw and store it as a container image with /disk/disk.img.")
    .addHelpText("after", SOURCE_HELP + DESTINATION_HELP + IMPORT_HELP);

  const exporting = addExportFlags(
    addSourceFlags(withOperands(program.command("export"), ["source", "destination"]), scratchDirectory, problems),
    problems,
  )
    .description("Write the disk of a stored image, or of any disk image, to a file, a block device or a pipe.")
    .addHelpText("after", SOURCE_HELP + EXPORT_HELP);

  const inspecting = addSourceFlags(withOperands(program.command("inspect"), ["source"]), scratchDirectory, problems)
    .description("Say what a disk image is, from its first bytes.")
    .option("--json", "print JSON with the field names of qemu-img info", false)
    .addHelpText("after", SOURCE_HELP);

  const copying = addCopyFlags(withOperands(program.command("copy"), ["source", "destination"]), problems)
    .description("Copy an image as it is; within one registry nothing is sent that it can take over by itself.")
    .addHelpText("after", COPY_HELP);

  const probing = addDoctorFlags(withOperands(program.command("doctor"), ["repository"]), problems)
    .description("Probe a registry as an import would use it; a few bytes are pushed and removed again.")
    .addHelpText("after", DOCTOR_HELP);

  return { importing, exporting, inspecting, copying, probing };
}

const SOURCE_HELP = `
Source: a file, a block device, an http(s):// URL, docker://HOST/REPO:TAG, oci:DIR[:TAG],
or - for standard input.
`;

const DESTINATION_HELP = `Destination: docker://HOST/REPO:TAG or oci:DIR:TAG.
`;

const EXPORT_HELP = `Destination: a file, a block device that nothing uses, or - for standard output.

Exit codes: 0 done; 1 failed, trying again may help; 2 wrong usage; 3 the input is refused, trying again cannot help.

Examples:
  dvcr export docker://registry.example.com/disks/ubuntu:24.04 ubuntu.img
  dvcr export docker://localhost:5000/disk:1 /dev/vg/disk --src-tls-verify=false
  dvcr export https://example.com/disk.vmdk disk.qcow2 --format qcow2 --compression zstd
`;

const COPY_HELP = `
Source: docker://HOST/REPO[:TAG|@DIGEST]. Destination: docker://HOST/REPO:TAG.
`;

const DOCTOR_HELP = `
Repository: docker://HOST/REPO. Exit code 0 where images can be pushed, else that of the error that prevents it.
`;

const IMPORT_HELP = `
Exit codes: 0 done; 1 failed, trying again may help; 2 wrong usage; 3 the input is refused, trying again cannot help.

Examples:
  dvcr import disk.qcow2 docker://registry.example.com/disks/ubuntu:24.04
  dvcr import https://example.com/disk.img.xz oci:./images:disk --checksum sha256:…
  zstd -dc disk.zst | dvcr import - docker://localhost:5000/disk:1 --dest-tls-verify=false
`;
