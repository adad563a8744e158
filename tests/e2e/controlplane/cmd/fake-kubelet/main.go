// Command fake-kubelet is a small kubelet for tests. It registers one node, takes every pod that
// has none, runs the commands of the pods' containers as plain processes of this machine, and
// serves logs, exec, attach and port-forward the way the real one does.
//
// There is no isolation: a container sees the machine's files, starts in a folder of its own, and
// has its own loopback address as POD_IP. Images are ignored.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// A client that connects and sends nothing must not hold a connection for ever.
const headerWait = 30 * time.Second

type options struct {
	kubeconfig, nodeName, dir   string
	listen                      string
	certFile, keyFile, clientCA string
	webSockets                  bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "http" {
		exit(serveHTTP(os.Args[2:]))
	}
	o := options{}
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flag.StringVar(&o.nodeName, "node-name", "local", "name of the node")
	flag.StringVar(&o.dir, "dir", "", "folder for the working folders of the containers")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to serve on; the port is published in the node's status")
	flag.StringVar(&o.certFile, "tls-cert-file", "", "serving certificate")
	flag.StringVar(&o.keyFile, "tls-private-key-file", "", "key of the serving certificate")
	flag.StringVar(&o.clientCA, "client-ca-file", "", "demand client certificates of this authority")
	flag.BoolVar(&o.webSockets, "websockets", false, "declare that the API server may pass WebSockets of version 5 and tunnels on")
	klog.InitFlags(nil)
	flag.Parse()
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake-kubelet:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(o options) error {
	if o.kubeconfig == "" || o.dir == "" || o.certFile == "" {
		return errors.New("--kubeconfig, --dir and --tls-cert-file are needed")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit of our own: tests wait for what this client does
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := addSelfToPath(); err != nil {
		return err
	}
	pods := newPods(client, o.nodeName, o.dir)
	listener, err := listen(o)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newStreams(pods).handler(), ReadHeaderTimeout: headerWait}
	go func() { _ = server.Serve(listener) }()

	port := listener.Addr().(*net.TCPAddr).Port
	if err := registerNode(ctx, client, o.nodeName, int32(port), o.webSockets); err != nil {
		return err
	}
	klog.Infof("node %s serves on port %d", o.nodeName, port)
	pods.run(ctx)
	return server.Close()
}

// listen opens the TLS listener. HTTP/2 is not offered: upgrades need HTTP/1.1.
func listen(o options) (net.Listener, error) {
	certificate, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}
	if o.clientCA != "" {
		text, err := os.ReadFile(o.clientCA)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("no certificate in %s", o.clientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return tls.Listen("tcp", o.listen, config)
}

// addSelfToPath lets containers run this program by its name, for its small HTTP server.
func addSelfToPath() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Setenv("PATH", filepath.Dir(self)+string(os.PathListSeparator)+os.Getenv("PATH"))
}
