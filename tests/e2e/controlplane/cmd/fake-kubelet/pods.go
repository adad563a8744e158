package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	loopback = "127.0.0.1"

	// How long the containers may take to end when this program itself is told to end: less than
	// the launcher waits before it kills.
	shutdownGrace = time.Second
)

// pods follows the API server and runs the pods of this node.
type pods struct {
	client kubernetes.Interface
	node   string
	dir    string

	mu      sync.Mutex
	byUID   map[types.UID]*pod
	nextIP  uint32
	running sync.WaitGroup
}

func newPods(client kubernetes.Interface, node, dir string) *pods {
	return &pods{
		client: client, node: node, dir: dir, byUID: map[types.UID]*pod{},
		// Pods of two clusters on one machine must not share an address, so each kubelet begins
		// somewhere else in 127.64.0.0/10.
		nextIP: 127<<24 | 64<<16 | rand.Uint32N(1<<14)<<8,
	}
}

// run follows the pods until ctx is cancelled, then ends their processes.
func (p *pods) run(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(p.client, 0)
	_, _ = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { p.see(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { p.see(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			if gone, ok := object.(*corev1.Pod); ok {
				p.forget(gone.UID)
			}
		},
	})
	factory.Start(ctx.Done())
	<-ctx.Done()
	p.mu.Lock()
	for _, pod := range p.byUID {
		pod.end(shutdownGrace)
	}
	p.mu.Unlock()
	p.running.Wait()
}

// see acts on a pod as the API server has it now.
func (p *pods) see(ctx context.Context, seen *corev1.Pod) {
	if ctx.Err() != nil {
		return
	}
	if seen.Spec.NodeName == "" && seen.DeletionTimestamp == nil {
		p.bind(ctx, seen)
		return
	}
	if seen.Spec.NodeName != p.node {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.byUID[seen.UID]
	switch {
	case known != nil && seen.DeletionTimestamp != nil:
		known.end(time.Duration(*seen.DeletionGracePeriodSeconds) * time.Second)
	case known != nil:
	case seen.DeletionTimestamp != nil || seen.Status.Phase == corev1.PodSucceeded || seen.Status.Phase == corev1.PodFailed:
		if seen.DeletionTimestamp != nil {
			p.running.Go(func() { p.delete(seen.UID, seen.Namespace, seen.Name) })
		}
	default:
		p.nextIP++
		ip := fmt.Sprintf("%d.%d.%d.%d", p.nextIP>>24, p.nextIP>>16&255, p.nextIP>>8&255, p.nextIP&255)
		started := newPod(seen, ip, filepath.Join(p.dir, string(seen.UID)))
		p.byUID[seen.UID] = started
		p.running.Go(func() { p.runPod(ctx, started) })
	}
}

// bind is the scheduler: there is but one node.
func (p *pods) bind(ctx context.Context, pod *corev1.Pod) {
	err := p.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: p.node},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		klog.Warningf("bind %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// runPod runs a pod to its end, publishes its status as it changes, and after a deletion lets the
// API server forget it.
func (p *pods) runPod(ctx context.Context, pod *pod) {
	ended := make(chan struct{})
	go func() {
		pod.run()
		close(ended)
	}()
	for {
		select {
		case <-pod.touched:
			p.publish(ctx, pod)
			continue
		case <-pod.stop.Done():
		}
		break
	}
	<-ended
	if ctx.Err() != nil {
		return // this program ends, the pod goes on with the next start
	}
	p.publish(ctx, pod)
	p.delete(pod.uid, pod.namespace, pod.name)
}

// publish writes a pod's status. The uid in the patch keeps it off a new pod of the same name.
func (p *pods) publish(ctx context.Context, pod *pod) {
	patch, err := pod.statusPatch()
	if err == nil {
		_, err = p.client.CoreV1().Pods(pod.namespace).Patch(ctx, pod.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		klog.Warningf("status of %s/%s: %v", pod.namespace, pod.name, err)
		time.AfterFunc(time.Second, pod.touch)
	}
}

func (p *pods) delete(uid types.UID, namespace, name string) {
	now := int64(0)
	err := p.client.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		klog.Warningf("delete %s/%s: %v", namespace, name, err)
	}
	p.forget(uid)
}

// forget ends a pod that the API server no longer has.
func (p *pods) forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.byUID[uid]; known != nil {
		known.end(0)
		delete(p.byUID, uid)
	}
}

// find looks a pod up by its name, as the kubelet's paths name it.
func (p *pods) find(namespace, name string) *pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pod := range p.byUID {
		if pod.namespace == namespace && pod.name == name {
			return pod
		}
	}
	return nil
}
