# Shared by the scripts of this folder, which take from the environment:
#   STATE        directory of this cluster's files, not on a tmpfs
#   KUBE_BIN     directory with kube-apiserver and the others
#   DEBIAN_ROOT  directory in which Debian's etcd, containerd and runc are unpacked
#   IMAGES       archives of container images that the node gets, separated by spaces
: "${ETCD_PORT:=23790}" "${ETCD_PEER_PORT:=23800}" "${API_PORT:=26443}" "${ADVERTISE:=127.0.0.1}"
api=https://$ADVERTISE:$API_PORT

# started NAME: notes the process that was just put into the background
started() { echo "$!" > "$STATE/pids/$1"; }

# ended NAME: true when the process NAME is gone; shows the end of its log
ended() {
  kill -0 "$(cat "$STATE/pids/$1")" 2> /dev/null && return 1
  tail -n 20 "$STATE/log/$1" >&2
}

# kubeconfig NAME TOKEN: writes $STATE/NAME.kubeconfig
kubeconfig() {
  cat > "$STATE/$1.kubeconfig" << Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "$api", certificate-authority: $STATE/pki/apiserver.crt}}]
users: [{name: u, user: {token: $2}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
Y
}
