package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// The kubelet gives its pods a second to end; one that hangs must not hang a test run.
const stopWait = 5 * time.Second

// Ports are drawn below 32768, where Linux begins to hand out ports for outgoing connections: a
// port found free there stays free until the server listens, unless another cluster draws it too.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 50
)

// How much of a log is shown when a child ends by itself.
const logTail = 2000

// child is one server process of the cluster.
type child struct {
	name string
	log  string
	end  syscall.Signal // what ends it, also when the launcher is killed
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// start runs a program with its output in a fresh log file. The caller's thread must live as long as
// this program does: Linux sends the death signal when the thread that forked ends.
func start(name, log string, end syscall.Signal, program string, args ...string) (*child, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = file, file
	// A group of its own: Ctrl-C in a terminal reaches the launcher alone, which ends the
	// children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: end}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, log: log, end: end, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop ends the process, with SIGKILL when its own signal is not enough. It waits until the process
// is gone, so that its port can be used again.
func (c *child) stop() {
	if c == nil {
		return
	}
	_ = c.cmd.Process.Signal(c.end)
	select {
	case <-c.done:
	case <-time.After(stopWait):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// failure says that the process has ended by itself, with the end of its log.
func (c *child) failure() error {
	text, _ := os.ReadFile(c.log)
	if len(text) > logTail {
		text = text[len(text)-logTail:]
	}
	err := fmt.Errorf("%s ended: %v; the end of %s:\n%s", c.name, c.cmd.ProcessState, c.log, bytes.TrimSpace(text))
	if bytes.Contains(text, []byte(syscall.EADDRINUSE.Error())) {
		return errors.Join(errPortTaken, err)
	}
	return err
}

// errPortTaken says that another program took a port between freePort and the server's start.
var errPortTaken = errors.New("a port was taken by another program")

// freePort finds a loopback port that nobody listens on; a wanted one is taken as it is.
func freePort(wanted int) (int, error) {
	if wanted != 0 {
		return wanted, nil
	}
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("no free loopback port found")
}

// program finds one of the programs that were built beside this one.
func program(bin, name string) (string, error) {
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s in %s (run build.sh, or say --bin): %w", name, bin, err)
	}
	return path, nil
}
