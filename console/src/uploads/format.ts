/** The format of a file that shows it only at its end. */
const footerBytes = 512;

/** `vpc` for a fixed VHD: its footer (specification 1.0) begins with a cookie and has disk type 2 at byte 60. */
export async function formatOf(file: Blob): Promise<"vpc" | undefined> {
  if (file.size <= footerBytes) return undefined;
  const footer = await file.slice(file.size - footerBytes).arrayBuffer();
  const cookie = new TextDecoder("latin1").decode(footer.slice(0, 8));
  return cookie === "conectix" && new DataView(footer).getUint32(60) === 2 ? "vpc" : undefined;
}
