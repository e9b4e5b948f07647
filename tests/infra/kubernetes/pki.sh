#!/usr/bin/env bash
# pki.sh NODES: makes the certificates that are missing, and the kubeconfig of everyone who talks to the API server.
set -euo pipefail
. "$(dirname "$0")/place.sh"
mkdir -p "$pki"
cd "$pki"
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

certificate() {  # file's name, subject, usage, alternative names
  [ ! -e "$1.crt" ] || return 0
  openssl req "${key[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" 2>/dev/null \
    -extfile <(echo "extendedKeyUsage=$3"; [ -z "${4:-}" ] || echo "subjectAltName=$4")
  rm "$1.csr"
}
kubeconfig() {  # file's name; everything is inside, so that it may be copied
  cat >"$1.kubeconfig.part" <<END
apiVersion: v1
kind: Config
clusters: [{name: veloz-chaos-test, cluster: {server: "https://$net.1:6443", certificate-authority-data: $(base64 -w 0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w 0 "$1.crt"), client-key-data: $(base64 -w 0 "$1.key")}}]
contexts: [{name: veloz-chaos-test, context: {cluster: veloz-chaos-test, user: $1}}]
current-context: veloz-chaos-test
END
  mv "$1.kubeconfig.part" "$1.kubeconfig"
}

if [ ! -e ca.crt ]; then
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key 2>/dev/null
  openssl pkey -in sa.key -pubout -out sa.pub
  openssl req -x509 "${key[@]}" -days 3650 -subj /CN=veloz-chaos-test -keyout ca.key -out ca.crt \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
fi
own=kubernetes.default.svc.cluster.local
certificate apiserver /CN=kube-apiserver serverAuth \
  "IP:127.0.0.1,IP:$net.1,IP:${services%.*}.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:$own"
certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client clientAuth
certificate front-proxy /CN=front-proxy clientAuth
certificate admin /O=system:masters/CN=admin clientAuth
for name in kube-controller-manager kube-scheduler kube-proxy; do certificate $name "/CN=system:$name" clientAuth; done
for number in $(seq "$1"); do certificate "n$number" "/O=system:nodes/CN=system:node:n$number" clientAuth; done
for name in admin kube-controller-manager kube-scheduler kube-proxy $(seq -f n%g "$1"); do kubeconfig "$name"; done
