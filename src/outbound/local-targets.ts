/**
 * What a server must not fetch from on behalf of others: this machine, its link, and the clouds' services for their
 * machines.
 */

/**
 * RFC 6890 where nothing else is said. The addresses of metadata services are those that the providers document:
 * - 169.254.169.254 (AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner, IBM, Linode, Vultr, Yandex, Huawei),
 *   169.254.170.2 and .23 (AWS containers), 169.254.0.23 (Tencent), 169.254.42.42 (Scaleway) are in 169.254.0.0/16;
 * - the others stand below, each with its provider's page.
 */
export const localNetworks: readonly string[] = [
  // "This network", loopback, link-local, IETF protocols (Oracle's 192.0.0.192 too), multicast, reserved and broadcast.
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "192.0.0.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/128",
  "::1/128",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
  // Azure: agent and health probes. learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
  "168.63.129.16/32",
  // Alibaba: metadata. alibabacloud.com/help/ecs/user-guide/view-instance-metadata
  "100.100.100.200/32",
  // Volcengine: metadata. volcengine.com/docs/6396/101933
  "100.96.0.96/32",
  // AWS: metadata (::254), pod identity (::23), time and names.
  // docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
  "fd00:ec2::/32",
  // Google: metadata. cloud.google.com/compute/docs/metadata/querying-metadata
  "fd20:ce::/32",
  // Oracle: metadata. docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm
  "fd00:c1::/32",
  // Scaleway: metadata. scaleway.com/en/docs/instances/how-to/use-cloud-init
  "fd00:42::/32",
  // Akamai (Linode): metadata. techdocs.akamai.com/cloud-computing/docs/overview-of-the-metadata-service
  "fd00:a9fe:a9fe::/48",
];

/**
 * Names of the same, by what stands for their address: a proxy resolves names itself, out of our sight. RFC 6761,
 * section 6.3, for localhost.
 */
export const localNames: readonly { readonly name: string; readonly address: string }[] = [
  ...["localhost", "*.localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"].map((name) => ({
    name,
    address: "127.0.0.1",
  })),
  ...[
    // Google
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    // AWS
    "instance-data",
    "instance-data.ec2.internal",
    // Azure
    "metadata.azure.internal",
    // IBM
    "api.metadata.cloud.ibm.com",
    // Tencent
    "metadata.tencentyun.com",
    // Equinix Metal
    "metadata.platformequinix.com",
    "metadata.packet.net",
  ].map((name) => ({ name, address: "169.254.169.254" })),
];
