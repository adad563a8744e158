package main

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one pod that this node runs.
type pod struct {
	uid             types.UID
	namespace, name string
	ip, dir         string
	restartPolicy   corev1.RestartPolicy
	containers      []*container
	started         metav1.Time

	touched chan struct{}   // something changed that is not published yet
	stop    context.Context // cancelled when the containers are to end
	cancel  context.CancelFunc
	graceNs atomic.Int64
}

func newPod(from *corev1.Pod, ip, dir string) *pod {
	p := &pod{
		uid: from.UID, namespace: from.Namespace, name: from.Name, ip: ip, dir: dir,
		restartPolicy: from.Spec.RestartPolicy, started: metav1.Now(), touched: make(chan struct{}, 1),
	}
	p.stop, p.cancel = context.WithCancel(context.Background())
	for _, spec := range from.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, spec))
	}
	return p
}

// run runs all containers to their end.
func (p *pod) run() {
	var containers sync.WaitGroup
	for _, c := range p.containers {
		containers.Go(func() { c.run(p.stop) })
	}
	containers.Wait()
	<-p.stop.Done() // what it wrote stays until the pod is deleted
	_ = os.RemoveAll(p.dir)
}

// end asks the containers to end within grace. A second call can only shorten what is left when it
// comes before the first one took effect; a pod that is deleted by force ends at once.
func (p *pod) end(grace time.Duration) {
	p.graceNs.Store(int64(grace))
	p.cancel()
}

func (p *pod) grace() time.Duration { return time.Duration(p.graceNs.Load()) }

func (p *pod) touch() {
	select {
	case p.touched <- struct{}{}:
	default:
	}
}

func (p *pod) container(name string) *container {
	for _, c := range p.containers {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// statusPatch is the pod's status as a merge patch.
func (p *pod) statusPatch() ([]byte, error) {
	status := corev1.PodStatus{
		HostIP: loopback, HostIPs: []corev1.HostIP{{IP: loopback}},
		PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}},
		StartTime: &p.started, QOSClass: corev1.PodQOSBestEffort,
	}
	for _, c := range p.containers {
		status.ContainerStatuses = append(status.ContainerStatuses, c.status())
	}
	status.Phase = phase(p.restartPolicy, status.ContainerStatuses)
	status.Conditions = conditions(status, p.started)
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.uid},
		"status":   status,
	})
}

func phase(policy corev1.RestartPolicy, containers []corev1.ContainerStatus) corev1.PodPhase {
	result := corev1.PodSucceeded
	for _, c := range containers {
		switch {
		case c.State.Running != nil || c.State.Waiting != nil && c.LastTerminationState.Terminated != nil:
			return corev1.PodRunning
		case c.State.Waiting != nil:
			return corev1.PodPending
		case policy == corev1.RestartPolicyAlways:
			return corev1.PodRunning // about to start again
		case c.State.Terminated.ExitCode != 0 && policy == corev1.RestartPolicyOnFailure:
			return corev1.PodRunning
		case c.State.Terminated.ExitCode != 0:
			result = corev1.PodFailed
		}
	}
	return result
}

func conditions(status corev1.PodStatus, since metav1.Time) []corev1.PodCondition {
	ready := corev1.ConditionTrue
	for _, c := range status.ContainerStatuses {
		if !c.Ready {
			ready = corev1.ConditionFalse
		}
	}
	var result []corev1.PodCondition
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: since}
		if kind == corev1.ContainersReady || kind == corev1.PodReady {
			condition.Status, condition.LastTransitionTime = ready, metav1.Now()
		}
		if condition.Status == corev1.ConditionFalse && status.Phase == corev1.PodSucceeded {
			condition.Reason = "PodCompleted"
		}
		result = append(result, condition)
	}
	return result
}
