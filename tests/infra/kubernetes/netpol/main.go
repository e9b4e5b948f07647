// netpol: a small NetworkPolicy (networking.k8s.io/v1) enforcer for one node.
// Informers on pods, namespaces and policies -> one nftables table, replaced atomically with `nft -f -`.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os/exec"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corel "k8s.io/client-go/listers/core/v1"
	netl "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	pods corel.PodLister
	nss  corel.NamespaceLister
	pols netl.NetworkPolicyLister
)

func sel(s *metav1.LabelSelector) labels.Selector {
	x, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return x
}

func live(p *corev1.Pod) bool {
	return p.Status.PodIP != "" && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// peerPods lists the pods a peer selects (not for ipBlock peers).
func peerPods(ns string, peer netv1.NetworkPolicyPeer) []*corev1.Pod {
	names := []string{ns}
	if peer.NamespaceSelector != nil {
		names = nil
		l, _ := nss.List(sel(peer.NamespaceSelector))
		for _, n := range l {
			names = append(names, n.Name)
		}
	}
	ps := labels.Everything()
	if peer.PodSelector != nil {
		ps = sel(peer.PodSelector)
	}
	var out []*corev1.Pod
	for _, n := range names {
		l, _ := pods.Pods(n).List(ps)
		for _, p := range l {
			if live(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// ports gives nft matches, one per protocol+port; dst resolves named ports.
func ports(pp []netv1.NetworkPolicyPort, dst *corev1.Pod) []string {
	if len(pp) == 0 {
		return []string{""}
	}
	var out []string
	for _, p := range pp {
		proto := "tcp"
		if p.Protocol != nil {
			proto = strings.ToLower(string(*p.Protocol))
		}
		switch {
		case p.Port == nil:
			out = append(out, "meta l4proto "+proto)
		case p.Port.StrVal != "":
			if dst == nil {
				continue
			}
			for _, c := range dst.Spec.Containers {
				for _, cp := range c.Ports {
					if cp.Name == p.Port.StrVal && strings.EqualFold(string(cp.Protocol), proto) {
						out = append(out, fmt.Sprintf("%s dport %d", proto, cp.ContainerPort))
					}
				}
			}
		case p.EndPort != nil:
			out = append(out, fmt.Sprintf("%s dport %d-%d", proto, p.Port.IntVal, *p.EndPort))
		default:
			out = append(out, fmt.Sprintf("%s dport %d", proto, p.Port.IntVal))
		}
	}
	return out
}

func emit(b *bytes.Buffer, dir, ns string, pp []netv1.NetworkPolicyPort, peers []netv1.NetworkPolicyPeer, self *corev1.Pod) {
	field := map[string]string{"in": "saddr", "eg": "daddr"}[dir]
	w := func(addr string, dst *corev1.Pod) {
		for _, p := range ports(pp, dst) {
			fmt.Fprintf(b, "    %s %s return\n", addr, p)
		}
	}
	dst := self
	if dir == "eg" {
		dst = nil
	}
	if len(peers) == 0 {
		w("", dst)
	}
	for _, peer := range peers {
		if peer.IPBlock != nil {
			if strings.Contains(peer.IPBlock.CIDR, ":") {
				continue
			}
			a := fmt.Sprintf("ip %s %s", field, peer.IPBlock.CIDR)
			if len(peer.IPBlock.Except) > 0 {
				a += fmt.Sprintf(" ip %s != { %s }", field, strings.Join(peer.IPBlock.Except, ", "))
			}
			w(a, dst)
			continue
		}
		l := peerPods(ns, peer)
		if dir == "eg" {
			for _, p := range l {
				w("ip daddr "+p.Status.PodIP, p)
			}
			continue
		}
		var ips []string
		for _, p := range l {
			ips = append(ips, p.Status.PodIP)
		}
		if sort.Strings(ips); len(ips) > 0 {
			w("ip saddr { "+strings.Join(ips, ", ")+" }", dst)
		}
	}
}

func render(node string) string {
	var head, chains bytes.Buffer
	all, _ := pods.List(labels.Everything())
	sort.Slice(all, func(i, j int) bool { return all[i].UID < all[j].UID })
	for _, p := range all {
		if p.Spec.NodeName != node || !live(p) {
			continue
		}
		list, _ := pols.NetworkPolicies(p.Namespace).List(labels.Everything())
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		iso := map[string]bool{}
		body := map[string]*bytes.Buffer{"in": {}, "eg": {}}
		for _, np := range list {
			if !sel(&np.Spec.PodSelector).Matches(labels.Set(p.Labels)) {
				continue
			}
			for _, t := range np.Spec.PolicyTypes {
				if t == netv1.PolicyTypeIngress {
					iso["in"] = true
					for _, r := range np.Spec.Ingress {
						emit(body["in"], "in", np.Namespace, r.Ports, r.From, p)
					}
				} else if t == netv1.PolicyTypeEgress {
					iso["eg"] = true
					for _, r := range np.Spec.Egress {
						emit(body["eg"], "eg", np.Namespace, r.Ports, r.To, p)
					}
				}
			}
		}
		for _, d := range []string{"eg", "in"} {
			if !iso[d] {
				continue
			}
			c := d + "_" + strings.ReplaceAll(p.Status.PodIP, ".", "_")
			f := map[string]string{"in": "daddr", "eg": "saddr"}[d]
			fmt.Fprintf(&head, "    ip %s %s jump %s\n", f, p.Status.PodIP, c)
			fmt.Fprintf(&chains, "  chain %s {\n%s    counter drop\n  }\n", c, body[d])
		}
	}
	return "table inet veloz_netpol\ndelete table inet veloz_netpol\ntable inet veloz_netpol {\n" + chains.String() +
		"  chain forward {\n    type filter hook forward priority -5; policy accept;\n    ct state established,related accept\n" + head.String() + "  }\n}\n"
}

func main() {
	kc, node := flag.String("kubeconfig", "", ""), flag.String("node", "", "")
	flag.Parse()
	cfg, err := clientcmd.BuildConfigFromFlags("", *kc)
	if err != nil {
		log.Fatal(err)
	}
	f := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(cfg), 0)
	dirty := make(chan struct{}, 1)
	mark := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	h := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { mark() }, UpdateFunc: func(any, any) { mark() }, DeleteFunc: func(any) { mark() }}
	pods, nss, pols = f.Core().V1().Pods().Lister(), f.Core().V1().Namespaces().Lister(), f.Networking().V1().NetworkPolicies().Lister()
	f.Core().V1().Pods().Informer().AddEventHandler(h)
	f.Core().V1().Namespaces().Informer().AddEventHandler(h)
	f.Networking().V1().NetworkPolicies().Informer().AddEventHandler(h)
	stop := make(chan struct{})
	f.Start(stop)
	f.WaitForCacheSync(stop)
	last := ""
	for range dirty {
		time.Sleep(50 * time.Millisecond)
		r := render(*node)
		if r == last {
			continue
		}
		c := exec.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(r)
		if out, err := c.CombinedOutput(); err != nil {
			log.Printf("nft: %v %s\n%s", err, out, r)
			time.Sleep(time.Second)
			mark()
			continue
		}
		last = r
		log.Printf("applied %d bytes", len(r))
	}
}
