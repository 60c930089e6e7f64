#!/bin/bash
# Starts etcd and kube-apiserver and, where WITH names them ("kcm scheduler"), controller manager and scheduler. Ends when the
# API server is ready; $STATE/admin.kubeconfig is the result. API_FLAGS: more flags, for example --emulated-version=kube=1.33.
set -eu
cd "$(dirname "$0")"
. ./lib.sh
mkdir -p "$STATE"/{pki,pids,log}

"$DEBIAN_ROOT/usr/bin/etcd" --name test --data-dir "$STATE/etcd" \
  --listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
  --listen-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" \
  --initial-cluster "test=http://127.0.0.1:$ETCD_PEER_PORT" --unsafe-no-fsync > "$STATE/log/etcd" 2>&1 &
started etcd

# Users come from a token file and the server signs its own certificate, which clients and pods trust as the root.
[ -f "$STATE/pki/sa.key" ] || openssl genrsa -out "$STATE/pki/sa.key" 2048 2> /dev/null
cat > "$STATE/pki/tokens.csv" << 'Y'
admin-token,admin,admin,"system:masters"
kcm-token,system:kube-controller-manager,kcm,
scheduler-token,system:kube-scheduler,scheduler,
node-token,system:node:n1,n1,"system:nodes"
proxy-token,system:kube-proxy,proxy,
Y
for user in admin kcm scheduler node proxy; do kubeconfig "$user" "$user-token"; done
"$KUBE_BIN/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD_PORT" --cert-dir "$STATE/pki" \
  --bind-address "${BIND:-127.0.0.1}" --secure-port "$API_PORT" --advertise-address "$ADVERTISE" \
  --endpoint-reconciler-type "${ENDPOINTS:-none}" --service-cluster-ip-range "${SERVICE_RANGE:-203.0.113.128/25}" \
  --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$STATE/pki/sa.key" \
  --service-account-key-file "$STATE/pki/sa.key" --token-auth-file "$STATE/pki/tokens.csv" \
  --authorization-mode Node,RBAC --allow-privileged=true --profiling=false ${API_FLAGS-} \
  > "$STATE/log/apiserver" 2>&1 &
started apiserver
ready() {
  [ -f "$STATE/pki/apiserver.crt" ] || return 1
  [ "$(curl -s -m 2 --cacert "$STATE/pki/apiserver.crt" -H 'Authorization: Bearer admin-token' "$api/readyz")" = ok ]
}
for ((i = 0; i < 1200; i++)); do
  ready && break
  ended apiserver && exit 1
  sleep 0.1
done
ready

for part in ${WITH-}; do
  case $part in
    kcm)
      "$KUBE_BIN/kube-controller-manager" --kubeconfig "$STATE/kcm.kubeconfig" \
        --authentication-kubeconfig "$STATE/kcm.kubeconfig" --authorization-kubeconfig "$STATE/kcm.kubeconfig" \
        --leader-elect=false --use-service-account-credentials=true --service-account-private-key-file "$STATE/pki/sa.key" \
        --root-ca-file "$STATE/pki/apiserver.crt" --bind-address 127.0.0.1 --profiling=false ${KCM_FLAGS-} \
        > "$STATE/log/kcm" 2>&1 &
      started kcm
      ;;
    scheduler)
      "$KUBE_BIN/kube-scheduler" --kubeconfig "$STATE/scheduler.kubeconfig" \
        --authentication-kubeconfig "$STATE/scheduler.kubeconfig" --authorization-kubeconfig "$STATE/scheduler.kubeconfig" \
        --leader-elect=false --bind-address 127.0.0.1 > "$STATE/log/scheduler" 2>&1 &
      started scheduler
      ;;
  esac
done
