package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// A pod's port is on this machine: it answers at once or not at all.
const dialWait = 5 * time.Second

// ExecInContainer runs a command beside the container's own one.
func (s *session) ExecInContainer(ctx context.Context, _, _, _ string, argv []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	run := command{argv: argv, env: s.container.env(), dir: s.container.dir(), tty: tty, stdin: in}
	if out != nil {
		run.stdout = out
	}
	if errOut != nil {
		run.stderr = errOut
	}
	process, err := run.start(ctx)
	if err != nil {
		if errOut != nil {
			_, _ = fmt.Fprintln(errOut, err)
		}
		return exitError(startFailure(err))
	}
	go func() {
		for size := range resize {
			process.resize(size.Width, size.Height)
		}
	}()
	if code := process.wait(); code != 0 {
		return exitError(code)
	}
	return nil
}

// exitError is the error that becomes the exit code of kubectl.
func exitError(code int) error {
	return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
}

// AttachContainer joins the container's own streams. What was written before is not repeated, as
// with a real kubelet: kubectl fetches it from the log since 1.36, and older ones miss it.
func (s *session) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	c := s.container
	process, output, running := c.current()
	if !running {
		return errors.New("the container does not run")
	}
	c.mu.Lock()
	stdin := c.stdin
	c.mu.Unlock()
	if in != nil && stdin != nil {
		go func() {
			_, _ = io.Copy(stdin, in)
			if c.spec.StdinOnce {
				_ = stdin.Close()
			}
		}()
	}
	go func() {
		for size := range resize {
			process.resize(size.Width, size.Height)
		}
	}()
	for number := output.end(); ; {
		entries, after := output.next(ctx, number, true)
		if len(entries) == 0 {
			return nil
		}
		number = after
		for _, e := range entries {
			to := out
			if e.stderr && !tty {
				to = errOut
			}
			if to == nil {
				continue
			}
			if _, err := to.Write(e.text); err != nil {
				return nil // the client is gone
			}
		}
	}
}

// PortForward copies between a stream and a port of the pod: on the pod's own address, or on
// 127.0.0.1 for programs that know nothing of POD_IP.
func (s *session) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	number := strconv.Itoa(int(port))
	dialer := net.Dialer{Timeout: dialWait}
	conn, err := dialer.DialContext(s.ctx, "tcp", net.JoinHostPort(s.pod.ip, number))
	if err != nil {
		conn, err = dialer.DialContext(s.ctx, "tcp", net.JoinHostPort(loopback, number))
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	// The stream itself does not end when the connection that carries it does.
	defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	if s.ctx.Err() != nil {
		return nil
	}
	return err
}
