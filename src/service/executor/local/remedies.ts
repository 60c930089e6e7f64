/**
 * Remedies in the words of the images service, for errors whose own ones name flags and variables of other programs.
 */
import { catalogue, type ErrorCode } from "../../../errors/catalogue.ts";
import { DvcrError } from "../../../errors/dvcr-error.ts";

const settings = "in the configuration of the images service";

const fixes: Partial<Record<ErrorCode, string>> = {
  E_FORMAT_MISMATCH: "Convert it first, for example with `qemu-img convert -O qcow2 IN OUT`.",
  E_AMBIGUOUS: "Convert it again from its origin: no honest tool writes that.",
  E_NESTED_IMAGE: `Unwrap it first, or set allowNested ${settings} if that is what you want.`,
  E_UNDECLARED_FIXED_VHD: "Convert it first, for example with `qemu-img convert -f vpc -O qcow2 IN OUT`.",
  E_NOT_A_DISK:
    "Check the file or the URL: a page or an error message may stand where the disk should be. " +
    "A raw disk that only looks like that is uploaded to an image with the annotation " +
    "virtualization.deckhouse.io/source-format: raw.",
  E_DECODER_MEMORY:
    `Compress it again with a smaller window, for example \`xz -6\` or \`zstd -19\` without ` +
    `--long, or raise maxDecoderMemory ${settings}.`,
  E_SCRATCH_LIMIT: `Rewrite the image in order with \`qemu-img convert\`, or raise scratchLimit ${settings}.`,
  E_SCRATCH_IO: `Free space in the scratch directory, scratchDir ${settings}.`,
  E_SOURCE_DENIED:
    "For a container image, name a Secret with credentials in " +
    "spec.dataSource.containerImage.imagePullSecret; a URL has to be readable without any.",
  E_SOURCE_TLS:
    "Put its CA into spec.dataSource.http.caBundle or spec.dataSource.containerImage.caBundle " +
    `(a PEM file in base64), or set sourceInsecureTls ${settings} where you accept the risk.`,
  E_REGISTRY_DENIED: `Check that the credentials of registryAuthConfig ${settings} may push to this repository.`,
  E_REGISTRY_TLS:
    `Give its CA with registryCaBundle ${settings}, or set registryInsecureTls where you ` + "accept the risk.",
};

/**
 * The same error with a remedy that whoever uses the service can follow. One that was made for this very case stays.
 */
export function withServiceRemedy(error: DvcrError): DvcrError {
  const fix = fixes[error.code];
  if (fix === undefined || error.fix !== catalogue[error.code].fix) return error;
  return new DvcrError(error.code, error.message, { cause: error, fix });
}
