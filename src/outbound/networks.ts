/** Lists of addresses and networks, as settings name them. */
import { BlockList, isIP } from "node:net";
import { DvcrError } from "../errors/dvcr-error.ts";

/** True where `list` has the address; an IPv4 address in IPv6 notation counts as what it stands for. */
export function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** @throws DvcrError E_CONFIG for a text that is neither an address nor a network. */
export function networkList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIP(address);
    const length = bits === undefined ? (family === 6 ? 128 : 32) : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    if (family === 0 || length < 0 || length > (family === 6 ? 128 : 32)) {
      throw new DvcrError("E_CONFIG", `${JSON.stringify(network)} is not an address or a network such as 10.0.0.0/8`);
    }
    list.addSubnet(address, length, family === 6 ? "ipv6" : "ipv4");
  }
  return list;
}
