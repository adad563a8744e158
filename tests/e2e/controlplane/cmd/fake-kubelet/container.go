package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A container that ends is started again after a second, then two, four, and so on up to this:
// shorter than the real five minutes, for tests wait for it.
const (
	firstBackoff = time.Second
	lastBackoff  = 10 * time.Second
)

// container is one container of a pod, over all its restarts.
type container struct {
	pod  *pod
	spec corev1.Container

	mu       sync.Mutex
	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	process  *process
	stdin    *io.PipeWriter // where attach writes to
	output   *output        // nil before the first start
	previous *output        // of the run before
}

func newContainer(pod *pod, spec corev1.Container) *container {
	c := &container{pod: pod, spec: spec}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	return c
}

// argv is the command to run. Without an image there is nothing that a container without a command
// would do: with stdin it is a shell, else it waits.
func (c *container) argv() []string {
	argv := append(append([]string{}, c.spec.Command...), c.spec.Args...)
	switch {
	case len(argv) > 0:
		return argv
	case c.spec.Stdin:
		return []string{"sh"}
	default:
		return []string{"sleep", "infinity"}
	}
}

// env is the environment of the container's processes: nothing of this program's own but PATH.
func (c *container) env() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir(), "TERM=xterm",
		"HOSTNAME=" + c.pod.name, "POD_IP=" + c.pod.ip,
	}
	for _, variable := range c.spec.Env {
		env = append(env, variable.Name+"="+variable.Value)
	}
	return env
}

// dir is the working folder: relative paths of `kubectl cp` end here.
func (c *container) dir() string { return filepath.Join(c.pod.dir, c.spec.Name) }

// run runs the container, again and again as its restart policy says, until ctx is cancelled.
func (c *container) run(ctx context.Context) {
	backoff := firstBackoff
	for {
		code := c.runOnce(ctx)
		policy := c.pod.restartPolicy
		again := policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && code != 0
		if ctx.Err() != nil || !again {
			return
		}
		c.change(func() {
			c.last = c.state
			c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "CrashLoopBackOff", Message: "back-off " + backoff.String() + " restarting the container",
			}}
		})
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			c.change(func() { c.state = c.last })
			return
		}
		c.change(func() { c.restarts++ })
		backoff = min(2*backoff, lastBackoff)
	}
}

// runOnce runs the command once. When ctx is cancelled it is asked to end, and killed when the
// pod's grace is over.
func (c *container) runOnce(ctx context.Context) int {
	output, stdin := newOutput(), (*io.PipeReader)(nil)
	command := command{
		argv: c.argv(), env: c.env(), dir: c.dir(), tty: c.spec.TTY,
		stdout: output.stream(false), stderr: output.stream(true),
	}
	if c.spec.WorkingDir != "" {
		command.dir = c.spec.WorkingDir
	}
	var stdinWriter *io.PipeWriter
	if c.spec.Stdin {
		stdin, stdinWriter = io.Pipe()
		defer stdin.Close()
		command.stdin = stdin
	}
	started := metav1.Now()
	err := os.MkdirAll(c.dir(), 0o755)
	var process *process
	if err == nil {
		// Not ctx: its end is the polite one, below.
		process, err = command.start(context.Background())
	}
	c.change(func() {
		c.previous, c.output, c.stdin = c.output, output, stdinWriter
		if err == nil {
			c.process = process
			c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
		}
	})
	end := &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: started, ContainerID: c.id()}
	if err != nil {
		end.ExitCode, end.Reason, end.Message = int32(startFailure(err)), "StartError", err.Error()
	} else if end.ExitCode = int32(c.waitFor(ctx, process)); end.ExitCode != 0 {
		end.Reason = "Error"
	}
	output.close()
	end.FinishedAt = metav1.Now()
	c.change(func() {
		c.process = nil
		c.state = corev1.ContainerState{Terminated: end}
	})
	return int(end.ExitCode)
}

func (c *container) waitFor(ctx context.Context, process *process) int {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		process.signal(syscall.SIGTERM)
		select {
		case <-time.After(c.pod.grace()):
			process.signal(syscall.SIGKILL)
		case <-ended:
		}
	}()
	code := process.wait()
	process.signal(syscall.SIGKILL) // what the command left behind
	return code
}

func (c *container) id() string { return "process://" + string(c.pod.uid) + "/" + c.spec.Name }

// change changes the container's state and lets the pod publish it.
func (c *container) change(how func()) {
	c.mu.Lock()
	how()
	c.mu.Unlock()
	c.pod.touch()
}

// current is the process and the output of the container if it runs now.
func (c *container) current() (*process, *output, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process, c.output, c.process != nil
}

func (c *container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	running := c.state.Running != nil
	status := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image,
		State: c.state, LastTerminationState: c.last, RestartCount: c.restarts,
		Ready: running, Started: &running,
	}
	if c.state.Waiting == nil {
		status.ContainerID = c.id()
	}
	return status
}
