#!/bin/bash
# A whole cluster of one node, in namespaces of its own, as the first process in them: control plane, containerd, kubelet,
# kube-proxy. It stays in the foreground; when it ends, everything ends. Started by scripts/lib/kubernetes-cluster.mjs as
#   unshare --mount --net --pid --cgroup --ipc --uts --fork --kill-child --mount-proc node.sh
set -eu
: "${NODE_IP:=198.51.100.1}" "${POD_RANGE:=203.0.113.0/25}"
export ADVERTISE=$NODE_IP BIND=0.0.0.0 ENDPOINTS=lease
cd "$(dirname "$0")"
. ./lib.sh
own=$STATE/node
mkdir -p "$own"/{kubelet/volume-plugins,containerd,etc,etc.work,var,var.work}

# Control groups: only below the one this was started in. All controllers are those of version 1 where the machine has them.
mount --make-rprivate /
mount -t sysfs sysfs /sys
if grep -q '^cgroup2 ' /proc/mounts && ! grep -qE '^\S+ \S+ cgroup ' /proc/mounts; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  while read -r name _ _ enabled; do
    [ "$enabled" = 1 ] || continue
    case $name in
      cpu | cpuacct | cpuset | memory | devices | freezer | blkio | pids)
        mkdir "/sys/fs/cgroup/$name"
        mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name"
        ;;
    esac
  done < /proc/cgroups
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi

# Files: what the parts write outside $STATE goes to an overlay of it.
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$own/etc,workdir=$own/etc.work" /etc
mount -t overlay overlay -o "lowerdir=/var,upperdir=$own/var,workdir=$own/var.work" /var
mkdir -p /var/lib/{kubelet,containerd} /var/log/{pods,containers} /etc/cni/net.d
mount --bind "$own/kubelet" /var/lib/kubelet
mount --bind "$own/containerd" /var/lib/containerd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
mount --make-rshared /

# The machine's kernel settings are not a test's to change: read-only, with what the kubelet wants to see bound over them.
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,ro,bind /proc/sys
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/run/sysctl/${setting%%=*}
  mkdir -p "$(dirname "$file")"
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%%=*}"
done

# Network: nothing but this namespace. A veth pair carries the node's address, and nothing routes out.
hostname n1
ip link set lo up
ip link add node0 type veth peer name node0p
ip addr add "$NODE_IP/24" dev node0
ip link set node0 up
ip link set node0p up
ip route add default via "${NODE_IP%.*}.2" dev node0

WITH=${WITH-kcm scheduler} KCM_FLAGS="--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins" \
  API_FLAGS="--kubelet-preferred-address-types=InternalIP ${API_FLAGS-}" ./control-plane.sh

cat > /etc/cni/net.d/10-bridge.conflist << Y
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true, "promiscMode": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_RANGE"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}},
  {"type": "portmap", "capabilities": {"portMappings": true}},
  {"type": "loopback"}]}
Y
# restrict_oom_score_adj: a container has no CAP_SYS_RESOURCE to lower it with. device_ownership…: a pod that is not root may
# open its block volume.
cat > "$own/containerd.toml" << Y
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  device_ownership_from_security_context = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "$DEBIAN_ROOT/usr/sbin/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "$own/registries"
Y
mkdir -p "$own/registries"
PATH=$DEBIAN_ROOT/usr/bin:$PATH "$DEBIAN_ROOT/usr/bin/containerd" --config "$own/containerd.toml" \
  > "$STATE/log/containerd" 2>&1 &
started containerd
ctr() { "$DEBIAN_ROOT/usr/bin/ctr" -n k8s.io "$@"; }
for ((i = 0; i < 300; i++)); do
  ctr version > /dev/null 2>&1 && break
  ended containerd && exit 1
  sleep 0.1
done
for image in $IMAGES; do ctr images import --all-platforms "$image" > /dev/null; done

cat > "$own/kubelet.yaml" << Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [$NODE_IP]
volumePluginDir: /var/lib/kubelet/volume-plugins
shutdownGracePeriod: 0s
Y
: > /run/resolv.conf
"$KUBE_BIN/kubelet" --config "$own/kubelet.yaml" --kubeconfig "$STATE/node.kubeconfig" --hostname-override n1 \
  --node-ip "$NODE_IP" --cert-dir "$own/kubelet/pki" > "$STATE/log/kubelet" 2>&1 &
started kubelet
kubectl() { "$KUBE_BIN/kubectl" --kubeconfig "$STATE/admin.kubeconfig" "$@"; }
for ((i = 0; i < 600; i++)); do
  kubectl wait --for=condition=Ready node/n1 --timeout=30s > /dev/null 2>&1 && break
  ended kubelet && exit 1
  sleep 0.2
done

cat > "$own/proxy.yaml" << Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: n1
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
clusterCIDR: $POD_RANGE
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
"$KUBE_BIN/kube-proxy" --config "$own/proxy.yaml" > "$STATE/log/proxy" 2>&1 &
started proxy
kubectl wait --for=create serviceaccount/default --timeout=60s > /dev/null
echo "cluster ready"
sleep infinity &
wait
