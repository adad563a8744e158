package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const demoNamespace = "demo"

// createDemo makes something to look at: a pod that writes a log and one that serves HTTP.
func (c *cluster) createDemo(ctx context.Context, client kubernetes.Interface) error {
	pods := map[string][]string{
		"clock": {"sh", "-c", `while :; do echo "$(date -u +%H:%M:%S) all is well"; sleep 5; done`},
		"hello": {"fake-kubelet", "http", "8080"},
	}
	for name, command := range pods {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "main", Image: "local/demo", Command: command,
			}}},
		}
		if name == "hello" {
			pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
		}
		_, err := client.CoreV1().Pods(demoNamespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create the pod %s: %w", name, err)
		}
	}
	for name := range pods {
		if err := c.waitFor(ctx, "the pod "+name, func() bool {
			pod, err := client.CoreV1().Pods(demoNamespace).Get(ctx, name, metav1.GetOptions{})
			return err == nil && pod.Status.Phase == corev1.PodRunning
		}); err != nil {
			return err
		}
	}
	return nil
}
