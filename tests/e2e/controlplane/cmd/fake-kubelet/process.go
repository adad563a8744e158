package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/creack/pty"
)

const (
	exitNotFound      = 127 // what a shell answers for a command that does not exist
	exitNotExecutable = 126
	exitSignalled     = 128 // plus the number of the signal

	// The byte that a terminal takes for the end of input (Ctrl-D).
	endOfTransmission = 4
)

// command is what to run: a container's own command, or one of `kubectl exec`.
type command struct {
	argv           []string
	env            []string
	dir            string
	tty            bool
	stdin          io.Reader // nil: none
	stdout, stderr io.Writer // nil: thrown away; stderr is not used with a tty
}

// process is a running command, the leader of a session of its own so that it can be ended
// together with its children.
type process struct {
	cmd      *exec.Cmd
	terminal *os.File // with a tty
	copying  sync.WaitGroup
}

// start runs the command until it ends by itself or ctx is cancelled, which kills it.
func (c command) start(ctx context.Context) (*process, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd}
	cmd.Cancel = func() error {
		p.signal(syscall.SIGKILL)
		return nil
	}
	if c.tty {
		return p, p.startWithTerminal(c)
	}
	cmd.Stdout, cmd.Stderr = c.stdout, c.stderr
	if c.stdin == nil {
		return p, cmd.Start()
	}
	// Not cmd.Stdin: Wait would then wait for the client to close its end.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(stdin, c.stdin)
		_ = stdin.Close()
	}()
	return p, nil
}

func (p *process) startWithTerminal(c command) error {
	var err error
	if p.terminal, err = pty.Start(p.cmd); err != nil {
		return err
	}
	if c.stdin != nil {
		go func() {
			_, _ = io.Copy(p.terminal, c.stdin)
			// A terminal has no end of its own: say it the way a person would.
			_, _ = p.terminal.Write([]byte{endOfTransmission})
		}()
	}
	stdout := c.stdout
	if stdout == nil {
		stdout = io.Discard
	}
	p.copying.Go(func() { _, _ = io.Copy(stdout, p.terminal) })
	return nil
}

// wait waits for the end of the process and of its output, and gives the exit code.
func (p *process) wait() int {
	_ = p.cmd.Wait()
	if p.terminal != nil {
		p.copying.Wait()
		_ = p.terminal.Close()
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return exitSignalled + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// signal reaches the whole session's process group, even after its leader has ended.
func (p *process) signal(signal syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal)
}

func (p *process) resize(width, height uint16) {
	if p.terminal != nil && width > 0 && height > 0 {
		_ = pty.Setsize(p.terminal, &pty.Winsize{Cols: width, Rows: height})
	}
}

// startFailure is the exit code for a command that could not be started.
func startFailure(err error) int {
	if errors.Is(err, os.ErrPermission) {
		return exitNotExecutable
	}
	return exitNotFound
}
