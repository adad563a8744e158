package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	nodeName = "local"

	// From the first process to a Ready node takes three seconds; a busy machine may be ten times
	// slower.
	readyWait = 90 * time.Second
	readyPoll = 50 * time.Millisecond

	// A port may be taken between the moment it is found free and the moment a server listens.
	startTries = 3
)

// auditPolicy records every request but those of the cluster's own parts: what is left is what
// clients sent, which is the oracle of the tests.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "local-cluster", "local-kubelet"]
- level: Metadata
`

// cluster is the running control plane.
type cluster struct {
	*options
	pki                      *pki
	server                   string
	config                   *rest.Config
	etcd, apiServer, kubelet *child
	// Program and arguments.
	etcdCommand, apiServerCommand []string
}

// info is DIR/info.json, for programs that did not start the cluster themselves.
type info struct {
	Server          string         `json:"server"`
	CA              string         `json:"ca"`
	AdminKubeconfig string         `json:"adminKubeconfig"`
	AuditLog        string         `json:"auditLog"`
	Node            string         `json:"node"`
	PIDs            map[string]int `json:"pids"`
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) log(name string) string { return filepath.Join(c.dir, "logs", name+".log") }

func (c *cluster) adminKubeconfig() string { return c.file("admin.kubeconfig") }

// bringUp starts all parts and returns when the cluster can be used.
func (c *cluster) bringUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	var err error
	if c.pki, err = newPKI(c.file("pki")); err != nil {
		return err
	}
	if err := os.WriteFile(c.file("audit-policy.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.startServers(ctx)
		if err == nil {
			break
		}
		fixed := c.apiServerPort != 0 || c.etcdPort != 0
		if fixed || try == startTries || !errors.Is(err, errPortTaken) {
			return err
		}
		c.stop()
	}
	if err := c.startKubelet(); err != nil {
		return err
	}
	// The controllers live as long as the process: they are not to end with the wait.
	if err := runControllers(context.WithoutCancel(ctx), c.config); err != nil {
		return err
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	return c.writeInfo()
}

// stop ends the parts in the order in which they depend on one another.
func (c *cluster) stop() {
	c.kubelet.stop()
	c.apiServer.stop()
	c.etcd.stop()
}

func (c *cluster) startServers(ctx context.Context) error {
	etcdURL, err := c.startEtcd()
	if err != nil {
		return err
	}
	if err := c.startAPIServer(etcdURL); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	return c.waitFor(ctx, "the API server to be ready", func() bool {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
}

func (c *cluster) startEtcd() (string, error) {
	program, err := program(c.bin, "etcd")
	if err != nil {
		return "", err
	}
	port, err := freePort(c.etcdPort)
	if err != nil {
		return "", err
	}
	peerPort, err := freePort(0)
	if err != nil {
		return "", err
	}
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	peerURL := "http://127.0.0.1:" + strconv.Itoa(peerPort)
	c.etcdCommand = []string{program,
		"--name=local", "--data-dir=" + c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=local=" + peerURL}
	return url, c.runEtcd()
}

// runEtcd starts etcd with its arguments: for the first time, or once more after its data were put back.
func (c *cluster) runEtcd() (err error) {
	program, args := c.etcdCommand[0], c.etcdCommand[1:]
	// Not SIGTERM: it would wait for its clients. What it acknowledged is with the kernel by then.
	c.etcd, err = start("etcd", c.log("etcd"), syscall.SIGKILL, program, args...)
	return err
}

// restore puts DIR/etcd.restore in the place of etcd's data, if it is there. The API server must be stopped.
func (c *cluster) restore() error {
	copied := c.file("etcd.restore")
	if _, err := os.Stat(copied); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	c.etcd.stop()
	if err := os.RemoveAll(c.file("etcd")); err != nil {
		return err
	}
	if err := os.Rename(copied, c.file("etcd")); err != nil {
		return err
	}
	return c.runEtcd()
}

func (c *cluster) startAPIServer(etcdURL string) error {
	program, err := program(c.bin, "kube-apiserver")
	if err != nil {
		return err
	}
	port, err := freePort(c.apiServerPort)
	if err != nil {
		return err
	}
	args, err := c.apiServerArguments(etcdURL, port)
	if err != nil {
		return err
	}
	c.server = "https://127.0.0.1:" + strconv.Itoa(port)
	admin, err := c.pki.client("admin", "admin", "system:masters")
	if err != nil {
		return err
	}
	if err := c.pki.kubeconfig(c.adminKubeconfig(), c.server, admin); err != nil {
		return err
	}
	own, err := c.pki.client("local-cluster", "local-cluster", "system:masters")
	if err != nil {
		return err
	}
	c.config = &rest.Config{
		Host:            c.server,
		QPS:             -1, // no limit of our own: tests wait for what this client does
		TLSClientConfig: rest.TLSClientConfig{CAData: c.pki.caPEM, CertData: own.cert, KeyData: own.key},
	}
	c.apiServerCommand = append([]string{program}, args...)
	return c.runAPIServer()
}

// runAPIServer starts the API server with its arguments: for the first time, or once more after it was stopped.
func (c *cluster) runAPIServer() (err error) {
	program, args := c.apiServerCommand[0], c.apiServerCommand[1:]
	// Not SIGTERM: it would wait for the end of every open watch, and keeps nothing outside of etcd.
	c.apiServer, err = start("kube-apiserver", c.log("kube-apiserver"), syscall.SIGKILL, program, args...)
	return err
}

// apiServerArguments makes the certificates that the API server needs and the flags that name them.
func (c *cluster) apiServerArguments(etcdURL string, port int) ([]string, error) {
	serving, err := c.pki.server("kube-apiserver", []string{"localhost", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}, "127.0.0.1", "::1", "10.0.0.1")
	if err != nil {
		return nil, err
	}
	toKubelet, err := c.pki.client("kube-apiserver-kubelet", "kube-apiserver", "system:masters")
	if err != nil {
		return nil, err
	}
	private, public, err := c.pki.signingKey()
	if err != nil {
		return nil, err
	}
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + serving.certFile, "--tls-private-key-file=" + serving.keyFile,
		"--client-ca-file=" + c.pki.path("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + public, "--service-account-signing-key-file=" + private,
		"--service-cluster-ip-range=10.0.0.0/24",
		// Else every pod would need a service account and its token volume, which nothing mounts.
		"--disable-admission-plugins=ServiceAccount",
		"--kubelet-certificate-authority=" + c.pki.path("ca.crt"),
		"--kubelet-client-certificate=" + toKubelet.certFile, "--kubelet-client-key=" + toKubelet.keyFile,
		"--kubelet-preferred-address-types=InternalIP",
		"--audit-log-path=" + c.file("audit.log"), "--audit-policy-file=" + c.file("audit-policy.yaml"),
		"--allow-privileged",
	}
	return append(args, c.apiServerArgs...), nil
}

func (c *cluster) startKubelet() error {
	program, err := program(c.bin, "fake-kubelet")
	if err != nil {
		return err
	}
	serving, err := c.pki.server("kubelet", []string{nodeName}, "127.0.0.1")
	if err != nil {
		return err
	}
	login, err := c.pki.client("local-kubelet", "local-kubelet", "system:masters")
	if err != nil {
		return err
	}
	if err := c.pki.kubeconfig(c.file("pki/kubelet.kubeconfig"), c.server, login); err != nil {
		return err
	}
	args := []string{
		"--kubeconfig=" + c.file("pki/kubelet.kubeconfig"), "--node-name=" + nodeName, "--dir=" + c.file("pods"),
		"--tls-cert-file=" + serving.certFile, "--tls-private-key-file=" + serving.keyFile,
		"--client-ca-file=" + c.pki.path("ca.crt"),
	}
	if c.kubeletWebSockets {
		args = append(args, "--websockets")
	}
	c.kubelet, err = start("fake-kubelet", c.log("fake-kubelet"), syscall.SIGTERM, program, args...)
	return err
}

// prepare waits until the node, the namespaces and the aggregated roles are there.
func (c *cluster) prepare(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	demo := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, demo, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the namespace demo: %w", err)
	}
	for _, namespace := range []string{"default", "demo"} {
		if err := c.waitFor(ctx, "the namespace "+namespace, func() bool {
			_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			return err == nil
		}); err != nil {
			return err
		}
	}
	for _, role := range []string{"view", "edit", "admin"} {
		if err := c.waitFor(ctx, "the rules of the cluster role "+role, func() bool {
			found, err := client.RbacV1().ClusterRoles().Get(ctx, role, metav1.GetOptions{})
			return err == nil && len(found.Rules) > 0
		}); err != nil {
			return err
		}
	}
	if err := c.waitFor(ctx, "the node to be ready", func() bool {
		node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		return err == nil && nodeReady(node)
	}); err != nil {
		return err
	}
	if c.demo {
		return c.createDemo(ctx, client)
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitFor polls until done says so, the time is up, or a child has ended by itself.
func (c *cluster) waitFor(ctx context.Context, what string, done func() bool) error {
	for !done() {
		for _, child := range []*child{c.etcd, c.apiServer, c.kubelet} {
			if child != nil && child.ended() {
				return child.failure()
			}
		}
		select {
		case <-time.After(readyPoll):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("waited %s for %s; see %s", readyWait, what, c.file("logs"))
			}
			return ctx.Err()
		}
	}
	return nil
}

func (c *cluster) writeInfo() error {
	text, err := json.MarshalIndent(info{
		Server:          c.server,
		CA:              c.pki.path("ca.crt"),
		AdminKubeconfig: c.adminKubeconfig(),
		AuditLog:        c.file("audit.log"),
		Node:            nodeName,
		PIDs: map[string]int{
			"launcher": os.Getpid(), "etcd": c.etcd.pid(),
			"kube-apiserver": c.apiServer.pid(), "fake-kubelet": c.kubelet.pid(),
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.file("info.json"), append(text, '\n'), 0o644)
}
