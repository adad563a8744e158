package main

import (
	"context"
	"fmt"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// With this feature declared the API server hands WebSockets on as they are (KEP-4006).
const webSocketFeature = "ExtendWebSocketsToKubelet"

// registerNode creates the node, or takes over the one of an earlier run, and says where this
// kubelet listens.
func registerNode(ctx context.Context, client kubernetes.Interface, name string, port int32, webSockets bool) error {
	nodes := client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   name,
		Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = nodes.Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	// Admission marks each new node as not ready, and no controller is there to take that back.
	if len(node.Spec.Taints) > 0 {
		node.Spec.Taints = nil
		if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("untaint the node: %w", err)
		}
	}
	node.Status = nodeStatus(port)
	if webSockets {
		node.Status.DeclaredFeatures = []string{webSocketFeature}
	}
	if _, err := nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("publish the node's status: %w", err)
	}
	return nil
}

func nodeStatus(port int32) corev1.NodeStatus {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("8"),
		corev1.ResourceMemory: resource.MustParse("16Gi"),
		corev1.ResourcePods:   resource.MustParse("110"),
	}
	now := metav1.Now()
	return corev1.NodeStatus{
		Capacity:        room,
		Allocatable:     room,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: loopback}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: "v1.36.3", ContainerRuntimeVersion: "processes://1", OSImage: "Linux",
			OperatingSystem: "linux", Architecture: runtime.GOARCH, KernelVersion: "local",
		},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			Message: "the local kubelet runs", LastHeartbeatTime: now, LastTransitionTime: now,
		}},
	}
}
