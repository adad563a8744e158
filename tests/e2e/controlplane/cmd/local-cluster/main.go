// Command local-cluster starts a real control plane on loopback for tests and demos: etcd, the API
// server, a small kubelet with one node, and the few controllers that tests cannot do without.
//
// It prints one line `READY DIR/admin.kubeconfig` when the cluster can be used, and ends with all
// its children on SIGTERM, on SIGINT, and with --exit-with-stdin when its standard input closes.
//
// On SIGUSR1 it stops the API server alone, on SIGUSR2 it starts it again: a cluster that was away, with all its
// objects and certificates, or with those of DIR/etcd.restore, a copy of DIR/etcd from another time when it was away.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"k8s.io/klog/v2"
)

func init() {
	// The main goroutine starts the children and must stay on the main thread: see start.
	runtime.LockOSThread()
}

// options are the command line.
type options struct {
	dir, bin                string
	etcdPort, apiServerPort int
	apiServerArgs           list
	demo, exitWithStdin     bool
	kubeletWebSockets       bool
}

// list is a flag that may be given many times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func parse() (*options, error) {
	o := &options{}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	flag.StringVar(&o.dir, "dir", "", "folder for all files of the cluster; one of an earlier run goes on with its data")
	flag.StringVar(&o.bin, "bin", filepath.Dir(self), "folder with kube-apiserver, etcd and fake-kubelet")
	flag.IntVar(&o.etcdPort, "etcd-port", 0, "port of etcd (default: a free one)")
	flag.IntVar(&o.apiServerPort, "apiserver-port", 0, "port of the API server (default: a free one)")
	flag.Var(&o.apiServerArgs, "apiserver-arg", "one more argument for the API server, for example --apiserver-arg=--emulated-version=kube=1.34; may be repeated")
	flag.BoolVar(&o.demo, "demo", false, "create pods to play with in the namespace demo")
	flag.BoolVar(&o.exitWithStdin, "exit-with-stdin", false, "end when standard input closes")
	flag.BoolVar(&o.kubeletWebSockets, "kubelet-websockets", false, "let the API server pass WebSockets on to the kubelet instead of translating them")
	flag.Parse()
	if o.dir == "" || flag.NArg() > 0 {
		return nil, fmt.Errorf("usage: local-cluster --dir DIR [flags]; see --help")
	}
	o.dir, err = filepath.Abs(o.dir)
	return o, err
}

func main() {
	o, err := parse()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "local-cluster:", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if o.exitWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
			cancel()
		}()
	}
	klog.LogToStderr(false)
	log, err := openLog(o)
	if err != nil {
		return err
	}
	defer log.Close()

	c := &cluster{options: o}
	defer c.stop()
	if err := c.bringUp(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to end while starting
		}
		return err
	}
	turns := make(chan os.Signal, 1)
	signal.Notify(turns, syscall.SIGUSR1, syscall.SIGUSR2)
	fmt.Printf("READY %s\n", c.adminKubeconfig())
	ended := c.apiServer.done
	for {
		select {
		case <-ctx.Done():
			return nil
		case turn := <-turns:
			c.apiServer.stop()
			ended = nil // nobody waits for what was stopped
			if turn == syscall.SIGUSR2 {
				if err := c.restore(); err != nil {
					return err
				}
				if err := c.runAPIServer(); err != nil {
					return err
				}
				ended = c.apiServer.done
			}
		case <-c.etcd.done:
			return c.etcd.failure()
		case <-ended:
			return c.apiServer.failure()
		case <-c.kubelet.done:
			return c.kubelet.failure()
		}
	}
}

// openLog makes the folder for logs and sends the controllers' own log there.
func openLog(o *options) (*os.File, error) {
	folder := filepath.Join(o.dir, "logs")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(folder, "local-cluster.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		klog.SetOutput(file)
	}
	return file, err
}
